package doctor

import (
	"time"
)

// Issuer is what the running zone says of an outside issuer, whose tokens it takes.
type Issuer struct {
	Name   string    // of the provider
	Usable bool      // its keys are there, and not too old
	Keys   int       // of use
	Had    time.Time // the keys were seen last; zero: never
	Cause  string    // why the last look failed; empty: it did not
}

// issuers tells of outside issuers whose keys are not to be had.
func (e *examination) issuers() {
	const mend = "see that issuer, jwks and ca of the provider are right, and that this host reaches it by https; the zone's log has the whole cause"
	for _, i := range e.Running.Issuers {
		name := "outside issuer " + i.Name
		since := "they were never seen"
		if !i.Had.IsZero() {
			since = "they were seen last at " + i.Had.UTC().Format(time.RFC3339)
		}
		switch {
		case !i.Usable && i.Cause == "":
			e.unknown(name, "ask again in a moment", "its keys were not asked for yet")
		case !i.Usable:
			e.fail(name, mend, "its keys are not there, and its tokens are answered 503; %s: %s", since, i.Cause)
		case i.Cause != "":
			e.warn(name, mend, "its %d keys are kept for a few hours; %s: %s", i.Keys, since, i.Cause)
		case i.Keys == 0:
			e.warn(name, "see the algorithms of the provider, and what it publishes", "it has no key of use: all its tokens are refused")
		default:
			e.ok(name, "its %d keys are there", i.Keys)
		}
	}
}
