package doctor

import (
	"context"
	"time"
)

// behindMost is how far the clock may stand behind what was written here before.
const behindMost = 2 * time.Second

// clock checks that time is right: tokens, certificates and signatures of
// requests live for seconds to hours.
func (e *examination) clock(context.Context) {
	if e.Host.Clock == nil {
		e.unknown("synchronized", "", "this system does not say")
	} else if c, err := e.Host.Clock(); err != nil {
		e.unknown("synchronized", "", "the kernel does not say: %v", err)
	} else if !c.Synchronized {
		e.warn("synchronized", "systemctl enable --now systemd-timesyncd, or chrony", "the kernel's clock follows no source; a minute off, services on other hosts refuse identities, and proofs of requests")
	} else {
		e.ok("synchronized", "the kernel says so, within %s", c.MaxError.Round(time.Millisecond))
	}
	e.behind()
}

// behind looks for what was written here in the future.
func (e *examination) behind() {
	const name = "against what is kept"
	const mend = "set the clock right before the zone starts; what was written meanwhile keeps its time"
	now := e.Host.Now()
	type mark struct {
		what string
		at   time.Time
	}
	var marks []mark
	if !e.Journal.Newest.IsZero() {
		marks = append(marks, mark{"the newest record of the journal", e.Journal.Newest})
	}
	if root, err := e.root(); err == nil && root != nil {
		marks = append(marks, mark{"the beginning of the root certificate", root.NotBefore})
	}
	for _, m := range marks {
		if late := m.at.Sub(now); late > behindMost {
			e.fail(name, mend, "the clock says %s: %s is %s later", now.UTC().Format(time.RFC3339), m.what, late.Round(time.Second))
			return
		}
	}
	if len(marks) == 0 {
		e.unknown(name, "", "nothing is kept yet that has a time")
		return
	}
	e.ok(name, "%s; nothing that is kept here is later", now.UTC().Format(time.RFC3339))
}
