package guardtest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/token"
)

// TokenOption changes what a token says.
type TokenOption func(*minting)

type minting struct {
	subject token.Subject
	ago     time.Duration
}

// Roles gives the subject roles.
func Roles(roles ...string) TokenOption {
	return func(m *minting) { m.subject.Roles = roles }
}

// Scopes gives the credential scopes. They limit API keys and OAuth tokens only.
func Scopes(scopes ...string) TokenOption {
	return func(m *minting) { m.subject.Scopes = scopes }
}

// Key makes the credential an API key, in place of a session.
func Key() TokenOption {
	return func(m *minting) {
		m.subject.Method, m.subject.Client = "key", strings.TrimPrefix(m.subject.Subject, "key_")
	}
}

// OAuth makes the credential an OAuth token that the subject gave to a client;
// with the subject as the client, one of client credentials.
func OAuth(client string) TokenOption {
	return func(m *minting) { m.subject.Method, m.subject.Client = "oauth", client }
}

// Level sets the authentication level: 1 one factor (the default), 2 two factors.
func Level(level int) TokenOption {
	return func(m *minting) { m.subject.Level = level }
}

// Listener names the outside listener that took the request; default public. A
// route is reached through its own only.
func Listener(name string) TokenOption {
	return func(m *minting) { m.subject.Listener = name }
}

// IssuedAgo moves the token's life of a minute into the past, or, negative, into
// the future.
func IssuedAgo(d time.Duration) TokenOption {
	return func(m *minting) { m.ago = d }
}

// Token returns an inside token of the subject: a user with a session unless
// options say otherwise. The subject "anonymous" is nobody.
func (g *Guard) Token(subject string, options ...TokenOption) string {
	g.t.Helper()
	m := minting{subject: token.Subject{Subject: subject, Level: 1, Listener: "public", Method: "session"}}
	if subject == policy.AnonymousSubject {
		m.subject.Level, m.subject.Method = 0, ""
	}
	for _, o := range options {
		o(&m)
	}
	return g.mint(m).Value
}

// ServiceToken returns an inside token of a service itself, as it goes along with
// calls `as: service`.
func (g *Guard) ServiceToken(service string) string {
	g.t.Helper()
	return g.mint(minting{subject: g.itself(service)}).Value
}

func (g *Guard) itself(service string) token.Subject {
	id := g.id(service).String()
	return token.Subject{Subject: id, Workload: id, Method: token.MethodSVID}
}

// ownToken is control's answer to POST /v1/token.
func (g *Guard) ownToken() []byte {
	tok := g.mint(minting{subject: g.itself(g.slice.Service)})
	body, err := json.Marshal(map[string]any{"token": tok.Value, "expires_at": tok.Expires})
	if err != nil {
		g.t.Errorf("guardtest: %v", err)
	}
	return body
}

func (g *Guard) mint(m minting) token.Token {
	g.t.Helper()
	minter, err := token.NewMinter(token.Config{
		Zone: g.slice.Zone, Issuer: g.slice.Issuer, Workload: "spiffe://" + g.slice.Zone + "/gateway", Signers: g.key,
		Clock: func() time.Time { return g.clock().Add(-m.ago) },
	})
	var tok token.Token
	if err == nil {
		tok, err = minter.Mint(context.Background(), m.subject)
	}
	if err != nil {
		g.t.Errorf("guardtest: %v", err)
	}
	return tok
}

// key is the zone's inside key; it implements token.Signers.
type key struct {
	id      string
	private *ecdsa.PrivateKey
}

func newKey(t testing.TB) key {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatalf("guardtest: %v", err)
	}
	id, err := token.KeyID(&private.PublicKey)
	if err != nil {
		t.Fatalf("guardtest: %v", err)
	}
	return key{id, private}
}

func (k key) SigningKey(context.Context) (token.SigningKey, error) {
	return token.SigningKey{ID: k.id, Signer: k.private}, nil
}

func (k key) PublicKeys(context.Context) ([]token.PublicKey, error) {
	return []token.PublicKey{{ID: k.id, Key: &k.private.PublicKey}}, nil
}

func (k key) public(t testing.TB) []byte {
	t.Helper()
	set, err := token.MarshalJWKS([]token.PublicKey{{ID: k.id, Key: &k.private.PublicKey}})
	if err != nil {
		t.Fatalf("guardtest: %v", err)
	}
	return set
}
