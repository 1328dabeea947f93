package guard

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/token"
	"sallyport.dev/zone"
)

// fakeControl is control in memory: what it answers can change under way.
type fakeControl struct {
	mu      sync.Mutex
	down    bool
	slice   []byte
	keys    []byte
	fetches int // of keys
}

func (c *fakeControl) set(change func(*fakeControl)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(c)
}

func (c *fakeControl) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fetches
}

func (c *fakeControl) RoundTrip(r *http.Request) (*http.Response, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down {
		return nil, errors.New("connection refused")
	}
	body := c.slice
	if r.URL.Path == "/.well-known/jwks.json" {
		c.fetches++
		body = c.keys
	}
	return &http.Response{StatusCode: http.StatusOK, Header: make(http.Header), Body: io.NopCloser(bytes.NewReader(body)), Request: r}, nil
}

func testSlice(t testing.TB, path string) []byte {
	t.Helper()
	b, err := json.Marshal(zone.Slice{
		Version: zone.SliceVersion, Zone: "shop.example", Issuer: "https://shop.example", Service: "orders", Staleness: 5 * time.Minute,
		Routes: []zone.SliceRoute{{Listener: "public", Method: "GET", Path: path, Allow: []string{"user"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// testKey is a signer of the zone; it implements token.Signers.
type testKey struct {
	id  string
	key *ecdsa.PrivateKey
}

func newTestKey(t testing.TB, id string) testKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return testKey{id, key}
}

func (k testKey) SigningKey(context.Context) (token.SigningKey, error) {
	return token.SigningKey{ID: k.id, Signer: k.key}, nil
}

func (k testKey) PublicKeys(context.Context) ([]token.PublicKey, error) {
	return []token.PublicKey{{ID: k.id, Key: &k.key.PublicKey}}, nil
}

func (k testKey) token(t testing.TB) string {
	t.Helper()
	m, err := token.NewMinter(token.Config{Zone: "shop.example", Issuer: "https://shop.example", Workload: "spiffe://shop.example/gateway", Signers: k})
	if err != nil {
		t.Fatal(err)
	}
	tok, err := m.Mint(t.Context(), token.Subject{Subject: "u1", Listener: "public", Method: "session"})
	if err != nil {
		t.Fatal(err)
	}
	return tok.Value
}

func jwks(t testing.TB, keys ...testKey) []byte {
	t.Helper()
	var public []token.PublicKey
	for _, k := range keys {
		public = append(public, token.PublicKey{ID: k.id, Key: &k.key.PublicKey})
	}
	b, err := token.MarshalJWKS(public)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func newTestGuard(t testing.TB, ctx context.Context, c *fakeControl) *Guard { //nolint:revive // t first, as everywhere in tests
	t.Helper()
	g, err := New(ctx, Config{
		Service: "orders", Control: "https://control.invalid", HTTPClient: &http.Client{Transport: c},
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// ask sends GET path and returns the reason, or ok.
func ask(g *Guard, path, tok string) problem.Reason {
	r := httptest.NewRequest(http.MethodGet, path, http.NoBody)
	r.Header.Set(headerToken, tok)
	w := httptest.NewRecorder()
	g.Protect(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(w, r)
	if code := w.Header().Get(problem.ReasonHeader); code != "" {
		reason, _ := problem.Parse(code)
		return reason
	}
	return problem.OK
}

func TestControlComesLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := newTestKey(t, "k1")
		c := &fakeControl{down: true, slice: testSlice(t, "/a"), keys: jwks(t, key)}
		g := newTestGuard(t, t.Context(), c)
		time.Sleep(time.Minute)
		if got := ask(g, "/a", key.token(t)); got != problem.InsideUnavailable || g.Ready() {
			t.Errorf("without control: %v, ready %v; want %v", got, g.Ready(), problem.InsideUnavailable)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := g.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Wait without control = %v, want deadline exceeded", err)
		}
		c.set(func(c *fakeControl) { c.down = false })
		start := time.Now()
		if err := g.Wait(t.Context()); err != nil || time.Since(start) > 2*retryMost {
			t.Errorf("Wait = %v after %s", err, time.Since(start))
		}
		if got := ask(g, "/a", key.token(t)); got != problem.OK || !g.Ready() {
			t.Errorf("with control: %v, ready %v", got, g.Ready())
		}
	})
}

func TestStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := newTestKey(t, "k1")
		c := &fakeControl{slice: testSlice(t, "/a"), keys: jwks(t, key)}
		g := newTestGuard(t, t.Context(), c)
		if err := g.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.set(func(c *fakeControl) { c.down = true })
		for _, tt := range []struct {
			sleep time.Duration
			want  problem.Reason
		}{
			{4 * time.Minute, problem.OK},
			{time.Minute + time.Second, problem.InsideStale},
			{time.Hour, problem.InsideStale},
		} {
			time.Sleep(tt.sleep)
			if got := ask(g, "/a", key.token(t)); got != tt.want || g.Ready() != (tt.want == problem.OK) {
				t.Errorf("after %s more: %v, ready %v; want %v", tt.sleep, got, g.Ready(), tt.want)
			}
		}
		if err := g.Wait(t.Context()); problem.ReasonOf(err) != problem.InsideStale {
			t.Errorf("Wait of a stale guard = %v", err)
		}
		c.set(func(c *fakeControl) { c.down = false })
		time.Sleep(2 * retryMost)
		if got := ask(g, "/a", key.token(t)); got != problem.OK {
			t.Errorf("after control came back: %v", got)
		}
	})
}

func TestKeyRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k1, k2, stranger := newTestKey(t, "k1"), newTestKey(t, "k2"), newTestKey(t, "k3")
		c := &fakeControl{slice: testSlice(t, "/a"), keys: jwks(t, k1)}
		g := newTestGuard(t, t.Context(), c)
		if err := g.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := ask(g, "/a", k1.token(t)); got != problem.OK {
			t.Fatalf("first key: %v", got)
		}
		c.set(func(c *fakeControl) { c.keys, c.fetches = jwks(t, k1, k2), 0 })
		var wg sync.WaitGroup
		for range 20 { // all wait for the one refresh that the first of them causes
			wg.Go(func() {
				if got := ask(g, "/a", k2.token(t)); got != problem.OK {
					t.Errorf("unknown key that control has: %v", got)
				}
			})
		}
		wg.Wait()
		for range 100 {
			if got := ask(g, "/a", stranger.token(t)); got != problem.InsideTokenInvalid {
				t.Errorf("unknown key that control lacks: %v", got)
			}
		}
		if n := c.count(); n != 1 {
			t.Errorf("%d refreshes for one rotation and 100 strangers, want 1", n)
		}
		time.Sleep(askEvery)
		ask(g, "/a", stranger.token(t))
		if n := c.count(); n != 2 {
			t.Errorf("%d refreshes, want a second one after %s", n, askEvery)
		}

		old := k1.token(t)
		if got := ask(g, "/a", old); got != problem.OK {
			t.Errorf("key that is still published: %v", got)
		}
		c.set(func(c *fakeControl) { c.keys = jwks(t, k2) })
		time.Sleep(2 * refreshEvery)
		if got := ask(g, "/a", old); got != problem.InsideTokenInvalid {
			t.Errorf("remembered token of a key that was withdrawn: %v", got)
		}
	})
}

func TestMapChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := newTestKey(t, "k1")
		c := &fakeControl{slice: testSlice(t, "/a"), keys: jwks(t, key)}
		g := newTestGuard(t, t.Context(), c)
		if err := g.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		// What is wrong is not taken up: the old map holds until it is stale.
		good := testSlice(t, "/a")
		for name, bad := range map[string][]byte{
			"no JSON":         []byte("{"),
			"other version":   bytes.Replace(good, []byte(`"version":1`), []byte(`"version":2`), 1),
			"other service":   bytes.Replace(good, []byte(`"orders"`), []byte(`"accounts"`), 1),
			"path of nothing": bytes.Replace(good, []byte(`"/a"`), []byte(`"a"`), 1),
			"too large":       append(bytes.Clone(good), bytes.Repeat([]byte(" "), maxSlice)...),
		} {
			c.set(func(c *fakeControl) { c.slice = bad })
			time.Sleep(2 * refreshEvery)
			if got := ask(g, "/a", key.token(t)); got != problem.OK {
				t.Errorf("%s: %v, want the old map", name, got)
			}
			if got := g.book.Load().heard; time.Since(got) < refreshEvery {
				t.Errorf("%s: counts as heard at %s", name, got)
			}
			c.set(func(c *fakeControl) { c.slice = good })
			time.Sleep(2 * refreshEvery)
		}
		c.set(func(c *fakeControl) { c.slice = testSlice(t, "/b") })
		time.Sleep(2 * refreshEvery)
		if a, b := ask(g, "/a", key.token(t)), ask(g, "/b", key.token(t)); a != problem.InsideRoute || b != problem.OK {
			t.Errorf("after the change: /a %v, /b %v", a, b)
		}
		other := bytes.ReplaceAll(testSlice(t, "/b"), []byte("shop.example"), []byte("else.example"))
		c.set(func(c *fakeControl) { c.slice = other })
		time.Sleep(2 * refreshEvery)
		if got := ask(g, "/b", key.token(t)); got != problem.InsideTokenInvalid {
			t.Errorf("token of the zone's old name: %v", got)
		}
	})
}

func TestEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		g := newTestGuard(t, ctx, &fakeControl{down: true})
		synctest.Wait()
		cancel()
		if err := g.Wait(t.Context()); err == nil || !strings.Contains(err.Error(), "ended") {
			t.Errorf("Wait of an ended guard = %v", err)
		}
		// synctest.Test fails when the guard's goroutine goes on.
	})
}

func TestAsks(t *testing.T) {
	closed := func(c <-chan struct{}) bool {
		select {
		case <-c:
			return true
		default:
			return false
		}
	}
	a := asks{wake: make(chan struct{}, 1)}
	now := time.Unix(1e9, 0)
	first := a.ask(now)
	if first == nil || len(a.wake) != 1 {
		t.Fatal("the first ask wakes nobody")
	}
	if again := a.ask(now.Add(time.Millisecond)); again != first {
		t.Error("a second ask does not join the first")
	}
	done := a.begin()
	if during := a.ask(now.Add(time.Second)); during != first {
		t.Error("an ask during the refresh does not join it")
	}
	a.end(done)
	if !closed(first) {
		t.Error("who asked is not told of the end")
	}
	if soon := a.ask(now.Add(askEvery - 1)); soon != nil {
		t.Error("an ask too soon after the last wakes again")
	}
	if later := a.ask(now.Add(askEvery)); later == nil || closed(later) {
		t.Error("an ask later on wakes nobody")
	}
	a.end(a.begin())
	a.end(a.begin()) // one that nobody asked for
}

func TestPause(t *testing.T) {
	for _, tt := range []struct {
		failures  int
		min, most time.Duration
	}{
		{0, 8 * time.Second, 12 * time.Second},
		{1, 80 * time.Millisecond, 120 * time.Millisecond},
		{3, 320 * time.Millisecond, 480 * time.Millisecond},
		{7, 4 * time.Second, 6 * time.Second},
		{1 << 40, 4 * time.Second, 6 * time.Second},
	} {
		for range 50 {
			if got := pause(tt.failures); got < tt.min || got > tt.most {
				t.Errorf("pause(%d) = %s, want %s to %s", tt.failures, got, tt.min, tt.most)
			}
		}
	}
}
