package kv

import "time"

// Patient are options under which a process that was not run for a while neither
// counts as gone nor loses the connection that listens.
func (o ValkeyOptions) Patient() ValkeyOptions {
	o.life, o.quiet = time.Hour, time.Hour
	return o
}

// UseCallerTime makes counters go by the callers' time, as the contract's tests want.
func (v *Valkey) UseCallerTime() {
	v.takes.caller = true
	v.takes.script = newTakeScript(callerTime)
}

// UseSteppedTime is UseCallerTime as the server's clock would be that is set back.
func (v *Valkey) UseSteppedTime() {
	v.takes.caller = true
	v.takes.script = newTakeScript("local now, far, least = tonumber(ARGV[3]), 9, 3600000")
}

// Beat makes the heart beat now, for tests of what it hears.
func (v *Valkey) Beat() error { return v.beat(v.ctx) }

// Inspect looks at the server's settings now.
func (v *Valkey) Inspect() { v.inspectAgain() }
