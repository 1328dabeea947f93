package svid

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/internal/problem"
)

func TestServiceID(t *testing.T) {
	for _, c := range []struct{ zone, name, want string }{
		{"shop.example", "orders", "spiffe://shop.example/orders"},
		{"shop", ControlName, "spiffe://shop/control"},
		{"shop.example", "", ""},
		{"", "orders", ""},
		{"shop.example", "a/b", ""},
		{"shop.example", "..", ""},
		{"shop.example", "%41", ""},
		{"shop.example", "*", ""},
		{"Shop.example", "orders", ""},
		{"shop.example/x", "orders", ""},
		{"shop.example:1", "orders", ""},
		{"spiffe://shop.example", "orders", ""},
		{strings.Repeat("z", maxID), "orders", ""},
	} {
		id, err := ServiceID(c.zone, c.name)
		if id.String() != c.want || (err == nil) != (c.want != "") {
			t.Errorf("ServiceID(%.40q, %q) = %q, %v, want %q", c.zone, c.name, id, err, c.want)
		}
	}
}

func TestNewIdentity(t *testing.T) {
	zone, foreign := newAuthority(t, testZone, day()), newAuthority(t, "bank.example", day())
	leaf, key := zone.leaf("orders", day(), time.Hour, nil)
	roots := []*x509.Certificate{zone.root}
	for _, c := range []struct {
		name  string
		chain [][]byte
		key   *ecdsa.PrivateKey
		roots []*x509.Certificate
		want  string
	}{
		{"good", [][]byte{leaf.Raw, zone.mid.Raw}, key, roots, ""},
		{"good, with its root", [][]byte{leaf.Raw, zone.mid.Raw, zone.root.Raw}, key, roots, ""},
		{"good, one root of two", [][]byte{leaf.Raw, zone.mid.Raw}, key, []*x509.Certificate{foreign.root, zone.root}, ""},
		{"no certificate", nil, key, roots, "chain of 0"},
		{"not DER", [][]byte{[]byte("x")}, key, roots, "certificate 1"},
		{"no intermediate", [][]byte{leaf.Raw}, key, roots, "unknown authority"},
		{"another root", [][]byte{leaf.Raw, zone.mid.Raw}, key, []*x509.Certificate{foreign.root}, "unknown authority"},
		{"no root", [][]byte{leaf.Raw, zone.mid.Raw}, key, nil, "0 roots"},
		{"another key", [][]byte{leaf.Raw, zone.mid.Raw}, testKey(t), roots, "not that of the certificate"},
		{"intermediate first", [][]byte{zone.mid.Raw, leaf.Raw}, key, roots, "URI names"},
		{"root as leaf", [][]byte{zone.root.Raw}, zone.rootKey, roots, "URI names"},
	} {
		i, err := NewIdentity(c.chain, c.key, c.roots)
		if c.want != "" {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v, want an error with %q", c.name, err, c.want)
			}
			continue
		}
		if err != nil || i.ID != mustID(t, "orders") || len(i.Certificate.Certificate) != 2 || !i.NotAfter.Equal(day().Add(time.Hour)) {
			t.Errorf("%s: %+v, %v", c.name, i, err)
			continue
		}
		if got := i.withRoot().Certificate; len(got) != 3 || string(got[2]) != string(zone.root.Raw) {
			t.Errorf("%s: withRoot has %d certificates, want 3 with the zone's root last", c.name, len(got))
		}
	}
	if _, err := NewIdentity([][]byte{leaf.Raw, zone.mid.Raw}, nil, roots); err == nil {
		t.Error("an identity without a key was made")
	}
	// What no peer accepts is no identity either.
	for _, s := range strangers(t, zone) {
		switch s.name {
		case "expired", "not yet valid": // the source says so
			continue
		case "a domain that ours starts with": // whose roots these are is for the caller to know
			continue
		}
		if _, err := NewIdentity(s.chain.Certificate, s.chain.PrivateKey.(*ecdsa.PrivateKey), roots); err == nil {
			t.Errorf("%s: an identity was made of it", s.name)
		}
	}
}

func TestIdentityHidesItsKey(t *testing.T) {
	i := newAuthority(t, testZone, day()).identity("orders", day(), time.Hour)
	js, err := json.Marshal(map[string]any{"pointer": i, "value": *i})
	if err != nil {
		t.Fatal(err)
	}
	secret := i.Certificate.PrivateKey.(*ecdsa.PrivateKey)
	raw, err := secret.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{string(js), fmt.Sprintf("%v %+v %#v %s", i, *i, *i, i), i.LogValue().String()} {
		if !strings.Contains(text, "spiffe://shop.example/orders until 2026-03-01T13:00:00Z") || len(text) > 300 || strings.Contains(text, base64.StdEncoding.EncodeToString(raw)) {
			t.Errorf("an identity prints as %s", text)
		}
	}
}

func TestSourceLife(t *testing.T) {
	zone := newAuthority(t, testZone, day())
	now := day()
	s := NewSource(func() time.Time { return now })
	for _, c := range []struct {
		name string
		at   time.Duration
		set  *Identity
		want string
	}{
		{"nothing yet", 0, nil, "no identity yet"},
		{"in its life", 0, zone.identity("orders", day(), time.Hour), ""},
		{"at its end", time.Hour, nil, ""},
		{"after its end", time.Hour + time.Second, nil, "ended at"},
		{"before its start", -time.Second, nil, "check the clock"},
		{"the next one", time.Hour + time.Second, zone.identity("orders", day().Add(time.Hour), time.Hour), ""},
	} {
		now = day().Add(c.at)
		if c.set != nil {
			s.Set(c.set)
		}
		i, err := s.Current()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) || (i == nil) == (err == nil) {
			t.Errorf("%s: %v, %v, want an error with %q", c.name, i, err, c.want)
		}
		if err != nil && problem.ReasonOf(err) != problem.InsideUnavailable {
			t.Errorf("%s: reason %s, want inside.unavailable", c.name, problem.ReasonOf(err))
		}
	}
	s.Set(nil)
	if _, err := s.Current(); err == nil {
		t.Error("a withdrawn identity is still in use")
	}
}

func TestSourceWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zone := newAuthority(t, testZone, time.Now())
		s := NewSource(nil)
		old := zone.identity("orders", time.Now(), time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) || problem.ReasonOf(err) != problem.InsideUnavailable {
			t.Errorf("Wait without an identity = %v, want the deadline and inside.unavailable", err)
		}
		done := make(chan error, 1)
		go func() { done <- s.Wait(t.Context()) }()
		synctest.Wait()
		changed := s.Changed()
		s.Set(old) // no use: it ended while Wait waited
		<-changed
		synctest.Wait()
		if len(done) != 0 {
			t.Fatal("Wait took an identity that had ended")
		}
		s.Set(zone.identity("orders", time.Now(), time.Hour))
		if err := <-done; err != nil {
			t.Errorf("Wait = %v", err)
		}
	})
}
