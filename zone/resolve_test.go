package zone

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestRevision(t *testing.T) {
	const head = "zone: shop.example\nservices:\n  a:\n    upstream: unix:/run/a.sock\n    routes:\n"
	base := mustParse(t, head+"      GET /a: user\n      GET /b: {allow: [user, key], scopes: [x, y]}\n")
	for _, c := range []struct {
		name, text string
		equal      bool
	}{
		{"comments and order", "# hello\n" + head + "      GET /b: {scopes: [y, x], allow: [key, user]}\n      GET /a: [user]\n", true},
		{"a default written", head + "      GET /a: {allow: user, listener: public}\n      GET /b: {allow: [user, key], scopes: [x, y]}\n", true},
		{"another kind", head + "      GET /a: anonymous\n      GET /b: {allow: [user, key], scopes: [x, y]}\n", false},
		{"another path", head + "      GET /c: user\n      GET /b: {allow: [user, key], scopes: [x, y]}\n", false},
		{"a route less", head + "      GET /a: user\n", false},
	} {
		z := mustParse(t, c.text)
		if got := z.Revision == base.Revision; got != c.equal {
			t.Errorf("%s: equal revisions %v, want %v", c.name, got, c.equal)
		}
	}
	if len(base.Revision) != 64 {
		t.Errorf("revision %q, want 64 hexadecimal digits", base.Revision)
	}
}

func TestDefaults(t *testing.T) {
	z := mustParse(t, "zone: shop.example\n")
	l := z.Listener("public")
	if l == nil || len(z.Listeners) != 1 {
		t.Fatalf("listeners %v, want public alone", z.Listeners)
	}
	want := Limits{Body: 1 << 20, Header: 32 << 10, HeaderTime: 5 * time.Second, Idle: 2 * time.Minute, BodyRate: 1 << 10, Connections: 10000, Streams: 100}
	if l.Limits != want || l.Address != ":8443" || !l.Anonymous || l.Certificate != (Certificate{}) || !slices.Equal(l.Hosts, []string{"shop.example", "localhost", "127.0.0.1"}) {
		t.Errorf("public %+v", l)
	}
	if z.Admin != "127.0.0.1:8440" || z.Control != "" || z.Identity.Listener != "public" {
		t.Errorf("admin %q, control %q, identity on %q", z.Admin, z.Control, z.Identity.Listener)
	}
	if s := z.Identity.Sessions; s != (Sessions{30 * time.Minute, 12 * time.Hour, 30 * 24 * time.Hour}) {
		t.Errorf("sessions %+v", s)
	}
	if z.Journal != (Journal{30 * 24 * time.Hour, 10 << 30}) || z.RevocationGrace != 5*time.Second || z.Staleness != 5*time.Minute || z.Traffic.Action != "observe" {
		t.Errorf("journal %+v, grace %s, staleness %s, action %s", z.Journal, z.RevocationGrace, z.Staleness, z.Traffic.Action)
	}
	if len(z.Notices) > 0 {
		t.Errorf("notices %v, want none: the empty map exposes nothing", z.Notices)
	}
	if z := mustParse(t, "zone: shop.example\nservices: {a: {upstream: \"unix:/a\", embedded: true}}\n"); z.Control != "127.0.0.1:8441" {
		t.Errorf("control %q with an embedded service", z.Control)
	}
}

func TestPathsAreOfTheMap(t *testing.T) {
	z := mustParse(t, string(everything(t)))
	if l := z.Listener("public"); l.Certificate != (Certificate{CertificateFiles, "cert.pem", "key.pem"}) || l.ClientCA != "ca.pem" {
		t.Errorf("from memory: %+v", l)
	}
	abs := func(file string) string { return filepath.Join(string(filepath.Separator), "etc", "zone", file) }
	z, err := Parse(abs("zone.yaml"), everything(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, got, want string }{
		{"cert", z.Listener("public").Certificate.Cert, abs("cert.pem")},
		{"client_secret", z.Identity.Providers[0].ClientSecret.File, abs("google.secret")},
		{"theme", z.Identity.Theme, abs("theme")},
		{"data", z.Service("front").Data[0].URL.File, abs("db.url")},
		{"postgres", z.Store.Postgres.File, abs("pg.url")},
		{"jsonl", z.Export[1].Target, abs("records.jsonl")},
	} {
		if c.got != c.want {
			t.Errorf("%s: %q, want %q", c.name, c.got, c.want)
		}
	}
}

func TestNotEnforced(t *testing.T) {
	z := mustParse(t, string(everything(t)))
	for _, c := range []struct{ service, route, want string }{
		{"front", "GET /short", ""},
		{"front", "PUT /things/{id}", "once"},
		{"front", "GET /live", ""},
		{"front", "POST /files", "upload"},
		{"back", "GET /back", ""},
	} {
		for _, rt := range z.Service(c.service).Routes {
			if rt.Pattern() == c.route && strings.Join(rt.NotEnforced, " ") != c.want {
				t.Errorf("%s: not enforced %v, want %s", c.route, rt.NotEnforced, c.want)
			}
		}
	}
	// A proof that nobody checks closes what it was written for.
	z = mustParse(t, `
zone: shop.example
services:
  one: {upstream: "unix:/one", proof: mac, routes: {GET /one: anonymous}}
  two: {upstream: "unix:/two", routes: {GET /two: {allow: anonymous, proof: signature}, GET /open: anonymous}}
`)
	for pattern, want := range map[string]string{"GET /one": "proof", "GET /two": "proof", "GET /open": ""} {
		for _, s := range z.Services {
			for _, rt := range s.Routes {
				if rt.Pattern() == pattern && strings.Join(rt.NotEnforced, " ") != want {
					t.Errorf("%s without an inner door: not enforced %v, want %q", pattern, rt.NotEnforced, want)
				}
			}
		}
	}
	open := mustParse(t, string(Starter("shop.example")))
	for _, rt := range open.Services[0].Routes {
		if len(rt.NotEnforced) > 0 {
			t.Errorf("%s of the starter: not enforced %v, want nothing", rt.Pattern(), rt.NotEnforced)
		}
	}
}

func TestProofOfRoute(t *testing.T) {
	z := mustParse(t, `
zone: shop.example
services:
  a: {upstream: "unix:/a", proof: signature, routes: {GET /a: user, GET /b: {allow: user, proof: channel}}}
  b: {upstream: "unix:/b", routes: {GET /c: user}}
`)
	a, b := z.Service("a"), z.Service("b")
	if a.Routes[0].Proof != ProofSignature || a.Routes[1].Proof != ProofChannel || !a.ProofWritten || b.ProofWritten || b.Routes[0].Proof != ProofMAC {
		t.Errorf("proofs %s, %s, %s, written %v, %v", a.Routes[0].Proof, a.Routes[1].Proof, b.Routes[0].Proof, a.ProofWritten, b.ProofWritten)
	}
	if a.Routes[0].Service != a {
		t.Error("a route does not know its service")
	}
}
