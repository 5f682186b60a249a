-- A loop over tables and arithmetic: loop.lua ROUNDS.
local state, seen = 1, {}
for _ = 1, tonumber(arg[1]) do
  state = (state * 1103515245 + 12345) % 2147483648
  local key = state >> 20
  seen[key] = (seen[key] or 0) + 1
end
print(#seen, state)
