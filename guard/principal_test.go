package guard

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/token"
	"sallyport.dev/zone"
)

// TestUnknownMethodOfAuthentication: a principal of a kind that this version
// does not know is taken nowhere, not even from a declared caller.
func TestUnknownMethodOfAuthentication(t *testing.T) {
	slice, err := json.Marshal(zone.Slice{
		Version: zone.SliceVersion, Zone: "shop.example", Issuer: "https://shop.example", Service: "orders", Calls: []zone.SliceCall{},
		Routes: []zone.SliceRoute{
			{Listener: "public", Method: "GET", Path: "/mine", Allow: []string{"user"}},
			{Listener: "public", Method: "GET", Path: "/open", Allow: []string{"anonymous"}},
			{Listener: "public", Method: "GET", Path: "/inner", Allow: []string{"service"}, Callers: []string{"catalog"}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	key := newTestKey(t, "k1")
	g := newTestGuard(t, t.Context(), &fakeControl{slice: slice, keys: jwks(t, key)})
	if err := g.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	minter, err := token.NewMinter(token.Config{Zone: "shop.example", Issuer: "https://shop.example", Workload: "spiffe://shop.example/gateway", Signers: key})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		method, caller, path string
		want                 problem.Reason
	}{
		{"session", "", "/mine", problem.OK},
		{"telepathy", "", "/mine", problem.AccessKind},
		{"session", "", "/open", problem.OK},
		{"telepathy", "", "/open", problem.AccessKind},
		{"session", "catalog", "/inner", problem.OK},
		{"telepathy", "catalog", "/inner", problem.AccessKind},
		{"", "catalog", "/inner", problem.AccessKind},
	} {
		tok, err := minter.Mint(t.Context(), token.Subject{Subject: "u1", Listener: "public", Method: tt.method})
		if err != nil {
			t.Fatal(err)
		}
		from := "gateway"
		if tt.caller != "" {
			from = tt.caller
		}
		r := come(t, httptest.NewRequest(http.MethodGet, tt.path, http.NoBody), from)
		r.Header.Set(headerToken, tok.Value)
		w := httptest.NewRecorder()
		g.Protect(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(w, r)
		got := problem.OK
		if code := w.Header().Get(problem.ReasonHeader); code != "" {
			got, _ = problem.Parse(code)
		}
		if got != tt.want {
			t.Errorf("%q, called by %q: GET %s = %v, want %v", tt.method, tt.caller, tt.path, got, tt.want)
		}
	}
}

// TestRefusalsAreLoggedShort: what a stranger sends does not fill the log.
func TestRefusalsAreLoggedShort(t *testing.T) {
	key := newTestKey(t, "k1")
	var log bytes.Buffer
	g := newGuardWith(t, t.Context(), Config{Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelInfo}))},
		&fakeControl{slice: testSlice(t, "/a"), keys: jwks(t, key)})
	if err := g.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("A", 1<<20)
	for _, change := range []func(*http.Request){
		func(r *http.Request) { r.Method = long },
		func(r *http.Request) { r.Header["Content-Digest"] = []string{long, long} },
		func(r *http.Request) { r.Header.Set(headerToken, long) },
		func(r *http.Request) { r.URL.Path = "/" + long },
		func(r *http.Request) { r.Header.Set(headerCorrelation, long); r.Header.Del(headerToken) },
	} {
		r := come(t, httptest.NewRequest(http.MethodGet, "/a", http.NoBody), "gateway")
		r.Header.Set(headerToken, key.token(t))
		change(r)
		before := log.Len()
		g.Protect(http.NotFoundHandler()).ServeHTTP(httptest.NewRecorder(), r)
		if n := log.Len() - before; n == 0 || n > 1<<10 {
			t.Errorf("a refusal takes %d bytes of the log, want some, and at most %d", n, 1<<10)
		}
	}
}
