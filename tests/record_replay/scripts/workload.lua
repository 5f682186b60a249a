-- Tables, strings, closures and coroutines.
local scale = tonumber(arg[1])
local sieve, count = {}, 0
for i = 2, 200000 * scale do
  if not sieve[i] then
    count = count + 1
    for j = i * i, 200000 * scale, i do sieve[j] = true end
  end
end
local function fibonacci(n) return n < 2 and n or fibonacci(n - 1) + fibonacci(n - 2) end
local parts = {}
for i = 1, 5000 do parts[#parts + 1] = string.format("%d:%s", i, ("x"):rep(i % 7)) end
local text = table.concat(parts, ",")
local produce = coroutine.wrap(function() for word in text:gmatch("%d+") do coroutine.yield(word) end end)
local sum = 0
for word in produce do sum = sum + tonumber(word) end
print(count, fibonacci(22), #text, sum)
