package gateway

import (
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/svid"
)

// slowBody says what happens while it is on its way.
type slowBody struct {
	io.Reader
	during func()
}

func (b *slowBody) Read(p []byte) (int, error) {
	if b.during != nil {
		b.during()
		b.during = nil
	}
	return b.Reader.Read(p)
}

// TestTokenOutlivesTheUpload: a body is read to its end before anything is sent,
// which may take longer than an inside token lives. The inner door gets one that
// is in its lifetime, and a credential that was revoked meanwhile gets none.
func TestTokenOutlivesTheUpload(t *testing.T) {
	for _, path := range []string{"/mac/1", "/signed"} {
		for _, c := range []struct {
			what    string
			takes   time.Duration
			revoked bool
			minted  int
			status  int
		}{
			{"quick", time.Second, false, 1, 200},
			{"quick, and revoked", time.Second, true, 1, 200}, // the request began before
			{"slow", 2 * time.Minute, false, 2, 200},
			{"slow, and revoked", 2 * time.Minute, true, 1, 401},
		} {
			var cl clock
			ca := newTrust(t, "shop.example")
			inner := serveGuarded(t, ca.source("shop"))
			d := &door{t: t}
			cfg := testConfig(d, testZone("", innerRoutes()...))
			unhurried(&cfg)
			throughInnerDoor(t, ca.source(svid.GatewayName), inner.address)(&cfg)
			cfg.Clock = cl.now
			d.tokens.life, d.tokens.now = 3*time.Minute, cl.now
			g, err := New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(g.Close)
			r := httptest.NewRequest("POST", "https://shop.example"+path, &slowBody{strings.NewReader("body"), func() {
				cl.advance(c.takes)
				if c.revoked {
					d.tokens.fail(problem.New(problem.AuthRevoked, nil))
				}
			}})
			r.RequestURI, r.URL.Scheme, r.URL.Host = path, "", ""
			r.TLS.ServerName = "shop.example"
			r.Header.Set("Authorization", "Bearer "+aliceToken)
			w := newTaker()
			g.serve(g.now().listeners[0], w, r)
			if w.status != c.status || len(inner.seen) != c.status/200%2 {
				t.Errorf("%s, %s: answered %d, the inner door saw %q, want %d", path, c.what, w.status, inner.seen, c.status)
			}
			if c.status == 200 && (!strings.HasSuffix(inner.tokens[0], "."+string(rune('0'+c.minted))) || !strings.HasSuffix(inner.seen[0], " 4")) {
				t.Errorf("%s, %s: the inner door saw %q with token %q, want the %d. one", path, c.what, inner.seen, inner.tokens, c.minted)
			}
			if rec := d.last(); rec.Status != c.status || rec.BytesIn != 4 {
				t.Errorf("%s, %s: recorded %+v", path, c.what, rec)
			}
		}
	}
}
