package guard

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/guard/internal/channel"
	"sallyport.dev/guard/internal/standin"
	"sallyport.dev/guard/internal/testca"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/svid"
	"sallyport.dev/internal/token"
	"sallyport.dev/zone"
)

// fakeControl is control in memory: what it answers can change under way.
type fakeControl struct {
	mu      sync.Mutex
	down    bool
	slice   []byte
	keys    []byte
	token   string
	mint    func() string   // makes token anew; nil: token is the answer
	fetches int             // of keys
	polls   int             // of the slice
	tokens  int             // asked for
	used    map[string]bool // keys of /v1/once
	waits   bool            // holds answers about an unchanged slice
	changed chan struct{}   // closed at the next change; nil: nobody waits
}

func (c *fakeControl) set(change func(*fakeControl)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(c)
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
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
	status, body, tag := http.StatusOK, []byte(nil), ""
	switch r.URL.Path {
	case "/.well-known/jwks.json":
		c.fetches++
		body = c.keys
	case "/v1/token":
		c.tokens++
		if body = []byte(c.token); c.mint != nil {
			body = []byte(c.mint())
		}
	case "/v1/once": // asked by the replicas of one service
		asked, _ := io.ReadAll(r.Body)
		if c.used == nil {
			c.used = map[string]bool{}
		}
		body = fmt.Appendf(nil, `{"first":%v}`, !c.used[string(asked)])
		c.used[string(asked)] = true
	default:
		c.polls++
		if tag = c.tag(); tag == r.Header.Get("If-None-Match") {
			c.wait(r)
			if tag = c.tag(); tag == r.Header.Get("If-None-Match") {
				status = http.StatusNotModified
			}
		}
		body = c.slice
	}
	if err := r.Context().Err(); err != nil {
		return nil, context.Cause(r.Context())
	}
	return &http.Response{StatusCode: status, Header: http.Header{"Etag": {tag}}, Body: io.NopCloser(bytes.NewReader(body)), Request: r}, nil
}

// tag is the entity tag of the slice; the caller holds mu.
func (c *fakeControl) tag() string {
	sum := sha256.Sum256(c.slice)
	return `"` + hex.EncodeToString(sum[:8]) + `"`
}

// wait holds an answer as RFC 7240 section 4.3 has it; the caller holds mu.
func (c *fakeControl) wait(r *http.Request) {
	seconds, err := strconv.Atoi(strings.TrimPrefix(r.Header.Get("Prefer"), "wait="))
	if err != nil || !c.waits {
		return
	}
	if c.changed == nil {
		c.changed = make(chan struct{})
	}
	changed := c.changed
	c.mu.Unlock()
	defer c.mu.Lock()
	select {
	case <-changed:
	case <-time.After(time.Duration(seconds) * time.Second):
	case <-r.Context().Done():
	}
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
	return newGuardWith(t, ctx, Config{}, c)
}

// newGuardWith returns a guard of orders with an identity and a control of the test's.
func newGuardWith(t testing.TB, ctx context.Context, cfg Config, c http.RoundTripper) *Guard { //nolint:revive // t first, as everywhere in tests
	t.Helper()
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.Service, cfg.Control = "orders", "https://control.invalid"
	source := testca.New(t, "shop.example", cfg.Clock()).Source(t, "orders", cfg.Clock)
	g, err := New(standin.With(ctx, standin.Parts{Source: source, Control: c}), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// come makes a request one that came from a workload of the zone.
func come(t testing.TB, r *http.Request, name string) *http.Request {
	t.Helper()
	id, err := svid.ServiceID("shop.example", name)
	if err != nil {
		t.Fatal(err)
	}
	return r.WithContext(channel.Assume(r.Context(), id))
}

// ask sends GET path and returns the reason, or ok.
func ask(t testing.TB, g *Guard, path, tok string) problem.Reason {
	t.Helper()
	r := come(t, httptest.NewRequest(http.MethodGet, path, http.NoBody), "gateway")
	r.Header.Set(headerToken, tok)
	w := httptest.NewRecorder()
	g.Protect(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(w, r)
	if code := w.Header().Get(problem.ReasonHeader); code != "" {
		reason, _ := problem.Parse(code)
		return reason
	}
	return problem.OK
}
