package httpsig

import (
	"errors"
	"fmt"

	"sallyport.dev/internal/problem"
)

// Strength is how a request is proved to come from its sender. A greater one
// proves more. The zero value is no strength: nothing satisfies it.
type Strength uint8

const (
	undeclared Strength = iota // must stay the zero value: a forgotten demand refuses
	Channel                    // the mutual TLS connection and nothing else
	MAC                        // hmac-sha256 under a key of this very connection
	Signature                  // ecdsa-p256-sha256 with the key of the sender's SVID
)

func (s Strength) String() string {
	switch s {
	case Channel:
		return "channel"
	case MAC:
		return "mac"
	case Signature:
		return "signature"
	}
	return fmt.Sprintf("strength %d", uint8(s))
}

// Profile is what a route asks of the proof. Both ends have it from the map.
type Profile struct {
	Demand   Strength // the least that is accepted
	NoDigest bool     // the content is a stream: content-digest is not covered and must not be there
}

// Accepts reports whether a proof of the given strength (Proof.Strength)
// suffices. It does not when there is none (problem.ProofMissing), when it is
// weaker (problem.ProofDowngraded), when it is none that we know
// (problem.ProofInvalid), and when the demand is not declared
// (problem.InternalError).
func (p Profile) Accepts(given Strength) error {
	switch {
	case p.Demand < Channel || p.Demand > Signature:
		return problem.New(problem.InternalError, fmt.Errorf("httpsig: demand is %s", p.Demand))
	case given < Channel || given > Signature:
		return invalid(errors.New("a proof of no known label"))
	case given >= p.Demand:
		return nil
	case given == Channel:
		return problem.New(problem.ProofMissing, fmt.Errorf("httpsig: the route demands %s", p.Demand))
	}
	return problem.New(problem.ProofDowngraded, fmt.Errorf("httpsig: %s where the route demands %s", given, p.Demand))
}
