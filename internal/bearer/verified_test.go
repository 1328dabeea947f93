package bearer

import (
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/internal/problem"
)

func TestVerifiedIsBounded(t *testing.T) {
	v := newVerified(100)
	put := func(n int, until time.Duration) {
		var d digest
		binary.BigEndian.PutUint64(d[:], uint64(n)) // #nosec G115 -- small
		v.put(d, entry{until: start.Add(until)}, start)
	}
	for n := range 1000 {
		put(n, time.Minute)
	}
	if len(v.entries) != 100 {
		t.Errorf("%d entries, want 100", len(v.entries))
	}
	v = newVerified(10)
	for n := range 10 {
		put(n, -time.Second)
	}
	put(11, time.Minute)
	if len(v.entries) != 1 {
		t.Errorf("%d entries after all but one were over, want 1", len(v.entries))
	}
}

// TestRememberedNoLonger: a signature is looked at again after 30 s, and what is
// remembered never outlives the token.
func TestRememberedNoLonger(t *testing.T) {
	s := newSigner(t, "k", "ES256")
	r := startIssuer(t, s)
	w := newWorld(t, Config{}, r.provider("sso"))
	long, short := s.token(t, s.header(), r.claims()), s.token(t, s.header(), with(r.claims(), object{"exp": start.Add(time.Second).Unix()}))
	w.accepted("long", long)
	w.accepted("short", short)
	for token, want := range map[string]time.Duration{long: verifiedLife, short: time.Second} {
		if got := w.verified.entries[digestOf(token)].until; !got.Equal(start.Add(want)) {
			t.Errorf("remembered until %v, want %v", got, start.Add(want))
		}
	}
	w.clock.advance(time.Second)
	w.refused("short, over", short, problem.AuthExpired)
	w.clock.advance(verifiedLife)
	if _, ok := w.verified.get(digestOf(long), w.clock.now()); ok {
		t.Error("long: remembered after 30 s")
	}
	w.accepted("long, verified again", long)
}

func TestConcurrently(t *testing.T) {
	s := newSigner(t, "k", "ES256")
	r := startIssuer(t, s)
	w := newWorld(t, Config{}, r.provider("sso"))
	var all sync.WaitGroup
	for n := range 4 {
		token := s.token(t, s.header(), with(r.claims(), object{"sub": fmt.Sprint("user", n)}))
		all.Go(func() {
			for range 50 {
				p, _, err := w.Verify(t.Context(), token)
				if err != nil || p.Subject != fmt.Sprint("sso:user", n) {
					t.Errorf("user %d: %q, %v", n, p.Subject, err)
				}
			}
		})
		all.Go(func() {
			for range 5 {
				if err := w.looked(); err != nil {
					t.Error(err)
				}
				w.States()
			}
		})
	}
	all.Wait()
}

// TestTokensAreNotTold: no log and no error has a token in it, or its claims.
func TestTokensAreNotTold(t *testing.T) {
	s := newSigner(t, "k", "ES256")
	r := startIssuer(t, s)
	w := newWorld(t, Config{}, r.provider("sso"))
	secret := object{"sub": "planted", "email": "planted@shop.example"}
	w.accepted("positive control", s.token(t, s.header(), r.claims()))
	for n, change := range []object{{"aud": "x"}, {"exp": 1}, {"iss": "https://other.example"}, {"nonce": "x"}, {"sub": "planted planted"}, {"azp": 7}} {
		w.clock.advance(tellTime)
		token := s.token(t, s.header(), with(with(r.claims(), secret), change))
		_, _, err := w.Verify(t.Context(), token)
		if err == nil {
			t.Errorf("row %d was accepted", n)
			continue
		}
		for _, told := range []string{err.Error(), w.log.String()} {
			if strings.Contains(told, "planted") || strings.Contains(told, strings.Split(token, ".")[2]) {
				t.Errorf("row %d tells the token: %s", n, told)
			}
		}
	}
	if !strings.Contains(w.log.String(), "aud does not name") {
		t.Errorf("positive control: the log does not say why\n%s", w.log)
	}
}
