package guard_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sallyport.dev/guard"
	"sallyport.dev/guard/guardtest"
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// TestOwnCode: an answer leaves only after Owns, whatever the handler does.
func TestOwnCode(t *testing.T) {
	g := newOrders(t)
	own := func(r *http.Request) { guard.Owns(r.Context(), "u1") }
	deny := func(r *http.Request) { guard.Owns(r.Context(), "u2") }
	say := func(w http.ResponseWriter) { _, _ = io.WriteString(w, "secret") }
	big := strings.Repeat("x", 1<<20+1)
	for _, tt := range []struct {
		name    string
		handler func(http.ResponseWriter, *http.Request)
		want    string
		body    string
	}{
		{"owns first", func(w http.ResponseWriter, r *http.Request) { own(r); say(w) }, "200", "secret"},
		{"owns last", func(w http.ResponseWriter, r *http.Request) { say(w); own(r) }, "200", "secret"},
		{"owns in between", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(201); say(w); own(r); say(w) }, "201", "secretsecret"},
		{"owns, says nothing", func(_ http.ResponseWriter, r *http.Request) { own(r) }, "200", ""},
		{"owns, then much", func(w http.ResponseWriter, r *http.Request) { own(r); _, _ = io.WriteString(w, big) }, "200", big},
		{"not found after owns", func(w http.ResponseWriter, r *http.Request) { own(r); http.Error(w, "none", 404) }, "404", "none\n"},
		{"denied", func(w http.ResponseWriter, r *http.Request) { deny(r); say(w) }, "owner.denied", ""},
		{"denied after the answer", func(w http.ResponseWriter, r *http.Request) { say(w); deny(r) }, "owner.denied", ""},
		{"denied, then owned", func(w http.ResponseWriter, r *http.Request) { deny(r); own(r); say(w) }, "owner.denied", ""},
		{"owned, then denied", func(w http.ResponseWriter, r *http.Request) { own(r); deny(r); say(w) }, "owner.denied", ""},
		{"never asked", func(w http.ResponseWriter, _ *http.Request) { say(w) }, "owner.unchecked", ""},
		{"never asked, says nothing", func(http.ResponseWriter, *http.Request) {}, "owner.unchecked", ""},
		{"never asked, not found", func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }, "owner.unchecked", ""},
		{"too much before owns", func(w http.ResponseWriter, r *http.Request) {
			_, err := io.WriteString(w, big)
			own(r)
			if _, again := io.WriteString(w, "x"); err == nil || again == nil {
				t.Error("a write beyond the bound succeeds")
			}
		}, "owner.unchecked", ""},
		{"flush", func(w http.ResponseWriter, r *http.Request) {
			say(w)
			w.(http.Flusher).Flush()
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Errorf("flush of a held answer: %v", err)
			}
			deny(r)
		}, "owner.denied", ""},
		{"read from", func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(w, strings.NewReader("secret"))
			deny(r)
		}, "owner.denied", ""},
		{"unwrap", func(w http.ResponseWriter, r *http.Request) {
			if _, ok := w.(interface{ Unwrap() http.ResponseWriter }); ok {
				t.Error("there is a way round: Unwrap")
			}
			if _, ok := w.(io.ReaderFrom); ok {
				t.Error("there is a way round: ReadFrom")
			}
			if _, ok := w.(http.Pusher); ok {
				t.Error("there is a way round: Push")
			}
			deny(r)
		}, "owner.denied", ""},
		{"hijack", func(w http.ResponseWriter, r *http.Request) {
			if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
				t.Errorf("hijacked %v", conn)
			}
			deny(r)
		}, "owner.denied", ""},
		{"early hints", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", "</secret>")
			w.WriteHeader(http.StatusEarlyHints)
			deny(r)
		}, "owner.denied", ""},
	} {
		h := g.Protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Secret", "1")
			tt.handler(w, r)
		}))
		for _, op := range []string{"GET /code/1", "POST /code"} {
			method, target, _ := strings.Cut(op, " ")
			got, w := send(h, g.Request(method, target, g.Token("u1")))
			if got != tt.want {
				t.Errorf("%s %s = %s, want %s", tt.name, op, got, tt.want)
			}
			if refused := w.Header().Get(problem.ReasonHeader) != ""; refused {
				if strings.Contains(w.Body.String(), "secret") || w.Header().Get("X-Secret") != "" || w.Header().Get("Link") != "" || w.Flushed {
					t.Errorf("%s %s leaks: %v %s", tt.name, op, w.Header(), w.Body)
				}
			} else if w.Body.String() != tt.body || w.Header().Get("X-Secret") != "1" {
				t.Errorf("%s %s: %d bytes %v, want %d", tt.name, op, w.Body.Len(), w.Header(), len(tt.body))
			}
		}
	}
}

// TestOwnCodePanics: over a real connection nothing leaves with a panic, and an
// answer that is denied when half of it is out is cut.
func TestOwnCodePanics(t *testing.T) {
	g := newOrders(t)
	for _, tt := range []struct {
		name    string
		handler func(http.ResponseWriter, *http.Request)
		want    string // of the body; the connection breaks either way
	}{
		{"before owns", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "secret")
			panic(http.ErrAbortHandler)
		}, ""},
		{"after denied", func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "secret")
			guard.Owns(r.Context(), "u2")
			panic(http.ErrAbortHandler)
		}, ""},
		{"denied half way", func(w http.ResponseWriter, r *http.Request) {
			guard.Owns(r.Context(), "u1")
			_, _ = io.WriteString(w, "mine")
			w.(http.Flusher).Flush()
			guard.Owns(r.Context(), "u2")
			if _, err := io.WriteString(w, "secret"); err == nil {
				t.Error("a write after a denial succeeds")
			}
		}, "mine"},
	} {
		srv := httptest.NewServer(g.Assume(g.Protect(http.HandlerFunc(tt.handler))))
		r, err := http.NewRequestWithContext(t.Context(), "GET", srv.URL+"/code/1", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Txn-Token", g.Token("u1"))
		res, err := srv.Client().Do(r)
		if err == nil {
			b, readErr := io.ReadAll(res.Body)
			res.Body.Close()
			if string(b) != tt.want || !errors.Is(readErr, io.ErrUnexpectedEOF) {
				t.Errorf("%s: answer %d %q, %v; want %q and a broken connection", tt.name, res.StatusCode, b, readErr, tt.want)
			}
		} else if tt.want != "" {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
		srv.Close()
	}
}

// TestOwnCodeHijack: the connection is handed out after Owns, never before, and
// on WebSocket routes only.
func TestOwnCodeHijack(t *testing.T) {
	z, err := zone.Parse("zone.yaml", []byte(shop))
	if err != nil {
		t.Fatal(err)
	}
	slice, _ := z.Slice("orders")
	for i := range slice.Routes {
		if slice.Routes[i].Path == "/code/{id}" {
			slice.Routes[i].Stream = "websocket"
		}
	}
	streams, plain := guardtest.FromSlice(t, slice), newOrders(t)
	for _, tt := range []struct {
		name, owner string
		g           *guardtest.Guard
		want        bool
	}{
		{"of the principal", "u1", streams, true},
		{"of another", "u2", streams, false},
		{"of the principal, no stream", "u1", plain, false},
	} {
		srv := httptest.NewServer(tt.g.Assume(tt.g.Protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			guard.Owns(r.Context(), tt.owner)
			conn, _, err := http.NewResponseController(w).Hijack()
			if (err == nil) != tt.want {
				t.Errorf("hijack of an object %s: %v", tt.name, err)
			}
			if err == nil {
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nmine")
				_ = conn.Close()
			}
		}))))
		r, err := http.NewRequestWithContext(t.Context(), "GET", srv.URL+"/code/1", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Txn-Token", tt.g.Token("u1"))
		res, err := srv.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if got := body(t, res.Body); (got == "mine") != tt.want {
			t.Errorf("object %s: %d %s", tt.name, res.StatusCode, got)
		}
		res.Body.Close()
		srv.Close()
	}
}
