package httpsig

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"sync"
	"time"

	"sallyport.dev/internal/es256"
	"sallyport.dev/internal/problem"
)

// Certificates judges the chain that came beside a signature, leaf first and
// unchecked: it verifies it to the roots of the zone and returns the leaf's key
// and SPIFFE ID. It is asked for every proof that has the right form, before the
// signature is known to hold, so it should remember what it saw, within bounds.
// It must neither keep nor change chain's bytes. Its *problem.Error is passed on; any other
// error is problem.ProofInvalid.
type Certificates func(chain [][]byte) (key crypto.PublicKey, id string, err error)

// Signed is what a signature proves.
type Signed struct {
	ID               string // the sender, as Certificates named it
	Created, Expires time.Time
	Nonce            string
}

// Verifier checks requests that are proved by signature, of any connection.
// Safe for concurrent use.
type Verifier struct {
	certificates Certificates
	replay       *Replay
	bases        sync.Pool // *[]byte
	chains       chains
}

// NewVerifier returns a verifier. All verifiers of one process that stand for
// the same receiver share one Replay.
func NewVerifier(certificates Certificates, replay *Replay) (*Verifier, error) {
	if certificates == nil || replay == nil {
		return nil, errors.New("httpsig: verifier without certificates or replay")
	}
	return &Verifier{certificates: certificates, replay: replay}, nil
}

// Verify checks the proof of one request and returns who signed it, or a
// *problem.Error of the family proof. The replay table comes last, so that only
// what a workload of the zone signed takes room in it. The content is not looked
// at: see CheckDigest.
func (v *Verifier) Verify(ctx context.Context, m *Message, p Profile, proof Proof, now time.Time) (Signed, error) {
	if err := p.Accepts(proof.Strength()); err != nil {
		return Signed{}, err
	}
	in, err := parseInput(proof.Input, Signature, p)
	if err != nil {
		return Signed{}, invalid(err)
	}
	var signature [es256.Size]byte
	if err := parseSignature(proof.Signature, Signature, signature[:]); err != nil {
		return Signed{}, invalid(err)
	}
	if err := in.live(now); err != nil {
		return Signed{}, err
	}
	cs, n, err := m.components(p)
	if err != nil {
		return Signed{}, invalid(err)
	}
	id, err := v.check(cs[:n], in.text, proof.Certificate, &signature, m.Sender)
	if err != nil {
		return Signed{}, err
	}
	if err := v.replay.once(ctx, id, &in, now); err != nil {
		return Signed{}, err
	}
	return Signed{ID: id, Created: time.Unix(in.created, 0), Expires: time.Unix(in.expires, 0), Nonce: in.nonce}, nil
}

// check returns who holds the key that made the signature.
func (v *Verifier) check(cs []component, params, certificate string, signature *[es256.Size]byte, sender string) (string, error) {
	chain := v.chains.find(certificate)
	read := chain == nil
	if read {
		var err error
		if chain, err = parseCertificates(certificate); err != nil {
			return "", invalid(err)
		}
	}
	public, id, err := v.certificates(chain)
	if err != nil {
		if p, ok := errors.AsType[*problem.Error](err); ok {
			return "", p
		}
		return "", invalid(err)
	}
	key, err := es256.PublicKey(public)
	if err != nil {
		return "", invalid(err)
	}
	if id == "" {
		return "", invalid(errors.New("a certificate of nobody"))
	}
	if sender != "" && sender != id {
		return "", invalid(fmt.Errorf("%s signed what %s sent", id, sender))
	}
	base, _ := v.bases.Get().(*[]byte)
	if base == nil {
		base = new([]byte)
	}
	*base = appendBase((*base)[:0], cs, params)
	if cap(*base) <= keptBase {
		defer v.bases.Put(base)
	}
	if !es256.Verify(key, *base, signature) {
		return "", invalid(errors.New("the signature does not hold"))
	}
	if read {
		v.chains.note(certificate, chain)
	}
	return id, nil
}
