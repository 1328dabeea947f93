package guard

import (
	"crypto/tls"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"sallyport.dev/guard/internal/standin"
	"sallyport.dev/guard/internal/testca"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/svid"
)

// newTLSControl serves control over TLS with an identity and returns its URL.
func newTLSControl(t *testing.T, own *svid.Source, h http.Handler, change func(*tls.Config)) string {
	t.Helper()
	cfg := svid.ControlTLS(own, func(svid.Peer) error { return nil })
	if change != nil {
		change(cfg)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	return "https://" + l.Addr().String()
}

// over serves what a control in memory says.
func over(c http.RoundTripper) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		res, err := c.RoundTrip(r)
		if err != nil {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		defer res.Body.Close()
		w.WriteHeader(res.StatusCode)
		_, _ = io.Copy(w, res.Body)
	})
}

func TestControlOverTLS(t *testing.T) {
	c := &fakeControl{slice: testSlice(t, "/a"), keys: jwks(t, newTestKey(t, "k1"))}
	ca, foreign := testca.New(t, "shop.example", time.Now()), testca.New(t, "shop.example", time.Now())
	control := ca.Source(t, "control", time.Now)
	ended := svid.NewSource(func() time.Time { return time.Now().Add(-time.Hour) })
	ended.Set(ca.Identity(t, "control", time.Now().Add(-3*time.Hour), time.Now().Add(-time.Minute)))
	for _, tt := range []struct {
		name   string
		source *svid.Source
		change func(*tls.Config)
		own    *svid.Source
		want   string // in the error; empty: none
	}{
		{"control", control, nil, ca.Source(t, "orders", time.Now), ""},
		{"another CA's control", foreign.Source(t, "control", time.Now), nil, ca.Source(t, "orders", time.Now), "inside.peer"},
		{"a service in its place", ca.Source(t, "accounts", time.Now), nil, ca.Source(t, "orders", time.Now), "inside.peer"},
		{"the gateway in its place", ca.Source(t, "gateway", time.Now), nil, ca.Source(t, "orders", time.Now), "inside.peer"},
		{"a control that ended", ended, nil, ca.Source(t, "orders", time.Now), "inside.peer"},
		{"TLS 1.2", control, func(cfg *tls.Config) { cfg.MinVersion, cfg.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 }, ca.Source(t, "orders", time.Now), "protocol version"},
		{"no identity of our own", control, nil, svid.NewSource(nil), "inside.unavailable"},
		{"an identity that control does not know", control, nil, foreign.Source(t, "orders", time.Now), "inside.peer"},
	} {
		url := newTLSControl(t, tt.source, over(c), tt.change)
		cfg, err := Config{Service: "orders", Control: url}.resolve()
		if err != nil {
			t.Fatal(err)
		}
		ctl := newControl(cfg, standin.Parts{Source: tt.own, Patience: patience})
		keys, err := ctl.keys(t.Context())
		if tt.want == "" {
			a, sliceErr := ctl.slice(t.Context(), "", 0)
			if err != nil || sliceErr != nil || string(a.body) != string(c.slice) || string(keys) != string(c.keys) {
				t.Errorf("%s: %d and %d bytes, %v, %v", tt.name, len(a.body), len(keys), err, sliceErr)
			}
		} else if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q in it", tt.name, err, tt.want)
		}
		ctl.close()
	}
}

func TestControlAnswersBadly(t *testing.T) {
	status := http.StatusOK
	ca := testca.New(t, "shop.example", time.Now())
	url := newTLSControl(t, ca.Source(t, "control", time.Now), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
	}), nil)
	cfg, err := Config{Service: "orders", Control: url}.resolve()
	if err != nil {
		t.Fatal(err)
	}
	ctl := newControl(cfg, standin.Parts{Source: ca.Source(t, "orders", time.Now), Patience: patience})
	defer ctl.close()
	for _, tt := range []struct {
		status int
		tag    string
		ok     bool
	}{
		{200, "", true}, {200, `"a"`, true}, {304, `"a"`, true}, {304, "", false}, {204, "", false}, {302, "", false}, {403, `"a"`, false}, {503, "", false},
	} {
		status = tt.status
		if _, err := ctl.slice(t.Context(), tt.tag, 0); (err == nil) != tt.ok {
			t.Errorf("status %d with tag %s: %v", status, tt.tag, err)
		}
	}
}

// TestOwnToken: one question for all calls, again after half a life, and never a
// token that is over.
func TestOwnToken(t *testing.T) {
	clock := &handClock{now: time.Now()}
	c := &fakeControl{slice: testSlice(t, "/a"), keys: jwks(t, newTestKey(t, "k1"))}
	g := newGuardWith(t, t.Context(), Config{Clock: clock.Now}, c)
	if err := g.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	answer := func(value string, life time.Duration) {
		c.set(func(c *fakeControl) {
			c.token = `{"token":"` + value + `","expires_at":"` + clock.Now().Add(life).Format(time.RFC3339Nano) + `"}`
		})
	}
	for _, tt := range []struct {
		after  time.Duration
		answer string
		life   time.Duration
		want   string // empty: an error
	}{
		{0, "one", time.Minute, "one"},
		{29 * time.Second, "two", time.Minute, "one"},
		{2 * time.Second, "three", time.Minute, "three"},
		{time.Minute, "over", -time.Second, ""},
		{0, "", time.Minute, ""},
		{0, strings.Repeat("x", 9000), time.Minute, ""},
		{0, "four", time.Minute, "four"},
	} {
		clock.set(clock.Now().Add(tt.after))
		answer(tt.answer, tt.life)
		got, err := g.ownTokenFor(t.Context())
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("after %s more, with %.10q at control: %.10q, %v; want %q", tt.after, tt.answer, got, err, tt.want)
		}
	}
	if n := c.tokens; n != 6 {
		t.Errorf("control was asked %d times, want 6", n)
	}
}

// TestIdentityGone: without an identity a guard is not ready, whatever it knows.
func TestIdentityGone(t *testing.T) {
	key := newTestKey(t, "k1")
	g := newTestGuard(t, t.Context(), &fakeControl{slice: testSlice(t, "/a"), keys: jwks(t, key)})
	if err := g.Wait(t.Context()); err != nil || !g.Ready() {
		t.Fatalf("ready %v, %v", g.Ready(), err)
	}
	g.source.Set(nil)
	if err := g.Wait(t.Context()); problem.ReasonOf(err) != problem.InsideUnavailable || g.Ready() {
		t.Errorf("without identity: ready %v, Wait = %v", g.Ready(), err)
	}
}
