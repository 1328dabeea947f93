package gateway

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"sallyport.dev/internal/journal"
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// A built-in route answers through reply.
func localRoute(handle http.HandlerFunc) func(*Config) {
	return func(c *Config) {
		c.Locals = []Local{{Listener: "public", Service: "identity", Method: "GET", Path: "/auth/me", Allow: zone.AllowAnonymous, Handler: handle}}
	}
}

func TestReply(t *testing.T) {
	d := openDoor(t, nil, localRoute(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h["Set-Cookie"] = []string{"__Host-session=sps_new; Path=/; Secure; HttpOnly"}
		h.Set("Content-Type", "application/json")
		h.Set("Sallyport-Reason", "ok")
		h.Set("Txn-Token", "leak")
		h.Set("Server", "leak")
		h.Set("Content-Length", "99")
		_, _ = w.Write([]byte(`{"id":"1"}`))
	}))
	for _, method := range []string{"GET", "HEAD"} {
		got := d.do(d.client(true), method, "/auth/me", "")
		body := map[string]string{"GET": `{"id":"1"}`, "HEAD": ""}[method]
		if got.status != 200 || got.body != body || got.header.Get("Content-Length") != "10" || got.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: got %d %q %v", method, got.status, got.body, got.header)
		}
		if !strings.HasPrefix(got.header.Get("Set-Cookie"), "__Host-session=") {
			t.Errorf("%s: a built-in route cannot set the session", method)
		}
		for _, name := range []string{"Sallyport-Reason", "Txn-Token", "Server"} {
			if got.header.Get(name) != "" {
				t.Errorf("%s: %s left", method, name)
			}
		}
		if r := d.last(); r.BytesOut != int64(len(body)) || r.Status != 200 {
			t.Errorf("%s: record %+v", method, r)
		}
	}
}

func TestRefuse(t *testing.T) {
	d := openDoor(t, []*zone.Route{anything("GET")})
	got := d.do(d.client(false), "POST", "/things", "")
	d.refused("wrong method", got, problem.RouteMethod)
	var doc problem.Document
	if err := json.Unmarshal([]byte(got.body), &doc); err != nil {
		t.Fatalf("%q: %v", got.body, err)
	}
	want := problem.Document{
		Type: "urn:sallyport:reason:route.method", Title: problem.RouteMethod.Title(), Status: 405,
		CorrelationID: got.header.Get("X-Correlation-Id"),
	}
	if doc != want || len(doc.CorrelationID) != 36 {
		t.Errorf("document %+v, want %+v", doc, want)
	}
	for name, want := range map[string]string{
		"Content-Type": problem.ContentType, "Cache-Control": "no-store", "Allow": "GET, HEAD",
		"X-Content-Type-Options": "nosniff", "Strict-Transport-Security": "max-age=31536000", "Sallyport-Reason": "",
	} {
		if got.header.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, got.header.Get(name), want)
		}
	}
}

// An answer that cannot be recorded is not given, whoever made it.
func TestReplyIsNotRecorded(t *testing.T) {
	for _, target := range []string{"/auth/me", "/none"} {
		d := openDoor(t, nil, localRoute(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Set-Cookie", "__Host-session=sps_new")
			_, _ = w.Write([]byte("secret"))
		}), func(c *Config) {
			c.Journal = &watchedJournal{c.Journal.(*fakeJournal), func(*journal.Record) error { return errTest }}
		})
		got := d.do(d.client(true), "GET", target, "")
		if got.status != 503 || !strings.Contains(got.body, "journal.unavailable") || got.header.Get("Set-Cookie") != "" || strings.Contains(got.body, "secret") {
			t.Errorf("%s: got %d %q %v", target, got.status, got.body, got.header)
		}
	}
}
