package doctor

import (
	"context"
	"strings"
)

// running tells what the running zone says of itself.
func (e *examination) running(context.Context) {
	const name = "ready"
	switch r := e.Running; {
	case r == nil && e.RunningErr != nil:
		e.fail(name, "see its log; sallyport status --data "+e.Data, "%v", e.RunningErr)
	case r == nil:
		e.unknown(name, "sallyport serve ZONE --data "+e.Data, "the zone is not running")
	case !r.Ready:
		e.fail(name, "see its log", "it waits for: %s", strings.Join(r.Waiting, ", "))
	default:
		e.ok(name, "it says so%s", pidText(r.PID))
	}
	if e.Running != nil {
		e.instances()
		e.issuers()
	}
}

// instances tells of instances that the running zone does not use.
func (e *examination) instances() {
	const name = "instances"
	var none, some []string
	for _, s := range e.Running.Services {
		switch {
		case s.Healthy == 0 && s.Instances > 0:
			none = append(none, s.Name)
		case s.Healthy < s.Instances:
			some = append(some, s.Name)
		}
	}
	const mend = "sallyport status shows them; see the log for why they were ejected"
	switch {
	case len(none) > 0:
		e.fail(name, mend, "it has no instance in use of: %s", strings.Join(none, ", "))
	case len(some) > 0:
		e.warn(name, mend, "it uses not all instances of: %s", strings.Join(some, ", "))
	default:
		e.ok(name, "it uses all instances of its services, of which there are %d", len(e.Running.Services))
	}
}
