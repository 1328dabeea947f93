package e2e

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"sallyport.dev/internal/httpsig"
	"sallyport.dev/internal/svid"
)

// TestInnerDoorHTTP2: what holds on HTTP/1.1 holds for callers that speak HTTP/2.
func TestInnerDoorHTTP2(t *testing.T) {
	t.Parallel()
	n := startInner(t, "ledger")
	alice := n.addUser("alice@shop.example")
	token, front := n.inside(n.login(alice)), n.member("front")
	id, err := svid.ServiceID("shop.example", "ledger")
	if err != nil {
		t.Fatal(err)
	}
	cfg := svid.ClientTLS(front.source, id)
	cfg.NextProtos = []string{"h2"}
	w := &wire{t: t, to: "ledger"}
	var tr *http.Transport
	send := func(c *crafted) innerAnswer {
		req, err := http.NewRequestWithContext(t.Context(), c.Method, "https://ledger"+c.Target, strings.NewReader(c.Body))
		if err != nil {
			t.Fatal(err)
		}
		req.Host, req.Header = c.Host, c.Header
		res, err := tr.RoundTrip(req)
		if err != nil {
			return innerAnswer{Err: err}
		}
		defer res.Body.Close()
		if res.ProtoMajor != 2 {
			t.Errorf("the answer is %s", res.Proto)
		}
		return innerAnswer{Status: res.StatusCode, Reason: res.Header.Get("Sallyport-Reason"), Body: readAll(res)}
	}
	enter := func() error {
		conn, err := tls.Dial("tcp", n.door("ledger"), cfg)
		if err != nil {
			return err
		}
		t.Cleanup(func() { _ = conn.Close() })
		state := conn.ConnectionState()
		key, err := httpsig.MACKey(&state)
		if err != nil {
			t.Fatal(err)
		}
		if w.mac, err = httpsig.NewMACSigner(key); err != nil {
			t.Fatal(err)
		}
		dialled := false
		tr = &http.Transport{ForceAttemptHTTP2: true, DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
			if dialled {
				return nil, io.ErrUnexpectedEOF // each request has to go over the one connection
			}
			dialled = true
			return conn, nil
		}}
		return send(&crafted{Method: "GET", Target: "/", Host: "ledger", Header: http.Header{}}).Err
	}
	until(t, "the door takes a connection", func() bool { // it hangs up on who keeps it waiting
		if tr != nil {
			tr.CloseIdleConnections()
		}
		return enter() == nil
	})
	defer func() { tr.CloseIdleConnections() }()
	good := w.craft(httpsig.MAC, "POST", "/entries", token(), "1")
	send(good).mustPass(t, "a declared call")
	send(good).wants(t, "the same again", "proof.replayed")
	// Many at once, and of each pair of twins one.
	var work sync.WaitGroup
	var mu sync.Mutex
	outcomes := map[string]int{}
	for range 20 {
		c := w.craft(httpsig.MAC, "POST", "/entries", token(), "1")
		for range 2 {
			work.Go(func() {
				got := send(c)
				mu.Lock()
				defer mu.Unlock()
				outcomes[got.String()]++
			})
		}
	}
	work.Wait()
	if len(outcomes) != 2 || outcomes["200"] != 20 || outcomes["400 proof.replayed"] != 20 {
		t.Errorf("20 pairs of twins at once: %v, want 20 of each", outcomes)
	}
	for what, s := range map[string]struct {
		reason string
		change func(c *crafted)
	}{
		"target": {"proof.invalid", func(c *crafted) { c.Target += "?x" }}, "authority": {"proof.invalid", func(c *crafted) { c.Host = "ledges" }},
		"body": {"proof.digest", func(c *crafted) { c.Body = "2" }}, "client": {"proof.invalid", func(c *crafted) { c.Header.Set("Sallyport-Client", "-") }},
		"two tokens": {"inside.token_invalid", func(c *crafted) { with(c, "Txn-Token", token()) }}, "two ids": {"proof.invalid", func(c *crafted) { with(c, "X-Correlation-Id", newID()) }},
		"no proof": {"proof.missing", func(c *crafted) { strip(c, "Signature", "Signature-Input") }},
	} {
		c := w.craft(httpsig.MAC, "POST", "/entries", token(), "1")
		s.change(c)
		send(c).wants(t, what, s.reason)
	}
	send(w.craft(httpsig.MAC, "GET", "/unshared", token(), "")).wants(t, "an undeclared call", "inside.call")
	send(w.craft(httpsig.MAC, "POST", "/entries", token(), "1")).mustPass(t, "the connection after all this")
	if all := n.programs["ledger"].all(); len(all) != 22 {
		t.Errorf("the service was asked %d times, want 22 by the positive controls", len(all))
	}
}
