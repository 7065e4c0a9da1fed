"""The Lua scripts of the counters in Redis: each is one atomic step.

A counter is a hash of amounts by their expiry, in microseconds since 1970. Anything in another
format, such as from another application, is removed: such a counter is empty.
"""

_DIGITS = 16
"""Lua's numbers are exact up to 9 * 10**15."""

_HELD = f"""
local function is_number(text) return #text <= {_DIGITS} and string.find(text, '^%d+$') ~= nil end

local function held(key, now)
  local flat, live = redis.pcall('HGETALL', key), {{}}
  if flat.err then redis.call('DEL', key); return live end
  for i = 1, #flat, 2 do
    local at, amount = flat[i], flat[i + 1]
    if is_number(at) and tonumber(at) > now and is_number(amount) and tonumber(amount) > 0 then
      live[at] = tonumber(amount)
    else
      redis.call('HDEL', key, at)
    end
  end
  return live
end

local function put(key, at, amount, now)
  redis.call('HINCRBY', key, at, amount)
  local last = 0
  for _, each in ipairs(redis.call('HKEYS', key)) do last = math.max(last, tonumber(each)) end
  redis.call('PEXPIRE', key, string.format('%.0f', (last - now) / 1000 + {{keep_ms}}))
end
"""

_KEEP_MS = 60_000
"""A key is kept for longer than its amounts count, as the clocks of services differ."""

_PRELUDE = _HELD.replace("{keep_ms}", str(_KEEP_MS))

ADD = (
    _PRELUDE
    + """
-- ARGV: now, and for each addition: which key, expiry, amount, limit or ''
local now, total, exceeding = tonumber(ARGV[1]), {}, {}
for k, key in ipairs(KEYS) do
  total[k] = 0
  for _, amount in pairs(held(key, now)) do total[k] = total[k] + amount end
end
for i = 2, #ARGV, 4 do
  local k = tonumber(ARGV[i])
  total[k] = total[k] + tonumber(ARGV[i + 2])
end
for i = 2, #ARGV, 4 do
  if ARGV[i + 3] ~= '' and total[tonumber(ARGV[i])] > tonumber(ARGV[i + 3]) then
    exceeding[#exceeding + 1] = (i - 2) / 4
  end
end
if #exceeding == 0 then
  for i = 2, #ARGV, 4 do put(KEYS[tonumber(ARGV[i])], ARGV[i + 1], ARGV[i + 2], now) end
end
return exceeding
"""
)

SETTLE = (
    _PRELUDE
    + """
-- KEYS: the mark of this settlement, counters. ARGV: now, for how many ms the mark is kept, how many
-- are reserved, and for each reserved and used: which key, expiry, amount
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local now, reserved = tonumber(ARGV[1]), tonumber(ARGV[3])
for k = 2, #KEYS do held(KEYS[k], now) end
for i = 4, #ARGV, 3 do
  local key, at, amount = KEYS[tonumber(ARGV[i])], ARGV[i + 1], ARGV[i + 2]
  if i < 4 + 3 * reserved then
    local left = tonumber(redis.call('HGET', key, at) or '0')
    if left > tonumber(amount) then
      redis.call('HINCRBY', key, at, '-' .. amount)
    else
      redis.call('HDEL', key, at)
    end
  else
    put(key, at, amount, now)
  end
end
redis.call('SET', KEYS[1], '', 'PX', ARGV[2])
return 1
"""
)

READ = (
    _PRELUDE
    + """
-- ARGV: now
local found = {}
for k, key in ipairs(KEYS) do
  found[k] = {}
  for at, amount in pairs(held(key, tonumber(ARGV[1]))) do
    found[k][#found[k] + 1] = tonumber(at)
    found[k][#found[k] + 1] = amount
  end
end
return found
"""
)
