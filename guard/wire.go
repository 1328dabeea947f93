package guard

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"sallyport.dev/internal/httpsig"
	"sallyport.dev/internal/svid"
)

const (
	callIdle   = 30 * time.Second // that a connection to a callee is kept for the next call
	callWindow = 128 << 10        // bytes of an answer of gRPC that nobody has read yet

	pingGuard = 15 * time.Second // of silence on a connection with calls
	pingPlain = 6 * time.Minute  // likewise: servers of gRPC end a connection on which they are asked more often than each 5 min (gRPC proposal A8)
)

// wire carries calls to one service.
type wire interface {
	http.RoundTripper
	CloseIdleConnections()
}

// manner is how the calls of a wire share connections.
type manner uint8

const (
	inTurn   manner = iota // HTTP/1.1: one call after the other
	together               // HTTP/2: many at a time, for gRPC alone
	once                   // HTTP/1.1: never, for WebSockets: what comes after a handshake is no request
)

// template is the transport of both wires. It speaks HTTP/1.1 only: there each
// request has its connection to itself. For gRPC alone it speaks HTTP/2 only.
func template(patience time.Duration, m manner) *http.Transport {
	t := &http.Transport{
		Proxy:                  nil, // in particular not from the environment
		DisableCompression:     true,
		ForceAttemptHTTP2:      false,
		DisableKeepAlives:      m == once,
		MaxIdleConns:           128,
		MaxIdleConnsPerHost:    32,
		MaxConnsPerHost:        256,
		IdleConnTimeout:        callIdle,
		ResponseHeaderTimeout:  patience,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
	if m == together {
		t.ResponseHeaderTimeout = 0 // a service may listen for long before it says anything
		t.Protocols = new(http.Protocols)
		t.Protocols.SetHTTP2(true)
		t.Protocols.SetUnencryptedHTTP2(true)
		t.HTTP2 = &http.HTTP2Config{
			MaxReceiveBufferPerStream: callWindow, MaxReadFrameSize: 16 << 10,
			SendPingTimeout: pingGuard, PingTimeout: 15 * time.Second, WriteByteTimeout: writeStall,
		}
	}
	return t
}

// newPlainWire returns the wire to a service without an inner door, on this host.
func newPlainWire(g *Guard, to *callee, m manner) *http.Transport {
	t := template(g.cfg.CallTimeout, m)
	if t.HTTP2 != nil {
		t.HTTP2.SendPingTimeout = pingPlain
	}
	dialer := &net.Dialer{Timeout: max(dialTimeout, g.patience), Control: hereOnly}
	t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return to.dial(ctx, dialer) }
	return t
}

// dial connects to the first instance that takes the connection, from any of
// them on.
func (to *callee) dial(ctx context.Context, dialer *net.Dialer) (net.Conn, error) {
	errs := []error{fmt.Errorf("guard: no instance of %s takes the connection", to.name)}
	if n := len(to.upstreams); n > 0 {
		from := rand.IntN(n) // #nosec G404 -- a spread, not a secret
		for i := range n {
			u := to.upstreams[(from+i)%n]
			conn, err := dialer.DialContext(ctx, u.Network, u.Address)
			if err == nil {
				return conn, nil
			}
			errs = append(errs, err)
			if ctx.Err() != nil {
				break
			}
		}
	}
	return nil, errors.Join(errs...)
}

// innerWire is the wire to a service's inner door: mutual TLS with the callee
// that the map names. Connections are made with the identity of their time; when
// it changes, and before the end of a connection comes near, calls go on over new
// ones, and those under way end on the old.
type innerWire struct {
	g       *Guard
	to      *callee
	manner  manner
	connect func(context.Context) (net.Conn, error) // to an instance, without TLS yet

	mu  sync.Mutex
	now *generation // guarded by mu; nil before the first call
}

// generation is the connections of one identity.
type generation struct {
	identity  *svid.Identity
	signer    *httpsig.Signer
	transport *http.Transport

	mu     sync.Mutex
	macs   map[net.Conn]*httpsig.MACSigner // guarded by mu; of the connections over HTTP/2
	retire time.Time                       // guarded by mu; from then on it takes no new call; zero: not known yet
}

func newInnerWire(g *Guard, to *callee, m manner) *innerWire {
	dialer := &net.Dialer{Timeout: max(dialTimeout, g.patience)}
	return &innerWire{g: g, to: to, manner: m, connect: func(ctx context.Context) (net.Conn, error) { return to.dial(ctx, dialer) }}
}

func (w *innerWire) RoundTrip(r *http.Request) (*http.Response, error) {
	gen, err := w.current()
	if err != nil {
		if r.Body != nil {
			_ = r.Body.Close() // a RoundTripper always closes it
		}
		return nil, err
	}
	return gen.send(r, w.g.cfg.Clock)
}

// CloseIdleConnections closes the connections that no call uses.
func (w *innerWire) CloseIdleConnections() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.now != nil {
		w.now.transport.CloseIdleConnections()
	}
}

// current returns the generation for a new call.
func (w *innerWire) current() (*generation, error) {
	own, err := w.g.source.Current()
	if err != nil {
		return nil, err
	}
	now := w.g.cfg.Clock()
	w.mu.Lock()
	defer w.mu.Unlock()
	if old := w.now; old != nil {
		if old.identity == own && !old.retired(now) {
			return old, nil
		}
		old.transport.CloseIdleConnections() // busy ones follow when they are done
	}
	gen := &generation{identity: own, transport: template(w.g.cfg.CallTimeout, w.manner), macs: make(map[net.Conn]*httpsig.MACSigner)}
	if gen.signer, err = httpsig.NewSigner(signerOf(own), own.Certificate.Certificate); err != nil {
		return nil, err
	}
	gen.transport.DialTLSContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return w.dial(ctx, gen) }
	w.now = gen
	return gen, nil
}

// dial makes a connection to the callee, and the signer of what goes over it.
func (w *innerWire) dial(ctx context.Context, gen *generation) (net.Conn, error) {
	raw, err := w.connect(ctx)
	if err != nil {
		return nil, err
	}
	cfg := svid.ClientTLS(w.g.source, w.to.id)
	cfg.NextProtos = []string{"http/1.1"}
	noted := &notedConn{Conn: raw, gen: gen}
	if w.manner == together {
		cfg.NextProtos = []string{"h2"}
		raw = noted
	}
	c, err := w.g.callees.Client(ctx, raw, cfg)
	if err != nil {
		return nil, err
	}
	state := c.ConnectionState()
	key, err := httpsig.MACKey(&state)
	if err == nil {
		var mac *httpsig.MACSigner
		if mac, err = httpsig.NewMACSigner(key); err == nil {
			gen.notice(state.PeerCertificates[0].NotAfter, w.g.cfg.Clock())
			if w.manner == together {
				noted.note(c, mac)
				return c, nil // net/http speaks HTTP/2 over a *tls.Conn alone
			}
			return &provenConn{Conn: c, mac: mac}, nil
		}
	}
	_ = c.Close()
	return nil, err
}

// provenConn is a connection with the signer of its requests.
type provenConn struct {
	*tls.Conn
	mac *httpsig.MACSigner
}

// notedConn lies under a connection whose signer its generation keeps.
type notedConn struct {
	net.Conn
	gen    *generation
	of     net.Conn // guarded by gen.mu
	closed bool     // guarded by gen.mu
}

func (c *notedConn) note(of net.Conn, mac *httpsig.MACSigner) {
	c.gen.mu.Lock()
	defer c.gen.mu.Unlock()
	if !c.closed {
		c.of = of
		c.gen.macs[of] = mac
	}
}

func (c *notedConn) Close() error {
	c.gen.mu.Lock()
	c.closed = true
	delete(c.gen.macs, c.of)
	c.gen.mu.Unlock()
	return c.Conn.Close()
}

// macOf returns the signer of a connection, nil when there is none.
func (gen *generation) macOf(c net.Conn) *httpsig.MACSigner {
	if p, ok := c.(*provenConn); ok {
		return p.mac
	}
	gen.mu.Lock()
	defer gen.mu.Unlock()
	return gen.macs[c]
}

// notice takes a new connection into account. We leave it before its server asks
// for that (svid.Retire), so that no call crosses the server's word.
func (gen *generation) notice(peerEnds, now time.Time) {
	ends := gen.identity.NotAfter
	if peerEnds.Before(ends) {
		ends = peerEnds
	}
	retire := ends.Add(-min(ends.Sub(now)*3/8, 3*time.Minute))
	gen.mu.Lock()
	defer gen.mu.Unlock()
	// One that is old already does not end its generation: the next would be no younger.
	if retire.After(now) && (gen.retire.IsZero() || retire.Before(gen.retire)) {
		gen.retire = retire
	}
}

func (gen *generation) retired(now time.Time) bool {
	gen.mu.Lock()
	defer gen.mu.Unlock()
	return !gen.retire.IsZero() && !now.Before(gen.retire)
}

// hereOnly refuses to connect to another host (net.Dialer.Control): the name
// localhost is what a resolver says it is.
func hereOnly(network, address string, _ syscall.RawConn) error {
	switch network {
	case "unix":
		return nil
	case "tcp4", "tcp6":
		to, err := netip.ParseAddrPort(address)
		if err == nil && to.Addr().Unmap().IsLoopback() {
			return nil
		}
	}
	return fmt.Errorf("%s is not an address of this host", address)
}
