package gateway

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

func localDoor(t *testing.T, edit func(*Local), handler http.HandlerFunc) *door {
	t.Helper()
	l := Local{Listener: "public", Service: "identity", Method: "POST", Path: "/auth/{what}", Allow: zone.AllowAnonymous | zone.AllowUser, Handler: handler}
	if edit != nil {
		edit(&l)
	}
	return openDoor(t, nil, func(c *Config) { c.Locals = []Local{l} })
}

// TestLocalRequest: what a built-in handler sees is what was judged, and nobody
// outside can say who it is.
func TestLocalRequest(t *testing.T) {
	d := localDoor(t, nil, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		o := obs.RequestFrom(r.Context())
		w.Header().Set("X-Mine", "kept")
		w.Header().Set("X-User-Id", "leaks")
		w.WriteHeader(http.StatusCreated)
		_, _ = fmt.Fprintf(w, "%s %s %s %v %s %s|%s|%s|%s", r.PathValue("what"), r.URL.RawQuery, body, err,
			policy.PrincipalFrom(r.Context()).Subject, o.Client, r.Header.Get("X-User-Id"), r.Header.Get("Authorization"), r.Header.Get("Accept"))
		if o.CorrelationID == "" || o.Listener != "public" {
			t.Errorf("context has %+v", o)
		}
	})
	for _, http2 := range []bool{false, true} {
		got := d.do(d.client(http2), "POST", "/auth/caf%C3%A9?x=y", "body", "Authorization: Bearer "+aliceToken, "X-User-Id: root", "X-Forwarded-For: 1.1.1.1", "Accept: text/html")
		if want := "café x=y body <nil> alice 127.0.0.1|||text/html"; got.status != 201 || got.body != want {
			t.Errorf("http2 %v: got %d %q, want 201 %q", http2, got.status, got.body, want)
		}
		if got.header.Get("X-Mine") != "kept" || got.header.Get("X-User-Id") != "" {
			t.Errorf("http2 %v: fields %v", http2, got.header)
		}
		if rec := d.last(); rec.Reason != "ok" || rec.Status != 201 || rec.BytesIn != 4 || rec.Service != "identity" || rec.Route != "POST /auth/{what}" {
			t.Errorf("http2 %v: record %+v", http2, rec)
		}
	}
	if n := d.tokens.count(); n != 0 {
		t.Errorf("%d inside tokens were minted for requests that never leave", n)
	}
}

func TestLocalAnswers(t *testing.T) {
	for _, c := range []struct {
		what    string
		handler http.HandlerFunc
		status  int
		reason  problem.Reason
	}{
		{"nothing said", func(http.ResponseWriter, *http.Request) {}, 200, problem.OK},
		{"no content", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, 204, problem.OK},
		{"a refusal", func(w http.ResponseWriter, _ *http.Request) { problem.Write(w, problem.AuthLogin, "", "") }, 401, problem.AuthLogin},
		{"a reason that is none", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(problem.ReasonHeader, "made.up")
			w.WriteHeader(http.StatusTeapot)
		}, 418, problem.InternalError},
		{"a journal that is not ours", func(w http.ResponseWriter, _ *http.Request) { problem.Write(w, problem.JournalFull, "", "") }, 503, problem.JournalFull},
		{"two heads", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404); w.WriteHeader(200) }, 404, problem.OK},
		{"an answer at the bound", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, localAnswer)) }, 200, problem.OK},
		{"an answer over it", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, localAnswer+1)) }, 500, problem.InternalError},
		{"a panic", func(http.ResponseWriter, *http.Request) { panic("planted") }, 500, problem.InternalError},
	} {
		d := localDoor(t, nil, c.handler)
		got := d.do(d.client(false), "POST", "/auth/x", "")
		if got.status != c.status || d.last().Reason != c.reason.Code() || len(d.journal.all()) != 1 {
			t.Errorf("%s: got %d %.80q, record %+v; want %d, %s", c.what, got.status, got.body, d.last(), c.status, c.reason)
		}
		if got.header.Get(problem.ReasonHeader) != "" {
			t.Errorf("%s: the reason header left the door", c.what)
		}
	}
}

func TestLocalBodyLimit(t *testing.T) {
	d := localDoor(t, func(l *Local) { l.Body = 10 }, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			problem.WriteError(w, err, "")
			return
		}
		_, _ = w.Write(body)
	})
	h := d.client(false)
	if got := d.do(h, "POST", "/auth/x", "0123456789"); got.status != 200 || got.body != "0123456789" {
		t.Errorf("a body of the limit: got %d %q", got.status, got.body)
	}
	d.refused("a byte more", d.do(h, "POST", "/auth/x", "0123456789a"), problem.RequestBodyTooLarge)
	got := d.raw("POST /auth/x HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked("0123456789a"))
	d.refused("a byte more in a chunk", got, problem.RequestBodyTooLarge)
}

func TestLocalIsAuthorized(t *testing.T) {
	d := localDoor(t, func(l *Local) { l.Allow, l.Roles = zone.AllowUser, []string{"admin"} }, func(http.ResponseWriter, *http.Request) {})
	h := d.client(false)
	if got := d.do(h, "POST", "/auth/x", "", "Authorization: Bearer "+rootToken); got.status != 200 {
		t.Errorf("positive control: got %d", got.status)
	}
	d.refused("without the role", d.do(h, "POST", "/auth/x", "", "Authorization: Bearer "+aliceToken), problem.AccessRole)
	got := d.do(h, "POST", "/auth/x", "")
	d.refused("without a credential", got, problem.AuthMissing)
	if c := got.header.Get("WWW-Authenticate"); c != `Bearer realm="shop.example"` || strings.Contains(c, "error") {
		t.Errorf("WWW-Authenticate %q", c)
	}
}
