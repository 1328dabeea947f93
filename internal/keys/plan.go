package keys

import (
	"crypto/ecdsa"
	"time"
)

// state is where a signing key stands in its life; it passes them in this order.
type state string

const (
	next     state = "next"     // published, does not sign yet
	active   state = "active"   // signs
	retiring state = "retiring" // published until the last token it signed is dead
	gone     state = "gone"     // not published; its private part is destroyed
)

// signingKey is a key that is not gone.
type signingKey struct {
	id        string // kid
	state     state
	published time.Time
	activated time.Time // zero: not yet
	retired   time.Time // zero: not yet
	private   *ecdsa.PrivateKey
}

// step is one move of a ring; key is a kid, empty for a key to be made.
type step struct {
	to  state
	key string
}

// plan says what is due. The order of a rotation is publish, wait, sign, wait,
// withdraw: no verifier that asks within an overlap ever meets an unknown kid.
//
// The wait before signing counts from when this process published the key, not
// only from when it was made: after a pause of the process verifiers have not
// heard of it however old it is.
func (r *Ring) plan(keys []signingKey, now time.Time) []step {
	var signs, comes *signingKey
	var steps []step
	for i := range keys {
		switch k := &keys[i]; k.state {
		case active:
			signs = k
		case next:
			comes = k
		case retiring:
			if !now.Before(k.retired.Add(r.cfg.Overlap)) {
				steps = append(steps, step{gone, k.id})
			}
		}
	}
	switch {
	case signs == nil && comes != nil: // withdrawn: the one to come is known to verifiers already
		steps = append(steps, step{active, comes.id})
	case signs == nil: // the first of the ring
		steps = append(steps, step{active, ""})
	case comes == nil:
		if !now.Before(signs.activated.Add(r.cfg.Rotate - r.cfg.Overlap)) {
			steps = append(steps, step{next, ""})
		}
	default:
		since := comes.published
		if seen := r.seen[comes.id]; seen.After(since) {
			since = seen
		}
		if !now.Before(signs.activated.Add(r.cfg.Rotate)) && !now.Before(since.Add(r.cfg.Overlap)) {
			steps = append(steps, step{retiring, signs.id}, step{active, comes.id})
		}
	}
	return steps
}
