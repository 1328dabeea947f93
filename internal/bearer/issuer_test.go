package bearer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/internal/outward"
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// looked makes a look at the only issuer's keys now, as its schedule does.
func (w *world) looked() error {
	w.t.Helper()
	return w.list[0].keys.Look(w.t.Context())
}

func TestRotation(t *testing.T) {
	old, next := newSigner(t, "old", "ES256"), newSigner(t, "new", "ES256")
	r := startIssuer(t, old)
	w := newWorld(t, Config{}, r.provider("sso"))
	claims := with(r.claims(), object{"exp": start.Add(time.Hour).Unix()})
	byOld, byNew := old.token(t, old.header(), claims), next.token(t, next.header(), claims)
	w.accepted("before", byOld)
	w.refused("a key that is not published", byNew, problem.AuthInvalid)

	r.publish(old, next)
	w.refused("within a moment of the last look", byNew, problem.AuthInvalid)
	w.clock.advance(outward.AskTime)
	w.accepted("the new key, unannounced", byNew)
	w.accepted("the old key beside it", byOld)

	r.publish(next) // the old one is taken back
	w.clock.advance(outward.AskTime)
	w.accepted("remembered: no look yet", byOld)
	if err := w.looked(); err != nil {
		t.Fatal(err)
	}
	w.refused("taken back", byOld, problem.AuthInvalid)
	w.accepted("the new key still", byNew)

	r.publish() // all are taken back
	if err := w.looked(); err != nil {
		t.Fatal(err)
	}
	w.refused("all taken back", byNew, problem.AuthInvalid)
}

// TestNameUsedAgain: an issuer that gives the name of a key to another.
func TestNameUsedAgain(t *testing.T) {
	old, next := newSigner(t, "k", "ES256"), newSigner(t, "k", "ES256")
	r := startIssuer(t, old)
	w := newWorld(t, Config{}, r.provider("sso"))
	byOld, byNew := old.token(t, old.header(), r.claims()), next.token(t, next.header(), r.claims())
	w.accepted("old", byOld)
	r.publish(next)
	if err := w.looked(); err != nil {
		t.Fatal(err)
	}
	w.refused("old", byOld, problem.AuthInvalid)
	w.accepted("new", byNew)
}

// TestUnknownKeyFlood counts what the issuer hears of a flood of made-up keys.
func TestUnknownKeyFlood(t *testing.T) {
	s := newSigner(t, "k", "ES256")
	r := startIssuer(t, s)
	w := newWorld(t, Config{}, r.provider("sso"))
	w.accepted("positive control", s.token(t, s.header(), r.claims()))
	flood := func() {
		var all sync.WaitGroup
		for n := range 8 {
			all.Go(func() {
				for k := range 100 {
					w.refused("made up", s.token(t, with(s.header(), object{"kid": fmt.Sprint(n, " ", k)}), r.claims()), problem.AuthInvalid)
				}
			})
		}
		all.Wait()
	}
	for minute := range 3 {
		flood()
		if got, want := r.keySets.Load(), int64(1+minute); got != want {
			t.Errorf("after flood %d: %d looks at the keys, want %d", minute, got, want)
		}
		w.clock.advance(outward.AskTime)
	}
	if n := len(w.verified.entries); n != 1 {
		t.Errorf("%d tokens remembered, want the good one alone", n)
	}
	if n := strings.Count(w.log.String(), "token of another issuer refused"); n > 3 {
		t.Errorf("%d lines about 2400 refused tokens, want one each %s", n, tellTime)
	}
	// What cannot be good in any case does not even ask.
	asked := r.keySets.Load()
	for name, change := range map[string]object{"audience": {"aud": "other"}, "expired": {"exp": 1}, "issuer": {"iss": "https://other.example"}} {
		w.clock.advance(outward.AskTime)
		token := s.token(t, with(s.header(), object{"kid": "unknown"}), with(r.claims(), change))
		if _, _, err := w.Verify(t.Context(), token); err == nil || r.keySets.Load() != asked {
			t.Errorf("%s: %v, and the issuer was asked %d times more", name, err, r.keySets.Load()-asked)
		}
	}
}

// TestLookIsShared: all who need keys wait for one look.
func TestLookIsShared(t *testing.T) {
	s := newSigner(t, "k", "ES256")
	r := startIssuer(t, s)
	hold, came := make(chan struct{}), make(chan struct{})
	var once sync.Once
	r.answers(func(http.ResponseWriter, *http.Request) {
		once.Do(func() { close(came) })
		<-hold
		panic(http.ErrAbortHandler)
	})
	w := newWorld(t, Config{}, r.provider("sso"))
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			w.refused("while the issuer is slow", s.token(t, s.header(), r.claims()), problem.AuthUnavailable)
		})
	}
	<-came
	// One that gives up does not take the look from the others.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := w.Verify(ctx, s.token(t, s.header(), r.claims())); problem.ReasonOf(err) != problem.AuthUnavailable {
		t.Errorf("given up: %v", err)
	}
	close(hold)
	all.Wait()
	if n := r.discoveries.Load(); n != 1 {
		t.Errorf("%d looks, want 1", n)
	}
	r.answers(nil)
	w.clock.advance(outward.AskTime)
	w.accepted("positive control", s.token(t, s.header(), r.claims()))
}

// TestDownThenUp: a zone starts while the issuer cannot be reached.
func TestDownThenUp(t *testing.T) {
	s := newSigner(t, "k", "ES256")
	r := startIssuer(t, s)
	var up atomic.Bool
	w := newWorld(t, Config{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		if !up.Load() {
			return nil, errors.New("connection refused")
		}
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}}, r.provider("sso"))
	token := s.token(t, s.header(), r.claims())
	w.refused("down", token, problem.AuthUnavailable)
	if st := w.States()[0]; st.Usable || st.Cause() != "it cannot be reached" || !st.Fetched.IsZero() || st.Provider != "sso" {
		t.Errorf("down: state %+v", st)
	}
	up.Store(true)
	w.refused("up, and asked a moment ago", token, problem.AuthUnavailable)
	w.clock.advance(outward.AskTime)
	w.accepted("up", token)
	if st := w.States()[0]; !st.Usable || st.Err != nil || st.Cause() != "" || st.Keys != 1 || !st.Fetched.Equal(w.clock.now()) {
		t.Errorf("up: state %+v", st)
	}
}

// TestKeysAreKept: while the issuer is away its last keys count, up to a bound.
func TestKeysAreKept(t *testing.T) {
	s := newSigner(t, "k", "ES256")
	r := startIssuer(t, s)
	w := newWorld(t, Config{}, r.provider("sso"))
	claims := with(r.claims(), object{"exp": start.Add(24 * time.Hour).Unix()})
	token := func(id string) string {
		return s.token(t, s.header(), with(claims, object{"jti": id}))
	}
	w.accepted("positive control", token("1"))
	r.answers(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	if w.looked() == nil {
		t.Fatal("the issuer should be away")
	}
	w.accepted("away", token("2"))
	if st := w.States()[0]; !st.Usable || st.Keys != 1 || st.Cause() != "it answers 500" || !st.Fetched.Equal(start) {
		t.Errorf("away: state %+v", st)
	}
	w.clock.advance(outward.AskTime)
	w.refused("away, an unknown key: it may be a new one", s.token(t, with(s.header(), object{"kid": "new"}), claims), problem.AuthUnavailable)
	w.clock.advance(keepTime - outward.AskTime - 1)
	w.accepted("the last moment", token("3"))
	w.clock.advance(1)
	w.refused("too long", token("4"), problem.AuthUnavailable)
	w.refused("too long, remembered", token("3"), problem.AuthUnavailable)
	if st := w.States()[0]; st.Usable || st.Keys != 0 || st.Cause() != "it answers 500" || !st.Fetched.Equal(start) {
		t.Errorf("too long: state %+v", st)
	}
	r.answers(nil)
	w.clock.advance(outward.AskTime)
	w.accepted("back", token("4"))
}

// TestReload: the keys that one map had are those of the next, if they come from
// the same place; what is made of a token is the next map's own.
func TestReload(t *testing.T) {
	s := newSigner(t, "k", "ES256")
	r := startIssuer(t, s)
	token := s.token(t, s.header(), with(r.claims(), object{"groups": "g"}))
	before := newWorld(t, Config{}, r.provider("sso"))
	before.accepted("positive control", token)
	r.answers(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	for _, c := range []struct {
		name   string
		change func(*zone.Provider)
		want   problem.Reason
	}{
		{"nothing", func(*zone.Provider) {}, problem.OK},
		{"roles", func(p *zone.Provider) {
			p.Roles = &zone.RoleMap{Claim: "groups", Map: map[string][]string{"g": {"support"}}}
		}, problem.OK},
		{"the name", func(p *zone.Provider) { p.Name = "other" }, problem.OK},
		{"the audience", func(p *zone.Provider) { p.Audience = "other" }, problem.AuthInvalid},
		{"the clients", func(p *zone.Provider) { p.Clients = []string{"other"} }, problem.AuthInvalid},
		{"the algorithms", func(p *zone.Provider) { p.Algorithms = []string{"ES256"} }, problem.AuthUnavailable},
		{"where the keys are", func(p *zone.Provider) { p.JWKS = r.URL + "/keys" }, problem.AuthUnavailable},
		{"the roots of TLS", func(p *zone.Provider) { p.CA = "" }, problem.AuthUnavailable},
		{"the issuer", func(p *zone.Provider) { p.Issuer += "/" }, problem.AuthInvalid},
	} {
		p := r.provider("sso")
		c.change(&p)
		after := newWorld(t, Config{Before: before.Issuers}, p)
		if c.want != problem.OK {
			after.refused(c.name, token, c.want)
			continue
		}
		got := after.accepted(c.name, token)
		if got.Subject != p.Name+":alice" || (got.Roles != nil) != (p.Roles != nil) {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
	newWorld(t, Config{}, r.provider("sso")).refused("without the map before", token, problem.AuthUnavailable)
}

// TestRun: the schedule finds new keys and ones that are taken back by itself.
func TestRun(t *testing.T) {
	old, next := newSigner(t, "old", "ES256"), newSigner(t, "new", "ES256")
	r := startIssuer(t, old)
	w := newWorld(t, Config{Refresh: time.Millisecond}, r.provider("sso"))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	settle := func() { // a look that began after now has ended
		for len(r.asked) > 0 {
			<-r.asked
		}
		for range 3 {
			<-r.asked
		}
	}
	settle()
	byOld, byNew := old.token(t, old.header(), r.claims()), next.token(t, next.header(), r.claims())
	w.accepted("old", byOld)
	r.publish(next)
	settle()
	w.accepted("new", byNew)
	w.refused("old", byOld, problem.AuthInvalid)
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v, want nil", err)
	}
}
