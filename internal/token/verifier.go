package token

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"sallyport.dev/internal/problem"
)

// VerifierConfig is what a verifier is made of.
type VerifierConfig struct {
	Zone       string           // trust domain: the only `aud` accepted
	Issuer     string           // the only `iss` accepted, https://ZONE
	Keys       KeySource        // asked at every verification
	Leeway     time.Duration    // clock difference borne at both ends of a life, up to MaxLeeway; 0: 5 s
	Clock      func() time.Time // nil: time.Now
	Remembered int              // how many verified tokens are remembered; 0: 10,000, negative: none
}

// Verifier checks inside tokens. Safe for concurrent use.
type Verifier struct {
	cfg     VerifierConfig
	cache   *cache // nil: nothing is remembered
	headers headers
}

// NewVerifier returns a verifier, or an error that names what its configuration lacks.
func NewVerifier(cfg VerifierConfig) (*Verifier, error) {
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Leeway == 0 {
		cfg.Leeway = defaultLeeway
	}
	if cfg.Remembered == 0 {
		cfg.Remembered = 10_000
	}
	switch {
	case cfg.Zone == "" || cfg.Issuer == "":
		return nil, errors.New("token: verifier without zone or issuer")
	case cfg.Keys == nil:
		return nil, errors.New("token: verifier without keys")
	case cfg.Leeway < 0 || cfg.Leeway > MaxLeeway:
		return nil, fmt.Errorf("token: leeway of %s is not within 0 and %s", cfg.Leeway, MaxLeeway)
	}
	v := &Verifier{cfg: cfg}
	if cfg.Remembered > 0 {
		v.cache = newCache(cfg.Remembered)
	}
	return v, nil
}

// Verify returns the claims of a token that holds. Errors are
// problem.InsideTokenInvalid and problem.InsideTokenExpired with a private
// cause, or the *problem.Error of the key source.
func (v *Verifier) Verify(ctx context.Context, value string) (*Claims, error) {
	if len(value) > MaxSize {
		return nil, invalid(fmt.Errorf("%d bytes are more than %d", len(value), MaxSize))
	}
	var room [usualSize]byte
	sum := sha256.Sum256(append(room[:0], value...))
	e, known := v.cache.get(sum)
	read := known // the header
	if !known {
		if e.kid, read = v.headers.find(value); !read {
			var err error
			if e.kid, err = keyIDOf(value); err != nil {
				return nil, invalid(err)
			}
		}
	}
	// The source is asked for remembered tokens as well: a withdrawn key ends them.
	key, err := v.key(ctx, e.kid)
	if err != nil {
		v.cache.drop(sum)
		return nil, err
	}
	now := v.cfg.Clock()
	if !known || (key != e.key && !key.Equal(e.key)) { // the same pointer nearly always
		e.key = key
		if e.claims, err = v.open(value, key); err != nil {
			v.cache.drop(sum)
			return nil, invalid(err)
		}
		if !read {
			v.headers.note(value, e.kid)
		}
	}
	if err := e.claims.live(now, v.cfg.Leeway); err != nil {
		v.cache.drop(sum)
		return nil, problem.New(problem.InsideTokenExpired, fmt.Errorf("token: verify: %w", err))
	}
	if !known {
		v.cache.put(sum, e, now)
	}
	return e.claims, nil
}

// key asks the source. Whatever it answers that is not a key is a refusal.
func (v *Verifier) key(ctx context.Context, kid string) (*ecdsa.PublicKey, error) {
	key, err := v.cfg.Keys.Key(ctx, kid)
	if err == nil {
		err = PublicKey{ID: kid, Key: key}.check()
	}
	if err == nil {
		return key, nil
	}
	if p, ok := errors.AsType[*problem.Error](err); ok {
		return nil, p
	}
	return nil, invalid(fmt.Errorf("kid %q: %w", kid, err))
}

// open checks the signature (RFC 7515 section 5.2) and then the claims, except
// the clock.
func (v *Verifier) open(value string, key *ecdsa.PublicKey) (*Claims, error) {
	payload, err := openCompact(value, key)
	if err != nil {
		return nil, err
	}
	claims, err := parseClaims(payload)
	if err != nil {
		return nil, err
	}
	if err := claims.check(v.cfg.Zone, v.cfg.Issuer); err != nil {
		return nil, err
	}
	return claims, nil
}

func invalid(cause error) error {
	return problem.New(problem.InsideTokenInvalid, fmt.Errorf("token: verify: %w", cause))
}
