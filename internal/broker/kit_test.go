package broker

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/internal/broker/brokertest"
	"sallyport.dev/internal/keys"
	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
	"sallyport.dev/internal/store/pgtest"
	"sallyport.dev/zone"
)

var start = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// clock stands still until it is moved.
type clock struct{ offset atomic.Int64 }

func (c *clock) now() time.Time          { return start.Add(time.Duration(c.offset.Load())) }
func (c *clock) advance(d time.Duration) { c.offset.Add(int64(d)) }

const base = "https://shop.example:8443"

// world is a broker with its database.
type world struct {
	*Broker
	t     *testing.T
	clock *clock
	db    *store.DB
	root  *keys.Root
	log   *lines
	cfg   Config
}

func newWorld(t *testing.T, c *clock, providers ...zone.Provider) *world {
	t.Helper()
	w := &world{t: t, clock: c, log: &lines{}}
	if slices.ContainsFunc(providers, func(p zone.Provider) bool { return p.Kind == KindSAML }) { // others need none
		db, err := pgtest.OpenAt(t, filepath.Join(t.TempDir(), "zone.db"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		w.db = db
		if w.root, err = keys.OpenRoot(filepath.Join(t.TempDir(), "root"), true); err != nil {
			t.Fatal(err)
		}
	}
	w.cfg = Config{
		Providers: providers, Base: base, DB: w.db, Root: w.root, Before: &Broker{key: testKey(t)}, Clock: c.now, Log: obs.NewLogger(w.log, slog.LevelDebug, false),
		Timeout: time.Minute, // a slow machine decides nothing
		Secret:  func(*zone.Secret) (string, error) { return brokertest.ClientSecret, nil },
	}
	w.Broker = w.make(w.cfg)
	return w
}

var testKeys = sync.OnceValues(func() (*requestKey, error) {
	text, err := makeRequestKey("shop.example", start)
	if err != nil {
		return nil, err
	}
	return parseRequestKey(text)
})

// testKey is one for all tests: to make one takes long.
func testKey(t testing.TB) *requestKey {
	t.Helper()
	k, err := testKeys()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (w *world) make(cfg Config) *Broker {
	w.t.Helper()
	b, err := New(w.t.Context(), cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

func oidcOf(i *brokertest.Issuer) zone.Provider {
	return zone.Provider{
		Name: "sso", Kind: KindOIDC, Issuer: i.URL, CA: i.CA, ClientID: brokertest.ClientID, ClientSecret: &zone.Secret{Env: "SECRET"},
		Algorithms: []string{"ES256", "RS256", "EdDSA"}, Scopes: []string{"openid", "email"},
	}
}

// begin begins a login, which must succeed.
func (w *world) begin(name string, ask Ask) (string, State) {
	w.t.Helper()
	redirect, s, err := w.Begin(w.t.Context(), name, ask)
	if err != nil {
		w.t.Fatalf("begin: %v", err)
	}
	return redirect, s
}

// login logs in at an OpenID provider or GitHub, whose roots are ca.
func (w *world) login(name, ca string) (Claims, error) {
	w.t.Helper()
	redirect, s := w.begin(name, Ask{})
	return w.Finish(w.t.Context(), name, s, brokertest.Browser(w.t, redirect, ca))
}

// answered logs in at a SAML provider.
func (w *world) answered(p *brokertest.IdP, a brokertest.Answer) (Claims, error) {
	w.t.Helper()
	redirect, s := w.begin("saml", Ask{})
	return w.Finish(w.t.Context(), "saml", s, p.Answer(w.t, redirect, a))
}

// check compares the reason of an error; OK for none.
func check(t *testing.T, err error, want problem.Reason) {
	t.Helper()
	if got := problem.ReasonOf(err); got != want {
		cause := error(nil)
		if p := (*problem.Error)(nil); errors.As(err, &p) {
			cause = p.Cause
		}
		t.Errorf("got %s (%v; %v), want %s", got, err, cause, want)
	}
}

// lines is a log.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func withQuery(r *http.Request, name, value string) *http.Request {
	q := r.URL.Query()
	q.Set(name, value)
	r.URL.RawQuery = q.Encode()
	return r
}

type ctx = context.Context
