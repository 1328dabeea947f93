package kv

import (
	"context"
	"time"
)

// The heart beats each second as a write, so that a server that takes no writes
// counts as away. A process that has not been heard for lifeOfBeat is gone.
const (
	beatEvery   = time.Second
	lifeOfBeat  = 10 * time.Second
	firstProbe  = 100 * time.Millisecond // after a failure; doubled up to the last
	lastProbe   = 2 * time.Second
	inspections = 60 // beats between two looks at the server's settings
	maxGateways = 1 << 20
	maxBorn     = 64 // bytes
)

// beatScript notes a process (ARGV[1]) as alive by the server's clock, forgets
// those not heard for ARGV[2] microseconds, also those of a time when the clock
// was ahead, and returns how many are left. KEYS[1] is one sorted set.
//
// KEYS[2] says since when the server's memory is whole. When it is not what the
// process knew (ARGV[3]), the server has forgotten nonces: KEYS[3] says so to
// all, for the longest life of a nonce that the process knows of (ARGV[4], ms).
const beatScript = `local t = redis.call('TIME')
local now, life, longest = t[1] * 1000000 + t[2], tonumber(ARGV[2]), tonumber(ARGV[4])
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - life)
redis.call('ZREMRANGEBYSCORE', KEYS[1], now + life, '+inf')
redis.call('PEXPIRE', KEYS[1], math.ceil(life / 500))
local born = redis.call('GET', KEYS[2])
if not born then
  born = string.format('%.0f', now) .. ARGV[1]
  redis.call('SET', KEYS[2], born)
end
if ARGV[3] ~= '' and ARGV[3] ~= born and longest > 0 and redis.call('PTTL', KEYS[3]) < longest then
  redis.call('SET', KEYS[3], '', 'PX', ARGV[4])
end
return {redis.call('ZCARD', KEYS[1]), born}`

// keep beats until the store is closed. It alone closes the circuit.
func (v *Valkey) keep() {
	next, timer := firstProbe, time.NewTimer(beatEvery)
	defer timer.Stop()
	for beats := 1; ; beats++ {
		calm := false
		select {
		case <-v.ctx.Done():
			return
		case <-v.circuit.tripped:
			timer.Reset(next)
			next = min(2*next, lastProbe) // one that fails again and again is asked less often
			continue
		case <-timer.C:
			calm = v.circuit.outage.Load() == nil
		}
		during := v.circuit.closed.Load()
		if err := v.beat(v.ctx); err != nil {
			_ = v.failed(v.ctx, during, "heartbeat", err) // opens the circuit, which logs it
			timer.Reset(next)
			next = min(2*next, lastProbe)
			select { // it is waited for already
			case <-v.circuit.tripped:
			default:
			}
			continue
		}
		if !calm || beats%inspections == 0 { // it may have come back as another
			v.inspectAgain()
		}
		if v.circuit.close() {
			v.steady.Store(int64(v.life / beatEvery)) // a server that comes back empty hears of all only by and by
		}
		if calm {
			next = firstProbe
		}
		v.listener.keep()
		timer.Reset(beatEvery)
	}
}

// beat announces this process, and learns how many there are and whether the
// server has forgotten what it held.
func (v *Valkey) beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, v.timeout)
	defer cancel()
	known := *v.born.Load()
	keys := []string{v.prefix + "gateways", v.prefix + "born", v.prefix + "forgot"}
	reply, err := v.beating.Run(ctx, v.client, keys, v.id, v.life.Microseconds(), known, v.longest.Load()).Slice()
	if err != nil {
		return err
	}
	if len(reply) != 2 {
		return errReply
	}
	n, ok1 := reply[0].(int64)
	born, ok2 := reply[1].(string)
	if !ok1 || !ok2 || n < 1 || n > maxGateways || born == "" || len(born) > maxBorn {
		return errReply
	}
	if known != "" && known != born {
		v.log.Error("valkey has forgotten what it held: nonces are refused until none of them counts any more",
			"for", time.Duration(v.longest.Load())*time.Millisecond)
	}
	v.born.Store(&born)
	if v.steady.Add(-1) < 0 || n > v.gateways.Load() {
		v.gateways.Store(n)
	}
	return nil
}

// leave takes this process out of the count, if that is possible now.
func (v *Valkey) leave() {
	if v.circuit.outage.Load() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), v.timeout)
	defer cancel()
	_ = v.client.ZRem(ctx, v.prefix+"gateways", v.id).Err() // it is forgotten soon anyway
}

// Gateways returns how many processes of the zone were alive, this one among
// them, when the server was last heard: at least one.
func (v *Valkey) Gateways() int { return int(max(1, v.gateways.Load())) }

// Away says that the server is not asked at present.
func (v *Valkey) Away() bool { return v.circuit.outage.Load() != nil }
