package token

import (
	"reflect"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4/json"
)

func sampleClaims() Claims {
	return Claims{
		Issuer: "https://shop.example", IssuedAt: 1700000000, Expires: 1700000060, Audience: "shop.example", Transaction: "t1", Subject: "usr_1",
		Scope: Scope{"orders.read", "orders.write"}, Context: Context{Roles: []string{"admin", "support, really"}, Level: 2, Client: "app"},
		Requester: RequesterContext{Listener: "public", Method: "session"}, Workload: "spiffe://shop.example/gateway",
	}
}

// TestClaimsAsTheLibraryWritesThem holds what is written by hand against
// go-jose, byte for byte, and reads it back both ways.
func TestClaimsAsTheLibraryWritesThem(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Claims)
		quick  bool // the quick reader takes it
	}{
		{"all", func(*Claims) {}, true},
		{"nothing", func(c *Claims) { *c = Claims{Context: Context{Roles: []string{}}} }, true},
		{"roles that are null", func(c *Claims) { c.Context.Roles = nil }, false},
		{"one role, no scope", func(c *Claims) { c.Context.Roles, c.Scope = []string{""}, nil }, true},
		{"quote", func(c *Claims) { c.Subject = `a"b` }, false},
		{"backslash", func(c *Claims) { c.Context.Client = `a\b` }, false},
		{"markup", func(c *Claims) { c.Requester.Listener = "<&>" }, false},
		{"line break in a role", func(c *Claims) { c.Context.Roles = []string{"a\nb"} }, false},
		{"letters", func(c *Claims) { c.Subject = "Zoë" }, false},
		{"not UTF-8", func(c *Claims) { c.Subject = "\xff" }, false},
		{"DEL", func(c *Claims) { c.Subject = "\x7f" }, false},
		{"negative", func(c *Claims) { c.IssuedAt, c.Context.Level = -1, -2 }, false},
		{"a far end", func(c *Claims) { c.Expires = 1 << 62 }, false},
		{"scope with markup", func(c *Claims) { c.Scope = Scope{"a<b"} }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := sampleClaims()
			tt.change(&c)
			want, err := json.Marshal(&c)
			if err != nil {
				t.Fatal(err)
			}
			got, err := c.marshal()
			if err != nil || string(got) != string(want) {
				t.Fatalf("got  %s, %v\nwant %s", got, err, want)
			}
			slow, slowErr := slowClaims(got)
			if read := quickClaims(got); (read != nil) != tt.quick || read != nil && (slowErr != nil || !reflect.DeepEqual(read, slow)) {
				t.Errorf("quick %+v, want one: %v\nslow  %+v, %v", read, tt.quick, slow, slowErr)
			}
		})
	}
	bad := sampleClaims()
	bad.Scope = Scope{"two words"}
	if _, err := bad.marshal(); err == nil {
		t.Error("a scope that reads as two is written")
	}
}

// FuzzQuickClaims: what the quick reader takes the library takes, and reads the same.
func FuzzQuickClaims(f *testing.F) {
	c := sampleClaims()
	good, err := c.marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	for _, change := range [][2]string{
		{`"level":2`, `"level":02`}, {`"level":2`, `"level":2.0`}, {`"level":2`, `"level":20000000000`}, {`orders.read`, `orders.read `},
		{`"admin",`, `"admin", `}, {`"admin",`, `"admin",,`}, {`,"support, really"]`, `]`}, {`usr_1`, `usr\u005f1`}, {`"req_wl"`, `"sub":"x","req_wl"`}, {`"}`, `"}}`},
	} {
		f.Add([]byte(strings.Replace(string(good), change[0], change[1], 1)))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		quick := quickClaims(payload)
		if quick == nil {
			return
		}
		slow, err := slowClaims(payload)
		if err != nil || !reflect.DeepEqual(quick, slow) {
			t.Fatalf("%q: quick %+v, slow %+v, %v", payload, quick, slow, err)
		}
	})
}

// TestKnownHeadersOpenNothing: a remembered header spares its reading, and
// nothing else.
func TestKnownHeadersOpenNothing(t *testing.T) {
	at := &clock{start}
	r := ring{newKey(t, "k1"), newKey(t, "k2")}
	v := newVerifier(t, r.set(t), at.Now)
	m := newMinter(t, r, at.Now)
	value := mint(t, m).Value
	if _, known := v.headers.find(value); known {
		t.Fatal("a header is known before its first token")
	}
	if _, err := v.Verify(t.Context(), value); err != nil {
		t.Fatal(err)
	}
	header, rest, _ := strings.Cut(value, ".")
	if kid, known := v.headers.find(value); !known || kid != "k2" {
		t.Fatalf("after a token of k2: %q %v", kid, known)
	}
	for _, bad := range []string{header, header + ".", header + "..", header + "." + rest + ".", header + "." + rest + "." + rest, header + ".\n" + rest, header + rest, value + "="} {
		if c, err := v.Verify(t.Context(), bad); err == nil {
			t.Errorf("%q is taken: %+v", bad, c)
		}
	}
	other := forge(t, strings.Replace(goodHeader, "k1", "k2", 1), goodPayload(), r[0].key) // says k2, is of k1
	if _, err := v.Verify(t.Context(), other); err == nil {
		t.Error("a token of another key is taken under a known header")
	}
	if _, err := v.Verify(t.Context(), mint(t, m).Value); err != nil {
		t.Errorf("positive control: %v", err)
	}
	if n := len(*v.headers.known.Load()); n != 1 {
		t.Errorf("%d headers are known, want 1", n)
	}
}

func TestKnownHeadersAreBounded(t *testing.T) {
	var h headers
	for i := range 3 * headersKnown {
		kid := strings.Repeat("k", i+1)
		h.note(kid+".a.b", kid)
	}
	if n := len(*h.known.Load()); n != headersKnown {
		t.Errorf("%d headers are known, want %d", n, headersKnown)
	}
	if kid, ok := h.find(strings.Repeat("k", 3*headersKnown) + ".c.d"); !ok || len(kid) != 3*headersKnown {
		t.Error("the last is not known")
	}
	if _, ok := h.find("k.a.b"); ok {
		t.Error("the first is known")
	}
}
