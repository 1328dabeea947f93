package kv

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// The counter on the server is Memory's window (see window): nine slices of an
// eighth of it. It is one string of 44 bytes: the number of the newest slice as
// a double and nine counts of four bytes, of slice n at n % 9. Times are whole
// microseconds, which a double holds exactly until the year 2255.
//
// The script gets now, far and least from what stands before it, the length of a
// slice as ARGV[1] and the count of the rate as ARGV[2], and returns whether the
// event is allowed, how many more would be, and after how many microseconds as many
// are forgotten as window.reset says. Another window is another key: while gateways change to a
// new map one by one, they do not reset each other's counters.
//
// A refusal writes nothing, so that a flood costs no replication. Time stands
// still when the clock was set back, for up to far slices; when by more, all
// that is counted moves to the present, where it counts as long as anything can.
const takeBody = `
local slice, count = tonumber(ARGV[1]), tonumber(ARGV[2])
local n, sum, c, moved = math.floor(now / slice), 0, {0, 0, 0, 0, 0, 0, 0, 0, 0}, false
local was = redis.call('GET', KEYS[1])
if was then
  if #was ~= 44 then return redis.error_reply('NOTCOUNTER a key of ours holds something else') end
  local head, a1, a2, a3, a4, a5, a6, a7, a8, a9 = struct.unpack('<dI4I4I4I4I4I4I4I4I4', was)
  local a = {a1, a2, a3, a4, a5, a6, a7, a8, a9}
  moved = head - n > far
  if head > n and not moved then n = head end
  for s = head - 8, head do
    local i = s % 9 + 1
    if moved then
      c[n % 9 + 1] = c[n % 9 + 1] + a[i]
      sum = sum + a[i]
    elseif s > n - 9 then
      c[i] = a[i]
      sum = sum + a[i]
    end
  end
end
local allowed = 0
if sum < count then
  allowed, sum = 1, sum + 1
  c[n % 9 + 1] = c[n % 9 + 1] + 1
end
if allowed == 1 or moved then
  local life = math.max(least, math.ceil(((n + 9) * slice - now) / 1000) + 100)
  redis.call('SET', KEYS[1], struct.pack('<dI4I4I4I4I4I4I4I4I4', n, unpack(c)), 'PX', string.format('%.0f', life))
end
local reset, left = 0, sum
for s = n - 8, n do
  left = left - c[s % 9 + 1]
  if c[s % 9 + 1] > 0 and left < count then
    reset = (s + 9) * slice - now
    break
  end
end
return {allowed, math.max(0, count - sum), reset}`

// serverTime reads the clock that all processes share. The life of a key is a
// little longer than what it counts: keys expire by a clock read earlier.
const serverTime = `local t = redis.call('TIME')
local now, far, least = t[1] * 1000000 + t[2], 9, 0`

// callerTime is for the contract's tests alone: years pass in them, in no time.
const callerTime = `local now, far, least = tonumber(ARGV[3]), math.huge, 3600000`

func newTakeScript(clock string) *redis.Script { return redis.NewScript(clock + takeBody) }

// undoScript takes one from the newest slice with an event. One that counts no more
// may lose it: that changes nothing.
const undoScript = `
local was = redis.call('GET', KEYS[1])
if not was then return 0 end
if #was ~= 44 then return redis.error_reply('NOTCOUNTER a key of ours holds something else') end
local head, a1, a2, a3, a4, a5, a6, a7, a8, a9 = struct.unpack('<dI4I4I4I4I4I4I4I4I4', was)
local a = {a1, a2, a3, a4, a5, a6, a7, a8, a9}
for s = head, head - 8, -1 do
  local i = s % 9 + 1
  if a[i] > 0 then
    a[i] = a[i] - 1
    redis.call('SET', KEYS[1], struct.pack('<dI4I4I4I4I4I4I4I4I4', head, unpack(a)), 'KEEPTTL')
    return 1
  end
end
return 0`

// counterName returns what the counter of a key and a window is called.
func (v *Valkey) counterName(key string, slice int64) string {
	return v.prefix + "c:" + strconv.FormatInt(slice, 36) + ":" + hashed(key)
}

// parseTake reads what the script returns.
func parseTake(reply any) (Result, error) {
	list, ok := reply.([]any)
	if !ok || len(list) != 3 {
		return Result{}, errReply
	}
	var n [3]int64
	for i := range n {
		if n[i], ok = list[i].(int64); !ok || n[i] < 0 {
			return Result{}, errReply
		}
	}
	if n[0] > 1 || n[1] > math.MaxInt32 || n[2] > math.MaxInt64/int64(time.Microsecond) {
		return Result{}, fmt.Errorf("%w: out of range", errReply)
	}
	return Result{Allowed: n[0] == 1, Remaining: int(n[1]), Reset: time.Duration(n[2]) * time.Microsecond}, nil
}
