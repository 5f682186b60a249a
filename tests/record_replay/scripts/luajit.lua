-- Traces that are compiled, thrown away and compiled again; closures, strings, tables, the FFI.
local scale = tonumber(arg[1])
local function sieve(n)
  local composite, count = {}, 0
  for i = 2, n do
    if not composite[i] then
      count = count + 1
      for k = i * i, n, i do composite[k] = true end
    end
  end
  return count
end
print("primes", sieve(100000 * scale))
local words = {}
for i = 1, 20000 * scale do words[#words + 1] = string.format("%x", i * 7919 % 65536) end
table.sort(words)
print("words", #table.concat(words), words[1], words[#words])
local ffi = require("ffi")
ffi.cdef("typedef struct { double x, y; } point; int getpid(void); size_t strlen(const char*);")
local points, sum = ffi.new("point[1000]"), 0
for round = 1, 100 * scale do
  for i = 0, 999 do
    points[i].x, points[i].y = i * round % 17, points[i].y + i
    sum = sum + points[i].x * points[i].y % 3
  end
end
print("ffi", sum, ffi.C.getpid() > 0, tonumber(ffi.C.strlen("seven")))
for i = 1, 5 do
  jit.flush()
  local f = loadstring("local s = 0 for i = 1, 10000 do s = s + i % " .. i .. " end return s")
  print("loaded", f())
end
local function fail(depth) if depth == 0 then error("deep") end return fail(depth - 1) + 1 end
print(pcall(fail, 50))
