package svid

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// door is an HTTP server of one workload in a bubble.
type door struct {
	*memory
	conns  *Conns
	server *http.Server
	ended  chan struct{}
}

func openDoor(t *testing.T, s *Source, allow func(Peer) error, h http.Handler) *door {
	t.Helper()
	d := &door{memory: newMemory(), conns: NewConns(nil), ended: make(chan struct{})}
	cfg := ServerTLS(s, allow)
	cfg.NextProtos = []string{"h2", "http/1.1"}
	d.server = &http.Server{Handler: Retire(h), ConnContext: ConnContext, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	go func() {
		defer close(d.ended)
		_ = d.server.Serve(d.conns.Listener(d.memory, cfg))
	}()
	t.Cleanup(d.close)
	return d
}

func (d *door) close() {
	_ = d.server.Close()
	_ = d.conns.Close()
	<-d.ended
}

// protocols are the two that a door speaks.
func protocols() map[string]*http.Transport {
	one, two := new(http.Protocols), new(http.Protocols)
	one.SetHTTP1(true)
	two.SetHTTP2(true)
	return map[string]*http.Transport{"HTTP/1.1": {Protocols: one}, "HTTP/2": {Protocols: two}}
}

// clientOf returns a client for a door, without Transport's own care for the end
// of connections when it is bare.
func clientOf(t *testing.T, s *Source, want ID, d *door, base *http.Transport, bare bool) (*http.Client, *Conns) {
	t.Helper()
	conns := NewConns(nil)
	base = base.Clone()
	base.DialContext = d.dial
	var wire http.RoundTripper
	if bare {
		cfg := ClientTLS(s, want)
		cfg.NextProtos = []string{"http/1.1"}
		if base.Protocols.HTTP2() {
			cfg.NextProtos = []string{"h2"}
		}
		base.DialTLSContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			raw, err := d.dial(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return conns.Client(ctx, raw, cfg)
		}
		wire = base
	} else {
		wire = NewTransport(s, want, conns, base)
	}
	c := &http.Client{Transport: wire}
	t.Cleanup(func() { c.CloseIdleConnections(); _ = conns.Close() })
	return c, conns
}

func say(c *http.Client) (string, error) {
	res, err := c.Get("https://orders.invalid/")
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.Proto + " " + string(b), err
}

// whoIsIt answers with the peer of the request.
func whoIsIt(w http.ResponseWriter, r *http.Request) {
	peer, ok := PeerFrom(r.Context())
	if !ok {
		http.Error(w, "nobody", http.StatusForbidden)
		return
	}
	_, _ = io.WriteString(w, peer.ID.String())
}

func TestServeHTTP(t *testing.T) {
	for proto, base := range protocols() {
		synctest.Test(t, func(t *testing.T) {
			zone := newAuthority(t, testZone, time.Now())
			d := openDoor(t, zone.source("orders", time.Now), allowAll, http.HandlerFunc(whoIsIt))
			c, _ := clientOf(t, zone.source("gateway", time.Now), mustID(t, "orders"), d, base, false)
			got, err := say(c)
			if major := strings.TrimSuffix(proto, ".1"); err != nil || !strings.HasPrefix(got, major) || !strings.HasSuffix(got, " spiffe://shop.example/gateway") {
				t.Errorf("%s: %q, %v", proto, got, err)
			}
		})
	}
}

func TestPeerFromNobody(t *testing.T) {
	if peer, ok := PeerFrom(t.Context()); ok {
		t.Errorf("PeerFrom of an empty context = %s", peer.ID)
	}
	if peer, ok := PeerFrom(ConnContext(t.Context(), &pipeEnd{})); ok {
		t.Errorf("PeerFrom of a plain connection = %s", peer.ID)
	}
}

// TestConnectionEndsWithCertificate: a connection that is kept alive, idle or
// with a request under way, is gone when the first of its two certificates ends,
// on both sides and in both protocols; before, it is the same connection.
func TestConnectionEndsWithCertificate(t *testing.T) {
	const short, long = time.Minute, time.Hour
	for proto, base := range protocols() {
		for _, c := range []struct {
			name           string
			server, client time.Duration
		}{{"the client's is short", long, short}, {"the server's is short", short, long}} {
			synctest.Test(t, func(t *testing.T) {
				zone := newAuthority(t, testZone, time.Now())
				orders, gateway := NewSource(nil), NewSource(nil)
				orders.Set(zone.identity("orders", time.Now(), c.server))
				gateway.Set(zone.identity("gateway", time.Now(), c.client))
				began := time.Now()
				var cut time.Duration
				handler := func(w http.ResponseWriter, r *http.Request) {
					<-r.Context().Done()
					cut = time.Since(began)
				}
				d := openDoor(t, orders, allowAll, http.HandlerFunc(handler))
				client, conns := clientOf(t, gateway, mustID(t, "orders"), d, base, true)
				failed := make(chan error, 1)
				go func() { _, err := say(client); failed <- err }()
				time.Sleep(short - time.Second)
				synctest.Wait()
				if len(failed) != 0 || conns.Len() != 1 || d.conns.Len() != 1 {
					t.Fatalf("%s, %s: a second before the end: %d failed, %d and %d connections, want 0, 1 and 1", proto, c.name, len(failed), conns.Len(), d.conns.Len())
				}
				if err := <-failed; err == nil {
					t.Errorf("%s, %s: a request outlived the certificate", proto, c.name)
				}
				if got := time.Since(began); got != short {
					t.Errorf("%s, %s: ended after %s, want %s", proto, c.name, got, short)
				}
				synctest.Wait()
				if conns.Len() != 0 || d.conns.Len() != 0 || cut != short {
					t.Errorf("%s, %s: %d and %d connections left, handler ended after %s", proto, c.name, conns.Len(), d.conns.Len(), cut)
				}
			})
		}
	}
}

// TestOwnCertificateEndsConnection: also when the other side does not look.
func TestOwnCertificateEndsConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zone := newAuthority(t, testZone, time.Now())
		short, long := NewSource(nil), zone.source("gateway", time.Now)
		short.Set(zone.identity("orders", time.Now(), time.Minute))
		for name, make := range map[string]func(a, b net.Conn) (ours *Conns, theirs *tls.Conn){
			"as a server": func(a, b net.Conn) (*Conns, *tls.Conn) {
				conns := NewConns(nil)
				l := conns.Listener(newOnce(a), ServerTLS(short, allowAll))
				go func() { _, _ = l.Accept(); _ = l.Close() }()
				return conns, tls.Client(b, ClientTLS(long, mustID(t, "orders")))
			},
			"as a client": func(a, b net.Conn) (*Conns, *tls.Conn) {
				conns := NewConns(nil)
				go func() { _, _ = conns.Client(t.Context(), a, ClientTLS(short, mustID(t, "gateway"))) }()
				return conns, tls.Server(b, ServerTLS(long, allowAll))
			},
		} {
			short.Set(zone.identity("orders", time.Now(), time.Minute))
			began := time.Now()
			conns, theirs := make(pipe())
			if err := theirs.Handshake(); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			_, err := theirs.Read([]byte{0})
			if lived := time.Since(began); err == nil || lived != time.Minute || conns.Len() != 0 {
				t.Errorf("%s: %v after %s, %d connections; want the end after a minute", name, err, lived, conns.Len())
			}
		}
	})
}

// TestHostSlept: when the clock jumps, a connection is found out within a minute
// although its timer has not run off.
func TestHostSlept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var slept time.Duration
		clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return time.Now().Add(slept) }
		zone := newAuthority(t, testZone, time.Now())
		orders, gateway := zone.source("orders", clock), zone.source("gateway", clock)
		conns := NewConns(clock)
		a, b := pipe()
		l := conns.Listener(newOnce(a), ServerTLS(orders, allowAll))
		defer func() { _ = l.Close() }()
		go func() {
			if server, err := l.Accept(); err == nil {
				_, _ = server.Read(make([]byte, 1))
			}
		}()
		if _, err := conns.Client(t.Context(), b, ClientTLS(gateway, mustID(t, "orders"))); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if conns.Len() != 2 {
			t.Fatalf("positive control: %d connections after ten minutes, want 2", conns.Len())
		}
		mu.Lock()
		slept = time.Hour
		mu.Unlock()
		time.Sleep(recheck)
		synctest.Wait()
		if conns.Len() != 0 {
			t.Errorf("%d connections a minute after the host slept for an hour, want 0", conns.Len())
		}
	})
}

// once is a listener of one connection.
type once struct {
	conn   net.Conn
	taken  bool
	closed chan struct{}
}

func newOnce(conn net.Conn) *once { return &once{conn: conn, closed: make(chan struct{})} }

func (o *once) Accept() (net.Conn, error) {
	if o.taken {
		<-o.closed
		return nil, net.ErrClosed
	}
	o.taken = true
	return o.conn, nil
}
func (o *once) Close() error   { close(o.closed); return nil }
func (o *once) Addr() net.Addr { return &net.UnixAddr{} }

// TestCloseWhere: a right taken away ends the connections of its peer, requests
// under way included, and no others.
func TestCloseWhere(t *testing.T) {
	for proto, base := range protocols() {
		synctest.Test(t, func(t *testing.T) {
			zone := newAuthority(t, testZone, time.Now())
			var mu sync.Mutex
			denied := map[ID]bool{}
			allow := func(p Peer) error {
				mu.Lock()
				defer mu.Unlock()
				if denied[p.ID] {
					return errors.New("denied")
				}
				return nil
			}
			d := openDoor(t, zone.source("orders", time.Now), allow, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Wait") != "" {
					<-r.Context().Done()
					return
				}
				whoIsIt(w, r)
			}))
			gateway, _ := clientOf(t, zone.source("gateway", time.Now), mustID(t, "orders"), d, base, false)
			stock, _ := clientOf(t, zone.source("stock", time.Now), mustID(t, "orders"), d, base, false)
			for _, c := range []*http.Client{gateway, stock} {
				if _, err := say(c); err != nil {
					t.Fatal(err)
				}
			}
			waiting := make(chan error, 1)
			go func() {
				req, _ := http.NewRequest("GET", "https://orders.invalid/", http.NoBody)
				req.Header.Set("Wait", "1")
				res, err := stock.Do(req)
				if err == nil {
					_, err = io.ReadAll(res.Body)
					_ = res.Body.Close()
				}
				waiting <- err
			}()
			synctest.Wait()
			mu.Lock()
			denied[mustID(t, "stock")] = true
			mu.Unlock()
			if n := d.conns.CloseWhere(func(p Peer) bool { return p.ID == mustID(t, "stock") }); n != 1 {
				t.Errorf("%s: CloseWhere = %d, want 1", proto, n)
			}
			if err := <-waiting; err == nil {
				t.Errorf("%s: a request of the peer without a right went on", proto)
			}
			if _, err := say(stock); err == nil {
				t.Errorf("%s: the peer without a right came back", proto)
			}
			synctest.Wait()
			if n := d.conns.Len(); n != 1 {
				t.Errorf("%s: %d connections, want that of the other peer", proto, n)
			}
			if _, err := say(gateway); err != nil {
				t.Errorf("%s: the other peer: %v", proto, err)
			}
		})
	}
}

// TestCloseWhereDuringHandshake: a right that is taken away after allow was
// asked and before the handshake is done still ends the connection.
func TestCloseWhereDuringHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zone := newAuthority(t, testZone, time.Now())
		asked, goOn := make(chan struct{}), make(chan struct{})
		allow := func(Peer) error { close(asked); <-goOn; return nil }
		d := openDoor(t, zone.source("orders", time.Now), allow, http.HandlerFunc(whoIsIt))
		for _, base := range protocols() {
			c, _ := clientOf(t, zone.source("gateway", time.Now), mustID(t, "orders"), d, base, true)
			failed := make(chan error, 1)
			go func() { _, err := say(c); failed <- err }()
			<-asked
			if n := d.conns.CloseWhere(func(Peer) bool { return true }); n != 1 {
				t.Errorf("CloseWhere = %d, want 1", n)
			}
			close(goOn)
			if err := <-failed; err == nil {
				t.Error("the connection was used")
			}
			break
		}
	})
}

func TestConnsClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zone := newAuthority(t, testZone, time.Now())
		d := openDoor(t, zone.source("orders", time.Now), allowAll, http.HandlerFunc(whoIsIt))
		c, conns := clientOf(t, zone.source("gateway", time.Now), mustID(t, "orders"), d, protocols()["HTTP/1.1"], false)
		if _, err := say(c); err != nil {
			t.Fatal(err)
		}
		_ = conns.Close()
		_, err := say(c)
		synctest.Wait()
		if !errors.Is(err, net.ErrClosed) || conns.Len() != 0 || d.conns.Len() != 0 {
			t.Errorf("after Close: %v, %d and %d connections, want net.ErrClosed and none", err, conns.Len(), d.conns.Len())
		}
		// A configuration that verifies nobody is taken for no permission.
		a, b := pipe()
		_ = b.Close()
		open := NewConns(nil)
		bare := ClientTLS(zone.source("gateway", time.Now), mustID(t, "orders"))
		bare.VerifyConnection = nil
		raw, _ := d.dial(t.Context(), "", "")
		if _, err := open.Client(t.Context(), raw, bare); err == nil || !strings.Contains(err.Error(), "verifies nobody") {
			t.Errorf("a configuration without verification: %v, want it refused", err)
		}
		// A handshake that nobody answers ends with its context.
		silent, _ := pipe()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := open.Client(ctx, silent, ClientTLS(zone.source("gateway", time.Now), mustID(t, "orders"))); err == nil || open.Len() != 0 {
			t.Errorf("a silent server: %v, %d connections, want an error and none", err, open.Len())
		}
		_ = a.Close()
	})
}
