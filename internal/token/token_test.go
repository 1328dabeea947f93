package token

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
)

const (
	testZone     = "shop.example"
	testIssuer   = "https://shop.example"
	testWorkload = "spiffe://shop.example/gateway"
)

// start is where the clock of every test stands.
var start = time.Date(2026, 10, 17, 12, 0, 0, 0, time.UTC)

// clock is a hand-set clock.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

// ring is a fake of keys.Ring: the last key signs, all verify.
type ring []namedKey

type namedKey struct {
	id  string
	key *ecdsa.PrivateKey
}

func newKey(t testing.TB, id string) namedKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return namedKey{id, k}
}

func (r ring) SigningKey(context.Context) (SigningKey, error) {
	if len(r) == 0 {
		return SigningKey{}, errors.New("the ring is empty")
	}
	last := r[len(r)-1]
	return SigningKey{ID: last.id, Signer: last.key}, nil
}

func (r ring) PublicKeys(context.Context) ([]PublicKey, error) {
	var all []PublicKey
	for _, k := range r {
		all = append(all, PublicKey{ID: k.id, Key: &k.key.PublicKey})
	}
	return all, nil
}

func (r ring) set(t testing.TB) KeySet {
	t.Helper()
	keys, _ := r.PublicKeys(t.Context())
	set, err := NewKeySet(keys)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func newMinter(t testing.TB, r Signers, clock func() time.Time) *Minter {
	t.Helper()
	m, err := NewMinter(Config{Zone: testZone, Issuer: testIssuer, Workload: testWorkload, Signers: r, Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func newVerifier(t testing.TB, keys KeySource, clock func() time.Time) *Verifier {
	t.Helper()
	v, err := NewVerifier(VerifierConfig{Zone: testZone, Issuer: testIssuer, Keys: keys, Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func mint(t testing.TB, m *Minter) Token {
	t.Helper()
	tok, err := m.Mint(t.Context(), ann)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// ann is a subject that fills every claim.
var ann = Subject{
	Subject: "ann", Roles: []string{"buyer", "support"}, Scopes: []string{"orders.read", "orders.write"},
	Level: 1, Client: "key_1", Listener: "public", Method: "session",
}

// forge signs any header and payload with any key, as an attacker with that key could.
func forge(t testing.TB, header, payload string, key *ecdsa.PrivateKey) string {
	t.Helper()
	enc := base64.RawURLEncoding
	input := enc.EncodeToString([]byte(header)) + "." + enc.EncodeToString([]byte(payload))
	return input + "." + enc.EncodeToString(signES256(t, key, input))
}

func TestMintedTokenVerifies(t *testing.T) {
	at := &clock{start}
	r := ring{newKey(t, "k1")}
	tok := mint(t, newMinter(t, r, at.Now))
	if want := start.Add(time.Minute); !tok.Expires.Equal(want) {
		t.Errorf("expires %s, want %s", tok.Expires, want)
	}
	got, err := newVerifier(t, r.set(t), at.Now).Verify(t.Context(), tok.Value)
	if err != nil {
		t.Fatalf("Verify: %v", err)
	}
	if len(got.Transaction) != 32 {
		t.Errorf("txn %q, want 128 random bits in hexadecimal", got.Transaction)
	}
	want := Claims{
		Issuer: testIssuer, IssuedAt: start.Unix(), Expires: start.Unix() + 60, Audience: testZone,
		Transaction: got.Transaction, Subject: "ann", Scope: ann.Scopes, Workload: testWorkload,
		Context:   Context{Roles: ann.Roles, Level: 1, Client: "key_1"},
		Requester: RequesterContext{Listener: "public", Method: "session"},
	}
	if g, w := mustJSON(t, got), mustJSON(t, want); g != w {
		t.Errorf("claims\n got %s\nwant %s", g, w)
	}
}

// The names on the wire are a promise (INTERFACE section 4, and the draft).
func TestWire(t *testing.T) {
	r := ring{newKey(t, "k1")}
	m := newMinter(t, r, (&clock{start}).Now)
	for _, c := range []struct {
		name    string
		subject Subject
		want    string
	}{
		{"all", Subject{Subject: "ann", Roles: []string{"buyer"}, Scopes: []string{"a", "b"}, Level: 2, Client: "c", Listener: "public", Method: "key", Transaction: "t"},
			`{"iss":"https://shop.example","iat":1792238400,"exp":1792238460,"aud":"shop.example","txn":"t","sub":"ann","scope":"a b",` +
				`"tctx":{"roles":["buyer"],"level":2,"client":"c"},"rctx":{"listener":"public","method":"key"},"req_wl":"spiffe://shop.example/gateway"}`},
		{"least", Subject{Subject: "anonymous", Transaction: "t"},
			`{"iss":"https://shop.example","iat":1792238400,"exp":1792238460,"aud":"shop.example","txn":"t","sub":"anonymous","scope":"",` +
				`"tctx":{"roles":[],"level":0,"client":""},"rctx":{"listener":"","method":""},"req_wl":"spiffe://shop.example/gateway"}`},
	} {
		tok, err := m.Mint(t.Context(), c.subject)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		parts := strings.Split(tok.Value, ".")
		header, _ := base64.RawURLEncoding.DecodeString(parts[0])
		payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
		if string(payload) != c.want {
			t.Errorf("%s: payload\n got %s\nwant %s", c.name, payload, c.want)
		}
		if want := `{"alg":"ES256","kid":"k1","typ":"txntoken+jwt"}`; string(header) != want {
			t.Errorf("%s: header %s, want %s", c.name, header, want)
		}
	}
}

// What we mint, go-jose reads by itself, and what go-jose makes of our claims, we read.
func TestAgreesWithGoJOSE(t *testing.T) {
	at := &clock{start}
	r := ring{newKey(t, "k1")}
	tok := mint(t, newMinter(t, r, at.Now))

	jws, err := jose.ParseSignedCompact(tok.Value, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	payload, err := jws.Verify(&r[0].key.PublicKey)
	if err != nil {
		t.Fatalf("go-jose does not verify our token: %v", err)
	}

	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: r[0].key, KeyID: "k1"}},
		(&jose.SignerOptions{}).WithType(Type))
	if err != nil {
		t.Fatal(err)
	}
	again, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	value, err := again.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	if c, err := newVerifier(t, r.set(t), at.Now).Verify(t.Context(), value); err != nil || c.Subject != "ann" {
		t.Errorf("token made by go-jose: %v, %v", c, err)
	}
}

// TestOwnToken: who asked for a token stands in it, and is of the zone.
func TestOwnToken(t *testing.T) {
	r := ring{newKey(t, "k1")}
	m := newMinter(t, r, time.Now)
	v := newVerifier(t, r.set(t), time.Now)
	for _, tt := range []struct{ workload, want string }{
		{"", testWorkload},
		{"spiffe://shop.example/catalog", "spiffe://shop.example/catalog"},
		{"spiffe://evil.example/catalog", ""},
		{"catalog", ""},
	} {
		tok, err := m.Mint(t.Context(), Subject{Subject: "spiffe://shop.example/catalog", Method: MethodSVID, Workload: tt.workload})
		if (err == nil) != (tt.want != "") {
			t.Errorf("asked for by %q: %v", tt.workload, err)
		}
		if err != nil {
			continue
		}
		if c, err := v.Verify(t.Context(), tok.Value); err != nil || c.Workload != tt.want || c.Requester.Method != MethodSVID {
			t.Errorf("asked for by %q: %+v, %v; want req_wl %s", tt.workload, c, err, tt.want)
		}
	}
}

func TestMinterRefuses(t *testing.T) {
	m := newMinter(t, ring{newKey(t, "k1")}, (&clock{start}).Now)
	for _, c := range []struct {
		name    string
		subject Subject
	}{
		{"empty subject", Subject{}},
		{"scope with a space", Subject{Subject: "ann", Scopes: []string{"orders.read admin"}}},
		{"empty scope", Subject{Subject: "ann", Scopes: []string{""}}},
		{"scope with a quote", Subject{Subject: "ann", Scopes: []string{`a"b`}}},
		{"larger than MaxSize", Subject{Subject: "ann", Roles: []string{strings.Repeat("r", MaxSize)}}},
	} {
		if tok, err := m.Mint(t.Context(), c.subject); err == nil {
			t.Errorf("%s: got %s, want an error", c.name, tok)
		}
	}
	if _, err := m.Mint(t.Context(), ann); err != nil { // the twin
		t.Errorf("ann: %v", err)
	}
}

func TestConfigurationIsChecked(t *testing.T) {
	r := ring{newKey(t, "k1")}
	good := Config{Zone: testZone, Issuer: testIssuer, Workload: testWorkload, Signers: r}
	minters := map[string]func(*Config){
		"zone":                func(c *Config) { c.Zone = "" },
		"issuer":              func(c *Config) { c.Issuer = "" },
		"workload":            func(c *Config) { c.Workload = "" },
		"foreign workload":    func(c *Config) { c.Workload = "spiffe://shop.example.evil/gateway" },
		"workload of no path": func(c *Config) { c.Workload = "spiffe://shop.example/" },
		"signers":             func(c *Config) { c.Signers = nil },
		"life too long":       func(c *Config) { c.Life = MaxLife + time.Second },
		"life of a fraction":  func(c *Config) { c.Life = 1500 * time.Millisecond },
		"negative life":       func(c *Config) { c.Life = -time.Second },
	}
	for name, spoil := range minters {
		cfg := good
		spoil(&cfg)
		if _, err := NewMinter(cfg); err == nil {
			t.Errorf("NewMinter without %s: no error", name)
		}
	}
	if _, err := NewMinter(good); err != nil {
		t.Errorf("NewMinter: %v", err)
	}
	verifiers := map[string]VerifierConfig{
		"zone":            {Issuer: testIssuer, Keys: r.set(t)},
		"issuer":          {Zone: testZone, Keys: r.set(t)},
		"keys":            {Zone: testZone, Issuer: testIssuer},
		"leeway too long": {Zone: testZone, Issuer: testIssuer, Keys: r.set(t), Leeway: MaxLeeway + 1},
		"negative leeway": {Zone: testZone, Issuer: testIssuer, Keys: r.set(t), Leeway: -1},
	}
	for name, cfg := range verifiers {
		if _, err := NewVerifier(cfg); err == nil {
			t.Errorf("NewVerifier with a bad %s: no error", name)
		}
	}
}

func TestTokenDoesNotPrint(t *testing.T) {
	tok := Token{Value: "header.payload.signature", Expires: start}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := sprintf(verb, tok); strings.Contains(got, "payload") {
			t.Errorf("%s prints %s", verb, got)
		}
	}
	if got := tok.LogValue().String(); strings.Contains(got, "payload") {
		t.Errorf("LogValue is %s", got)
	}
}

func TestScope(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Scope
		ok   bool
	}{
		{`""`, nil, true},
		{`"a"`, Scope{"a"}, true},
		{`"a b.c"`, Scope{"a", "b.c"}, true},
		{`" a"`, nil, false},
		{`"a  b"`, nil, false},
		{`"a "`, nil, false},
		{`"a\tb"`, nil, false},
		{`"é"`, nil, false},
		{`["a"]`, nil, false},
		{`1`, nil, false},
	} {
		var got Scope
		err := json.Unmarshal([]byte(c.in), &got)
		if (err == nil) != c.ok || (c.ok && !slices.Equal(got, c.want)) {
			t.Errorf("scope %s = %v, %v, want %v, ok %v", c.in, got, err, c.want, c.ok)
		}
	}
}
