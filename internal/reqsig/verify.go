package reqsig

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"sallyport.dev/internal/problem"
)

// How long a signature may live, and how far the clock of who makes it may be off.
const (
	maxLife = 5 * time.Minute
	leeway  = 30 * time.Second
	margin  = time.Minute // how far our clocks may differ or step back, and a look at key and nonce may wait
)

// Lifetime is for how long the nonce of a signature that was accepted must be
// kept: for longer than the signature is good by any clock of the zone.
const Lifetime = maxLife + 2*leeway + margin

// The algorithms, as RFC 9421 section 6.2.2 names them.
const (
	Ed25519    = "ed25519"
	HMACSHA256 = "hmac-sha256"
)

// Key is what a signature is checked with.
type Key struct {
	Algorithm string
	Public    ed25519.PublicKey // of Ed25519
	Secret    []byte            // of HMACSHA256
}

// Request is what a signature must cover, as it was received.
type Request struct {
	Method     string
	Scheme     string
	Authority  string // Host, in lower case
	Path       string // escaped
	Query      string // raw, without the ?
	HasQuery   bool   // there is a ?, even when nothing follows
	Header     http.Header
	Credential string // the field that holds the credential, in lower case
	Body       bool   // there is one: Content-Digest must be covered
}

// Signature is one that is read, and checked by nothing yet.
type Signature struct {
	KeyID string
	Nonce string
	in    input
	value []byte
}

// Parse reads the signature of a request and refuses one that covers too little
// or is not in its lifetime, before anything is looked up. Reasons:
// proof.missing, proof.invalid, proof.expired.
func Parse(r *Request, now time.Time) (Signature, error) {
	inputs, values := r.Header[InputHeader], r.Header[SignatureHeader]
	if len(inputs) == 0 && len(values) == 0 {
		return Signature{}, problem.New(problem.ProofMissing, nil)
	}
	if len(inputs) != 1 || len(values) != 1 {
		return Signature{}, invalid(errors.New("not exactly one Signature-Input and one Signature"))
	}
	in, err := parseInput(inputs[0])
	if err != nil {
		return Signature{}, invalid(err)
	}
	value, err := parseSignature(values[0], in.label)
	if err != nil {
		return Signature{}, invalid(err)
	}
	if err := in.covers(r); err != nil {
		return Signature{}, invalid(err)
	}
	if err := in.live(now); err != nil {
		return Signature{}, err
	}
	return Signature{KeyID: in.keyID, Nonce: in.nonce, in: in, value: value}, nil
}

// covers says what must be covered and is not.
func (in *input) covers(r *Request) error {
	has := func(name string) bool { return slices.Contains(in.components, name) }
	whole := has("@target-uri") || has("@request-target") || has("@path") && (has("@query") || !r.HasQuery)
	switch {
	case !has("@method"):
		return errors.New("@method is not covered")
	case !has("@authority") && !has("@target-uri"):
		return errors.New("@authority is not covered")
	case !whole:
		return errors.New("the target is not covered")
	case !has(r.Credential):
		return fmt.Errorf("%s, which holds the credential, is not covered", r.Credential)
	case r.Body && !has("content-digest"):
		return errors.New("content-digest is not covered")
	}
	return nil
}

func (in *input) live(now time.Time) error {
	created := time.Unix(in.created, 0)
	ends := created.Add(maxLife)
	if in.expires != 0 {
		if in.expires <= in.created || in.expires-in.created > int64(maxLife/time.Second) {
			return invalid(fmt.Errorf("a life of %d s", in.expires-in.created))
		}
		ends = time.Unix(in.expires, 0)
	}
	if created.After(now.Add(leeway)) || ends.Before(now.Add(-leeway)) {
		return problem.New(problem.ProofExpired, fmt.Errorf("reqsig: made at %d, at %d", in.created, now.Unix()))
	}
	return nil
}

// Verify checks a signature with the key that its keyid names. Reason:
// proof.invalid.
func (s *Signature) Verify(r *Request, key Key) error {
	if s.in.algorithm != "" && s.in.algorithm != key.Algorithm {
		return invalid(errors.New("alg is not the key's"))
	}
	base, err := s.base(r)
	if err != nil {
		return invalid(err)
	}
	switch key.Algorithm {
	case Ed25519:
		if len(key.Public) == ed25519.PublicKeySize && ed25519.Verify(key.Public, base, s.value) {
			return nil
		}
	case HMACSHA256:
		mac := hmac.New(sha256.New, key.Secret)
		mac.Write(base)
		if len(key.Secret) >= sha256.Size && hmac.Equal(mac.Sum(nil), s.value) {
			return nil
		}
	}
	return invalid(errors.New("the signature does not hold"))
}

// base is the signature base (RFC 9421 section 2.5).
func (s *Signature) base(r *Request) ([]byte, error) {
	var b []byte
	for _, name := range s.in.components {
		value, err := r.component(name)
		if err != nil {
			return nil, err
		}
		b = append(b, '"')
		b = append(b, name...)
		b = append(b, `": `...)
		b = append(b, value...)
		b = append(b, '\n')
	}
	return append(append(b, `"@signature-params": `...), s.in.params...), nil
}

// component returns the value of a component (RFC 9421 sections 2.1 and 2.2).
func (r *Request) component(name string) (string, error) {
	target := r.Path
	if r.HasQuery {
		target += "?" + r.Query
	}
	switch name {
	case "@method":
		return r.Method, nil
	case "@scheme":
		return r.Scheme, nil
	case "@authority":
		return r.authority(), nil
	case "@path":
		return r.Path, nil
	case "@query":
		return "?" + r.Query, nil
	case "@request-target":
		return target, nil
	case "@target-uri":
		return r.Scheme + "://" + r.authority() + target, nil
	}
	fields := r.Header[http.CanonicalHeaderKey(name)]
	if len(fields) == 0 {
		return "", fmt.Errorf("component %q is covered and not there", name)
	}
	trimmed := make([]string, len(fields))
	for n, f := range fields {
		trimmed[n] = strings.Trim(f, " \t")
	}
	return strings.Join(trimmed, ", "), nil
}

// authority is normalised: the default port is not said (RFC 9421 section 2.2.3).
func (r *Request) authority() string {
	a := strings.ToLower(r.Authority)
	switch r.Scheme {
	case "https":
		return strings.TrimSuffix(a, ":443")
	case "http":
		return strings.TrimSuffix(a, ":80")
	}
	return a
}

func invalid(cause error) error {
	return problem.New(problem.ProofInvalid, fmt.Errorf("reqsig: %w", cause))
}
