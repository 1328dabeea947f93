package e2e

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestInnerDoorImpostorService: neither the gateway nor a sidecar gives a request to
// whoever listens where the map says, when it cannot prove to be the service.
func TestInnerDoorImpostorService(t *testing.T) {
	t.Parallel()
	n := newInner(t, innerMap)
	foreign := newForeignCA(t)
	var heard atomic.Int64
	impostor := func(certificate func() tls.Certificate) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		cfg := &tls.Config{ClientAuth: tls.RequestClientCert, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { c := certificate(); return &c, nil }}
		srv := &httptest.Server{Listener: tls.NewListener(l, cfg), Config: &http.Server{ReadHeaderTimeout: patience, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			heard.Add(1)
			_, _ = io.WriteString(w, "trust me")
		})}}
		srv.Start()
		t.Cleanup(srv.Close)
		return l.Addr().String()
	}
	other := func() tls.Certificate { return n.issue("aside", time.Hour).Certificate }
	n.given["ledgerdoor"] = impostor(func() tls.Certificate { return foreign.leaf("ledger") })
	n.given["asidedoor"] = impostor(other)
	n.settle()
	n.start()
	n.doors["front"] = n.sidecar("front")
	// aside is what it says: its impostor has aside's true certificate, and is let in.
	if got := n.do(call{path: "/aside"}); got.Status != 200 || got.Body != "trust me" || heard.Load() != 1 {
		t.Errorf("positive control: who has the certificate is the service: %d %s", got.Status, got.Body)
	}
	session := n.login(n.addUser("alice@shop.example"))
	got := n.do(call{path: "/entries/1", bearer: session})
	if got.Status != 502 || !strings.HasPrefix(got.reason(), "upstream.") && got.reason() != "inside.peer" {
		t.Errorf("a foreign certificate of ledger: %d %s, want 502", got.Status, got.Body)
	}
	if rs := n.of(got.ID); len(rs) != 1 || rs[0].Reason != got.reason() {
		t.Errorf("the records are %+v, want one of %s", rs, got.reason())
	}
	if got := n.doors["front"].call(outCall{to: "ledger", method: "POST", target: "/postings", body: "1"}); got.passed() || got.Status != 502 && got.Reason != "inside.peer" {
		t.Errorf("front's call to a foreign certificate of ledger: %s %s", got, got.Body)
	}
	if heard.Load() != 1 {
		t.Errorf("the impostors heard %d requests, want the one of aside", heard.Load())
	}
}
