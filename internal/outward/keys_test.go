package outward

import (
	"context"
	"crypto"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// source is an issuer's keys, and how often they were asked for.
type source struct {
	keys  []object
	err   error
	asked atomic.Int64
}

func (s *source) fetch(t testing.TB) func(context.Context) ([]byte, error) {
	return func(context.Context) ([]byte, error) {
		s.asked.Add(1)
		return mustJSON(t, object{"keys": s.keys}), s.err
	}
}

const day = 24 * time.Hour

func newKeys(t testing.TB, c *clock, s *source, scheduled bool) *Keys {
	return NewKeys(KeysConfig{
		Algorithms: []string{"ES256", "EdDSA"}, Fetch: s.fetch(t), Clock: c.now, Log: silent,
		Refresh: time.Hour, Keep: day, Timeout: time.Minute, Scheduled: scheduled,
	})
}

// holds asks whether a token is the issuer's: yes, no, or that it cannot be said.
func holds(t *testing.T, k *Keys, token string) string {
	t.Helper()
	s, err := k.Parse(token)
	if err != nil {
		return "no"
	}
	payload, set, err := k.Verify(t.Context(), s)
	switch {
	case errors.Is(err, ErrSignature):
		return "no"
	case err != nil:
		return "?"
	case string(payload) != `{"sub":"alice"}` || !k.Uses(set):
		t.Errorf("payload %q", payload)
	}
	return "yes"
}

func TestKeys(t *testing.T) {
	of := func(a jose.SignatureAlgorithm) crypto.Signer { return newKey(t, a) }
	one, two, ed := of(jose.ES256), of(jose.ES256), of(jose.EdDSA)
	for _, scheduled := range []bool{true, false} {
		c, s := &clock{}, &source{keys: []object{jwkOf(t, one.Public(), "1"), jwkOf(t, ed.Public(), "e")}}
		k := newKeys(t, c, s, scheduled)
		byOne, byTwo := signed(t, jose.ES256, one, "1"), signed(t, jose.ES256, two, "2")
		steps := []struct {
			name, token, want string
			before            func()
			asked             int64
		}{
			{"the first", byOne, "yes", nil, 1},
			{"again", byOne, "yes", nil, 1},
			{"by EdDSA", signed(t, jose.EdDSA, ed, "e"), "yes", nil, 1},
			{"another by its name", signed(t, jose.ES256, two, "1"), "no", nil, 1},
			{"of an algorithm that is not allowed", signed(t, jose.RS256, of(jose.RS256), "1"), "no", nil, 1},
			{"none of its algorithm", signed(t, jose.ES256, one, "e"), "no", nil, 1},
			{"unknown, asked a moment ago", byTwo, "no", func() { s.keys = append(s.keys, jwkOf(t, two.Public(), "2")) }, 1},
			{"unknown", byTwo, "yes", func() { c.advance(AskTime) }, 2},
			{"made up", signed(t, jose.ES256, one, "3"), "no", nil, 2},
			{"made up, later", signed(t, jose.ES256, one, "3"), "no", func() { c.advance(AskTime) }, 3},
			{"made up, away", signed(t, jose.ES256, one, "3"), "?", func() { c.advance(AskTime); s.err = errors.New("away") }, 4},
			{"made up, away a moment ago", signed(t, jose.ES256, one, "4"), "?", nil, 4},
			{"known, away", byOne, "yes", nil, 4},
		}
		for _, step := range steps {
			if step.before != nil {
				step.before()
			}
			if got := holds(t, k, step.token); got != step.want || s.asked.Load() != step.asked {
				t.Errorf("scheduled %v: %s: %s after %d looks, want %s after %d", scheduled, step.name, got, s.asked.Load(), step.want, step.asked)
			}
		}
		// Without a schedule what is due is looked for, and it is used while nobody answers.
		c.advance(time.Hour)
		looks := s.asked.Load()
		if got := holds(t, k, byOne); got != "yes" || (s.asked.Load() > looks) == scheduled {
			t.Errorf("scheduled %v: due: %s after %d looks more", scheduled, got, s.asked.Load()-looks)
		}
		c.advance(day)
		if got := holds(t, k, byOne); got != "?" {
			t.Errorf("scheduled %v: too old: %s", scheduled, got)
		}
		s.err, s.keys = nil, s.keys[1:] // the first was taken back
		c.advance(AskTime)
		if got := holds(t, k, byTwo) + " " + holds(t, k, byOne); got != "yes no" {
			t.Errorf("scheduled %v: taken back: %s", scheduled, got)
		}
	}
}

// TestSameKeys: a set that did not change stays the one that tokens were verified
// with, and one that is taken over begins where the other was.
func TestSameKeys(t *testing.T) {
	c, s := &clock{}, &source{keys: []object{jwkOf(t, newKey(t, jose.ES256).Public(), "1")}}
	k := newKeys(t, c, s, false)
	first, err := k.Get(t.Context())
	if err != nil || first.Len() != 1 {
		t.Fatal(first, err)
	}
	if err := k.Look(t.Context()); err != nil || !k.Uses(first) {
		t.Errorf("the same: %v, in use %v", err, k.Uses(first))
	}
	next := newKeys(t, c, s, false)
	next.TakeOver(k.Document)
	if !next.Uses(first) || s.asked.Load() != 2 {
		t.Error("taken over: not in use, or asked for")
	}
	s.keys = nil
	if err := k.Look(t.Context()); err == nil || !k.Uses(first) { // null is no set
		t.Errorf("none: %v", err)
	}
	s.keys = []object{}
	if err := k.Look(t.Context()); err != nil || k.Uses(first) {
		t.Errorf("others: %v", err)
	}
}

// TestDocument: what panics is an error of that look, and one who gives up leaves it
// to the others.
func TestDocument(t *testing.T) {
	c := &clock{}
	hold := make(chan struct{})
	d := &Document[string]{Clock: c.now, Refresh: time.Hour, Keep: day, Timeout: time.Minute}
	d.Fetch = func(context.Context) (string, error) { <-hold; panic("no") }
	if _, has := d.Peek(); has {
		t.Error("there is a value")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Get(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	close(hold)
	if _, err := d.Get(t.Context()); err == nil {
		t.Error("a panic is a value")
	}
	d.Fetch = func(context.Context) (string, error) { return "value", nil }
	c.advance(AskTime)
	if v, err := d.Get(t.Context()); v != "value" || err != nil {
		t.Errorf("%q, %v", v, err)
	}
	c.advance(-time.Hour) // a clock that goes back makes nothing young
	asked := false
	d.Fetch = func(context.Context) (string, error) { asked = true; return "next", nil }
	if v, _ := d.Get(t.Context()); v != "next" || !asked {
		t.Errorf("%q, asked %v", v, asked)
	}
}

// FuzzParseKeys: of whatever JWK Set, only public keys come that can sign with an
// algorithm that is allowed.
func FuzzParseKeys(f *testing.F) {
	for _, a := range []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA, jose.RS256} {
		f.Add(mustJSON(f, object{"keys": []object{jwkOf(f, newKey(f, a).Public(), "k")}}))
	}
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AQAB"},{"kty":"RSA","n":"AQAB","e":"AQ","d":"AQ"},null,{}]}`))
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","kid":"a"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		set, err := parseKeys(data, []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA})
		if err != nil {
			return
		}
		for _, k := range set.keys {
			if len(k.algorithms) != 1 || k.algorithms[0] != jose.ES256 && k.algorithms[0] != jose.EdDSA {
				t.Errorf("%v of %q", k.algorithms, data)
			}
		}
	})
}
