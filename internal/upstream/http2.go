package upstream

//lint:file-ignore SA1019 http.Transport.NewClientConn of Go 1.26 dials by itself and hides how many requests the service takes; here both have to be known.

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

const (
	// callsPerConn bounds the requests of one connection, whatever the service
	// allows: they share its window, and its end.
	callsPerConn = 64
	// callWindow is what a service may send of one answer before the client takes
	// it. There is no smaller window for the connection: in it one slow client would
	// stop all the others.
	callWindow = 128 << 10
)

// h2conn is an HTTP/2 connection to an instance (RFC 9113). Unlike a wire it
// carries many requests at a time.
type h2conn struct {
	proving sync.Mutex // held while a request is proved: guards the Conn
	Conn
	cc        *http2.ClientConn
	under     *wire     // closes what lies under TLS
	calls     int       // guarded by h2pool.mu
	idleSince time.Time // guarded by h2pool.mu
	used      bool      // guarded by h2pool.mu; it has carried a request
}

// h2pool are the HTTP/2 connections to an instance: few, each with many requests.
// http2.Transport has no part in it but to speak on one connection: which one has
// to be known before a request is proved.
type h2pool struct {
	in        *instance
	transport *http2.Transport
	most      int

	mu      sync.Mutex
	conns   []*h2conn // guarded by mu
	dialing *h2dial   // guarded by mu; one at a time, for all who wait
}

// How long a connection with calls may be silent before the instance is asked whether
// it is there.
const (
	pingDoor = 15 * time.Second // an inner door, which may be on a host that is gone without a word
	// Servers of gRPC end a connection on which they are asked more often than each five
	// minutes while they say nothing themselves (gRPC proposal A8), and a stream that is
	// quiet with it. They are on this host, whose kernel tells when they are gone.
	pingPlain = 6 * time.Minute
)

// pingAfter tells the two apart: who has an inner door is spoken to by TLS, nobody else is.
func pingAfter(to zone.Upstream) time.Duration {
	if to.Scheme == "https" {
		return pingDoor
	}
	return pingPlain
}

type h2dial struct {
	done chan struct{}
	err  error // readable after done
}

func newH2Pool(in *instance, cfg *Config) *h2pool {
	t1 := &http.Transport{
		DisableCompression:     true, // what is asked for is the client's business
		MaxResponseHeaderBytes: headLimit,
		HTTP2: &http.HTTP2Config{
			MaxReceiveBufferPerStream: callWindow,
			MaxReadFrameSize:          16 << 10,
			SendPingTimeout:           pingAfter(in.Upstream),
			PingTimeout:               15 * time.Second,
			WriteByteTimeout:          cfg.PieceTime,
		},
	}
	t2, err := http2.ConfigureTransports(t1)
	if err != nil { // only of a transport that was configured before
		panic(err)
	}
	return &h2pool{in: in, transport: t2, most: max(1, cfg.Outstanding/callsPerConn)}
}

var errH2Busy = errors.New("every HTTP/2 connection has as many requests as it takes")

// take returns a connection that takes another request, counted already.
func (p *h2pool) take(ctx context.Context) (c *h2conn, used bool, err error) {
	for {
		p.mu.Lock()
		p.prune()
		for _, c := range p.conns {
			if c.calls < callsPerConn && c.cc.CanTakeNewRequest() && c.within(p.in.set.cfg.Clock()) {
				used, c.used = c.used, true
				c.calls++
				p.mu.Unlock()
				return c, used, nil
			}
		}
		d := p.dialing
		switch {
		case d == nil && len(p.conns) >= p.most:
			p.mu.Unlock()
			return nil, false, problem.New(problem.UpstreamBusy, errH2Busy)
		case d == nil:
			d = &h2dial{done: make(chan struct{})}
			p.dialing = d
			p.mu.Unlock()
			p.dial(context.WithoutCancel(ctx), d) // others wait for it
		default:
			p.mu.Unlock()
			select {
			case <-d.done:
			case <-ctx.Done():
				return nil, false, ctx.Err()
			}
		}
		if d.err != nil {
			return nil, false, d.err
		}
	}
}

// within says whether a prover lets a request begin on the connection.
func (c *h2conn) within(now time.Time) bool {
	c.proving.Lock()
	defer c.proving.Unlock()
	return c.Until.IsZero() || now.Before(c.Until)
}

func (p *h2pool) dial(ctx context.Context, d *h2dial) {
	c, err := p.connect(ctx)
	p.mu.Lock()
	if err == nil {
		p.conns = append(p.conns, c)
	}
	d.err, p.dialing = err, nil
	p.mu.Unlock()
	close(d.done)
}

var errNoHTTP2 = errors.New("the instance does not speak HTTP/2")

func (p *h2pool) connect(ctx context.Context) (*h2conn, error) {
	conn, err := p.in.dial(ctx, p.in.set.cfg.DialHTTP2)
	if err != nil {
		return nil, err
	}
	under := newWire(conn)
	if t, ok := conn.(*tls.Conn); ok && t.ConnectionState().NegotiatedProtocol != http2.NextProtoTLS {
		under.close()
		return nil, errNoHTTP2
	}
	cc, err := p.transport.NewClientConn(conn)
	if err != nil {
		under.close()
		return nil, err
	}
	// The answer to a PING comes after the settings: before those nobody knows how
	// many requests the service takes, and those too many would wait for the others.
	ctx, cancel := context.WithTimeout(ctx, p.in.set.cfg.DialTime)
	defer cancel()
	if err := cc.Ping(ctx); err != nil {
		_ = cc.Close() // it never came to be
		under.close()
		return nil, problem.New(problem.UpstreamProtocol, fmt.Errorf("begin HTTP/2: %w", err))
	}
	return &h2conn{Conn: Conn{Net: conn}, cc: cc, under: under, idleSince: p.in.set.cfg.Clock()}, nil
}

// prune forgets connections that have ended or take no more. Those that still
// carry requests end with the last of them: see give.
func (p *h2pool) prune() {
	kept := p.conns[:0]
	for _, c := range p.conns {
		switch st := c.cc.State(); {
		case !st.Closed && !st.Closing:
			kept = append(kept, c)
		case st.Closed || c.calls == 0:
			c.under.close()
		}
	}
	clear(p.conns[len(kept):])
	p.conns = kept
}

// give gives back what take has counted.
func (p *h2pool) give(c *h2conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.calls--
	c.idleSince = p.in.set.cfg.Clock()
	if st := c.cc.State(); c.calls == 0 && (st.Closed || st.Closing || p.in.set.closed.Load()) {
		c.under.close()
		p.prune()
	}
}

// closeIdle closes the connections without requests for which the condition holds.
func (p *h2pool) closeIdle(condition func(since time.Time) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := p.conns[:0]
	for _, c := range p.conns {
		if c.calls == 0 && condition(c.idleSince) {
			_ = c.cc.Close()
			c.under.close()
		} else {
			kept = append(kept, c)
		}
	}
	clear(p.conns[len(kept):])
	p.conns = kept
}

func (p *h2pool) idle() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		if c.calls == 0 {
			n++
		}
	}
	return n
}
