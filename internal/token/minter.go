package token

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"sallyport.dev/internal/problem"
)

// Config is what a minter is made of.
type Config struct {
	Zone     string           // trust domain: the `aud`
	Issuer   string           // the `iss`, https://ZONE
	Workload string           // the `req_wl`: SPIFFE ID of the gateway, spiffe://ZONE/gateway
	Signers  Signers          // hands over the active key, each time
	Clock    func() time.Time // nil: time.Now
	Life     time.Duration    // exp-iat, whole seconds, up to MaxLife; 0: 60 s
}

// Minter makes inside tokens. It keeps no key: it asks for the active one at
// every token, so that a rotation needs no word to it. Safe for concurrent use.
type Minter struct {
	cfg    Config
	header atomic.Pointer[knownHeader] // of the key that signed last
}

// NewMinter returns a minter, or an error that names what its configuration lacks.
func NewMinter(cfg Config) (*Minter, error) {
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Life == 0 {
		cfg.Life = defaultLife
	}
	switch {
	case cfg.Zone == "" || cfg.Issuer == "":
		return nil, errors.New("token: minter without zone or issuer")
	case !inTrustDomain(cfg.Workload, cfg.Zone):
		return nil, fmt.Errorf("token: minter's workload %q is not in spiffe://%s/", cfg.Workload, cfg.Zone)
	case cfg.Signers == nil:
		return nil, errors.New("token: minter without signers")
	case cfg.Life < time.Second || cfg.Life > MaxLife || cfg.Life%time.Second != 0:
		return nil, fmt.Errorf("token: life of %s is not whole seconds up to %s", cfg.Life, MaxLife)
	}
	return &Minter{cfg: cfg}, nil
}

// Subject is whom a token speaks of. Subject may not be empty: who means
// anonymous says so.
type Subject struct {
	Subject  string
	Roles    []string
	Scopes   []string
	Level    int
	Client   string
	Listener string
	Method   string

	// Transaction is the `txn`; empty: 128 random bits.
	Transaction string

	// Workload is the `req_wl`: the SPIFFE ID of who asked for the token. Empty:
	// the minter's. A service that calls for itself is both this and Subject, and
	// MethodSVID is its Method.
	Workload string
}

// MethodSVID is the `rctx` method of a service that calls for itself
// (`as: service`): it proved who it is with its X.509-SVID.
const MethodSVID = "svid"

// Token is a minted inside token. It does not print its value.
type Token struct {
	Value   string
	Expires time.Time
}

func (t Token) String() string   { return "txn-token until " + t.Expires.UTC().Format(time.RFC3339) }
func (t Token) GoString() string { return t.String() }

// LogValue keeps the value out of logs.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.String()) }

// Mint makes a token. The error is problem.TokenUnavailable when there is no
// key to sign with, and one without a reason when the subject cannot be said in
// a token (a defect of the caller).
func (m *Minter) Mint(ctx context.Context, s Subject) (Token, error) {
	if s.Subject == "" {
		return Token{}, errors.New("token: mint: empty subject")
	}
	if s.Workload == "" {
		s.Workload = m.cfg.Workload
	}
	if !inTrustDomain(s.Workload, m.cfg.Zone) {
		return Token{}, fmt.Errorf("token: mint: workload %q is not in spiffe://%s/", clip(s.Workload), m.cfg.Zone)
	}
	if s.Transaction == "" {
		var id [16]byte
		_, _ = rand.Read(id[:]) // crypto/rand.Read never fails (Go 1.24)
		s.Transaction = hex.EncodeToString(id[:])
	}
	roles := s.Roles
	if roles == nil {
		roles = []string{} // an array on the wire, not null
	}
	iat := m.cfg.Clock().Unix()
	claims := Claims{
		Issuer:      m.cfg.Issuer,
		IssuedAt:    iat,
		Expires:     iat + int64(m.cfg.Life/time.Second),
		Audience:    m.cfg.Zone,
		Transaction: s.Transaction,
		Subject:     s.Subject,
		Scope:       s.Scopes,
		Context:     Context{Roles: roles, Level: s.Level, Client: s.Client},
		Requester:   RequesterContext{Listener: s.Listener, Method: s.Method},
		Workload:    s.Workload,
	}
	payload, err := claims.marshal()
	if err != nil {
		return Token{}, fmt.Errorf("token: mint: %w", err)
	}
	value, err := m.sign(ctx, payload)
	if err != nil {
		return Token{}, problem.New(problem.TokenUnavailable, err)
	}
	if len(value) > MaxSize {
		return Token{}, fmt.Errorf("token: mint: %d bytes are more than %d: too many roles or scopes", len(value), MaxSize)
	}
	return Token{Value: value, Expires: claims.ExpiresAt()}, nil
}

// sign signs a payload with the active key (RFC 7515 section 5.1).
func (m *Minter) sign(ctx context.Context, payload []byte) (string, error) {
	key, err := m.cfg.Signers.SigningKey(ctx)
	if err != nil {
		return "", fmt.Errorf("token: signing key: %w", err)
	}
	if key.ID == "" || key.Signer == nil {
		return "", errors.New("token: signing key without id or signer")
	}
	if pub, ok := key.Signer.Public().(*ecdsa.PublicKey); !ok || pub.Curve != elliptic.P256() {
		return "", fmt.Errorf("token: signing key %s is not a P-256 key", key.ID)
	}
	header := m.header.Load()
	if header == nil || header.kid != key.ID {
		header = &knownHeader{kid: key.ID}
		if header.segment, err = protectedHeader(key.ID); err != nil {
			return "", fmt.Errorf("token: header: %w", err)
		}
		m.header.Store(header)
	}
	value, err := signCompact(key.Signer, header.segment, payload)
	if err != nil {
		return "", fmt.Errorf("token: sign: %w", err)
	}
	return value, nil
}
