package export

import (
	"math/rand/v2"
	"time"
)

// pace is how soon a failed attempt is made again, and how long one may take.
//
// When Run is told to end, an attempt that is under way has grace to end by
// itself (what was cut would leave twice), and then farewell bounds the last one,
// with settled of it for the journal to sync what it holds.
type pace struct {
	first, most time.Duration // the wait doubles from first to most
	told        time.Duration // the longest wait that a receiver may ask for (Retry-After)
	attempt     time.Duration // bound of one attempt
	grace       time.Duration
	farewell    time.Duration
	settled     time.Duration
}

func defaultPace() pace {
	return pace{
		first: time.Second, most: 30 * time.Second, told: 5 * time.Minute, attempt: 30 * time.Second,
		grace: 2 * time.Second, farewell: 3 * time.Second, settled: time.Second,
	}
}

// wait is the time before the next attempt, after so many that failed in a row.
// Half of it is left to chance, so that gateways which lost one receiver at once
// do not come back at once. asked is what the receiver asked for.
func (p pace) wait(failed int, asked time.Duration) time.Duration {
	d := p.most
	if failed < 16 {
		d = min(p.first<<failed, p.most)
	}
	d = d/2 + rand.N(d/2+1) // #nosec G404 -- jitter
	if asked = min(asked, p.told); asked > d {
		d = asked + rand.N(p.first) // #nosec G404 -- jitter
	}
	return d
}
