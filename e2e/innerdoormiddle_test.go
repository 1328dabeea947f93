package e2e

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/internal/httpsig"
	"sallyport.dev/internal/svid"
)

// middle ends TLS between the gateway and a service, with true certificates of
// both: the worst box there can be. It changes requests as it is told.
type middle struct {
	address string
	mu      sync.Mutex
	change  func(r *http.Request, body []byte) []byte // guarded by mu; nil: none
}

// startMiddle stands before a service's door until the test ends.
func startMiddle(t testing.TB, z *zoned, service, door string) *middle {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &middle{address: l.Addr().String()}
	ids := sync.OnceValues(func() (here, there *svid.Identity) {
		return z.issue(service, time.Hour), z.issue("gateway", time.Hour)
	})
	var serving sync.WaitGroup
	conns := map[net.Conn]bool{} // of serving, closed at the end
	serving.Go(func() {
		for {
			raw, err := l.Accept()
			if err != nil {
				return
			}
			m.mu.Lock()
			conns[raw] = true
			m.mu.Unlock()
			serving.Go(func() {
				defer raw.Close()
				here, there := ids()
				in := tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{here.Certificate}, ClientAuth: tls.RequireAnyClientCert, NextProtos: []string{"http/1.1"}})
				cfg := always(there.Certificate)
				cfg.InsecureSkipVerify, cfg.NextProtos = true, []string{"http/1.1"}
				if in.Handshake() != nil {
					return
				}
				out, err := tls.Dial("tcp", door, cfg)
				if err != nil {
					return
				}
				defer out.Close()
				m.relay(in, out)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		m.mu.Lock()
		for c := range conns {
			_ = c.Close()
		}
		m.mu.Unlock()
		serving.Wait()
	})
	return m
}

// relay passes the requests of a connection on, one by one.
func (m *middle) relay(in, out net.Conn) {
	from, back := bufio.NewReader(in), bufio.NewReader(out)
	for {
		r, err := http.ReadRequest(from)
		if err != nil {
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		m.mu.Lock()
		change := m.change
		m.mu.Unlock()
		if change != nil {
			body = change(r, body)
		}
		r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
		if r.URL.Host = ""; r.Write(out) != nil {
			return
		}
		res, err := http.ReadResponse(back, r)
		if err != nil || res.Write(in) != nil {
			return
		}
	}
}

// changes sets what happens to requests from now on.
func (m *middle) changes(change func(r *http.Request, body []byte) []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.change = change
}

// TestInnerDoorMiddleBox: of what the gateway proves, nothing can be changed on the
// way, not even by who has the certificates of both ends; a mac does not even pass
// a box that ends TLS (GW-10).
func TestInnerDoorMiddleBox(t *testing.T) {
	t.Parallel()
	exactly(t, middleBox) // a signature is taken by Valkey's leave
}

func middleBox(t *attempt) {
	n := newInner(t, strings.Replace(innerMap, "POST /transfers: {allow: user", "PUT /transfers: {allow: user, proof: signature}\n      POST /transfers: {allow: user", 1))
	door := freeAddress(t)
	box := startMiddle(t, n.zoned, "ledger", door)
	n.given["ledgerdoor"] = box.address
	n.settle()
	n.start()
	n.write("behind.yaml", strings.ReplaceAll(n.zoneText(), box.address, door))
	n.launchSidecar("behind.yaml", "ledger", "ledger-door", "--join-file", n.write("ledger.join", n.must("join", "ledger"))).waitReady()
	session := n.login(n.addUser("alice@shop.example"))
	bobs := n.inside(n.login(n.addUser("bob@shop.example")))
	transfer := call{method: "POST", path: "/transfers?to=1", bearer: session, body: "100"}
	until(t, "the gateway finds ledger", func() bool { return n.do(transfer).Status == 200 })
	asked := len(n.programs["ledger"].all())

	current := "" // bob's token; the box itself cannot ask for it
	refused := func(what string, c call, reason string) {
		t.Helper()
		got := n.do(c)
		if got.Status/100 == 2 || len(n.programs["ledger"].of(got.ID)) != 0 {
			t.Errorf("%s: %d %s, and the service was asked %d times", what, got.Status, got.Body, len(n.programs["ledger"].of(got.ID)))
		}
		if rs := n.of(got.ID); len(rs) != 1 || rs[0].Reason != reason {
			t.Errorf("%s: the records are %+v, want one of %s", what, rs, reason)
		}
	}
	refused("a mac that passes a box", call{path: "/entries/1", bearer: session}, "proof.invalid")
	set := func(name string, value func(string) string) func(*http.Request, []byte) []byte {
		return func(r *http.Request, body []byte) []byte {
			r.Header.Set(name, value(r.Header.Get(name)))
			return body
		}
	}
	for _, s := range []struct {
		part, reason string
		change       func(r *http.Request, body []byte) []byte
	}{
		{"method", "proof.invalid", func(r *http.Request, body []byte) []byte { r.Method = "PUT"; return body }},
		{"query", "proof.invalid", func(r *http.Request, body []byte) []byte { r.URL.RawQuery = "to=2"; return body }},
		{"authority", "proof.invalid", func(r *http.Request, body []byte) []byte { r.Host = "evil.example"; return body }},
		{"token", "inside.token_invalid", set("Txn-Token", func(s string) string { return flippedToken(t, s, 1) })},
		{"token of another user", "proof.invalid", set("Txn-Token", func(string) string { return current })},
		{"client", "proof.invalid", set("Sallyport-Client", func(string) string { return "192.0.2.1;listener=public" })},
		{"listener of the client", "proof.invalid", set("Sallyport-Client", func(s string) string { return s + "x" })},
		{"digest", "proof.invalid", set("Content-Digest", func(string) string { return httpsig.Digest([]byte("999")) })},
		{"body", "proof.digest", func(*http.Request, []byte) []byte { return []byte("999") }},
		{"a longer body", "proof.digest", func(_ *http.Request, body []byte) []byte { return append(body, '0') }},
		{"signature", "proof.invalid", set("Signature", func(s string) string { return flipped(s, len(s)/2) })},
		{"no proof", "proof.missing", func(r *http.Request, body []byte) []byte {
			r.Header.Del("Signature")
			r.Header.Del("Signature-Input")
			return body
		}},
	} {
		current = bobs()
		box.changes(s.change)
		refused(s.part, transfer, s.reason)
	}
	box.changes(set("X-Correlation-Id", func(string) string { return newID() }))
	before := len(n.programs["ledger"].all())
	if got := n.do(transfer); got.Status/100 == 2 || len(n.programs["ledger"].all()) != before {
		t.Errorf("correlation id: %d %s, want it refused", got.Status, got.Body)
	}
	box.changes(nil)
	if got := n.do(transfer); got.Status != 200 {
		t.Errorf("positive control: a signed request that the box leaves alone: %d %s", got.Status, got.Body)
	}
	if now := len(n.programs["ledger"].all()); now != asked+1 {
		t.Errorf("the service was asked %d times, want once", now-asked)
	}
}
