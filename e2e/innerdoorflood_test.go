package e2e

import (
	"context"
	"net"
	"sync"
	"testing"

	"sallyport.dev/internal/httpsig"
)

// TestInnerDoorCrowded: strangers who open connections to a sidecar and say nothing,
// more than it takes and again as soon as one is closed, do not keep the zone's own
// workloads out.
func TestInnerDoorCrowded(t *testing.T) {
	t.Parallel()
	n := startInner(t, "ledger")
	session := n.login(n.addUser("alice@shop.example"))
	front, door := n.member("front"), n.door("ledger")
	token := n.inside(session)
	passes := func() bool {
		last := token()
		w, err := dialDoor(t, front.source, "ledger", door)
		if err != nil {
			return false
		}
		defer w.conn.Close()
		return w.send(w.craft(httpsig.MAC, "GET", "/entries/1", last, "")).passed()
	}
	until(t, "a service is let in before the crowd", passes)

	ctx, leave := context.WithCancel(t.Context())
	var crowd sync.WaitGroup
	defer crowd.Wait()
	defer leave()
	in := make(chan struct{}, 1200)
	elsewhere := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)} // strangers have the share of one address
	var turn sync.Mutex                                   // they come one after the other: places are fought over here, not processors
	dial := func() (net.Conn, error) {
		turn.Lock()
		defer turn.Unlock()
		return (&net.Dialer{LocalAddr: elsewhere}).DialContext(ctx, "tcp", door)
	}
	for range cap(in) {
		crowd.Go(func() {
			for first := true; ctx.Err() == nil; first = false {
				c, err := dial()
				if first {
					in <- struct{}{}
				}
				if err != nil {
					return
				}
				stop := context.AfterFunc(ctx, func() { _ = c.Close() })
				_, _ = c.Read(make([]byte, 1)) // until the door has enough of it
				stop()
				_ = c.Close()
			}
		})
	}
	for range cap(in) {
		<-in
	}
	// Both have seconds to connect, which may be too few among so many. Who is kept
	// out is so each time.
	until(t, "the gateway is let in beside a crowd of strangers", func() bool { // by a connection of its own: there was none yet
		return n.do(call{path: "/entries/1", bearer: session}).Status == 200
	})
	until(t, "a service is let in beside a crowd of strangers", passes)
}
