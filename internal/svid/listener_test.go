package svid

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"
)

// muted is the connection of a client that goes silent when it has shown its
// certificate: of the encrypted records only the first goes out.
type muted struct {
	net.Conn
	encrypted int
}

func (h *muted) Write(p []byte) (int, error) {
	for rest := p; len(rest) >= 5; {
		n := min(5+int(rest[3])<<8+int(rest[4]), len(rest))
		if rest[0] == 23 { // application_data, as all encrypted records say (RFC 8446 section 5.2)
			if h.encrypted++; h.encrypted > 1 {
				break
			}
		}
		if _, err := h.Conn.Write(rest[:n]); err != nil {
			return 0, err
		}
		rest = rest[n:]
	}
	return len(p), nil
}

// TestSeenCertificateTakesNoPlace: who shows a certificate and does not prove its
// key is nobody, and stands in the way of nobody.
func TestSeenCertificateTakesNoPlace(t *testing.T) {
	zone := newAuthority(t, testZone, time.Now())
	server, orders := zone.source("catalog", time.Now), zone.source("orders", time.Now)
	inner, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	judged := make(chan struct{}, 16)
	conns, clients := NewConns(nil), NewConns(nil)
	conns.Patience, clients.Patience = 2*time.Minute, 2*time.Minute
	admitted := make(chan ID, 16)
	conns.Admit = func(p Peer) error { admitted <- p.ID; return nil }
	l := conns.Listener(NewCrowd(inner, 16, 1), ServerTLS(server, func(Peer) error { judged <- struct{}{}; return nil }))
	defer func() { _ = l.Close(); _ = conns.Close() }()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
		}
	}()
	dial := func() net.Conn {
		raw, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = raw.Close() })
		return raw
	}
	for range 9 { // more than half of the places
		raw := &muted{Conn: dial()}
		go func() { _ = tls.Client(raw, ClientTLS(orders, mustID(t, "catalog"))).Handshake() }()
		<-judged
	}
	conns.Each(func(p Peer) { t.Errorf("%s is there and has proved nothing", p.ID) })
	c, err := clients.Client(context.Background(), dial(), ClientTLS(orders, mustID(t, "catalog")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatalf("the workload itself: %v, want a place", err)
	}
	if id := <-admitted; id != mustID(t, "orders") || len(admitted) != 0 {
		t.Errorf("admitted %s and %d more, want orders alone", id, len(admitted))
	}
	n := 0
	conns.Each(func(Peer) { n++ })
	if n != 1 {
		t.Errorf("%d connections have a peer, want 1", n)
	}
}
