package guard

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// FuzzSlice: whatever control sends as the map is refused or can be judged by; a
// request without a token passes in no case but the health question.
func FuzzSlice(f *testing.F) {
	z, err := zone.Parse("zone.yaml", []byte(pipeShop))
	if err != nil {
		f.Fatal(err)
	}
	w := &world{t: f}
	f.Add(w.slice(z, "orders"), "/mac")
	f.Add(w.slice(z, "orders"), "/healthz")
	f.Add(testSlice(f, "/{a}/{b...}"), "/x/y")
	f.Add([]byte(`{"version":1,"zone":"shop.example","service":"orders","staleness":-1,"routes":[{"method":"GET","path":"/{","owner":{}}],"calls":[{}]}`), "/")
	ctx, cancel := context.WithCancel(context.Background())
	f.Cleanup(cancel)
	g := newGuardWith(f, ctx, Config{Log: slog.New(slog.DiscardHandler)}, &fakeControl{down: true})
	h := g.Protect(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	f.Fuzz(func(t *testing.T, body []byte, path string) {
		b, err := g.newBook(&book{}, answer{body: body}, time.Now())
		if err != nil {
			return
		}
		if b.slice.Zone != "shop.example" || b.slice.Service != "orders" || b.staleness <= 0 {
			t.Fatalf("in force: zone %q, service %q, staleness %s", b.slice.Zone, b.slice.Service, b.staleness)
		}
		g.book.Store(b)
		b.rights()
		r := come(t, httptest.NewRequest(http.MethodGet, "/", http.NoBody), "gateway")
		r.URL.Path = path
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		if rec.Header().Get(problem.ReasonHeader) == "" && (b.slice.Health == "" || r.URL.EscapedPath() != b.slice.Health) {
			t.Fatalf("GET %q without a token = %d", path, rec.Code)
		}
	})
}
