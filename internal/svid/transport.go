package svid

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

const idleMost = time.Minute // of a connection between two requests, unless the caller says otherwise

// Transport sends requests to one workload. When the identity changes, and
// before a connection of its comes near its end, it goes on with new
// connections; requests under way end on the old ones. A request whose body
// cannot be sent twice is therefore never lost to the end of a connection.
type Transport struct {
	source *Source
	want   ID
	conns  *Conns
	base   *http.Transport // the template; never used itself
	protos []string

	mu  sync.Mutex
	now *generation // guarded by mu; nil before the first request
}

// generation is the connections of one identity.
type generation struct {
	identity  *Identity
	transport *http.Transport

	mu     sync.Mutex
	retire time.Time // guarded by mu; from then on the generation takes no new request; zero: not yet known
}

// NewTransport returns a transport that makes its connections as base does, for
// URLs with https, and owns them with conns. Of base it ignores what concerns
// TLS and proxies; HTTP/2 is spoken when base.Protocols or ForceAttemptHTTP2
// has it. Idle connections are closed after a minute at most.
func NewTransport(s *Source, want ID, conns *Conns, base *http.Transport) *Transport {
	t := &Transport{source: s, want: want, conns: conns, base: base.Clone(), protos: []string{"http/1.1"}}
	t.base.Proxy, t.base.TLSClientConfig = nil, nil
	if t.base.DialContext == nil {
		t.base.DialContext = (&net.Dialer{Timeout: handshakeTimeout}).DialContext
	}
	if t.base.IdleConnTimeout <= 0 || t.base.IdleConnTimeout > idleMost {
		t.base.IdleConnTimeout = idleMost
	}
	if p := t.base.Protocols; t.base.ForceAttemptHTTP2 || p != nil && p.HTTP2() {
		t.protos = []string{"h2", "http/1.1"}
		if p != nil && !p.HTTP1() {
			t.protos = t.protos[:1]
		}
	}
	return t
}

// RoundTrip is http.RoundTripper's. Without an identity it is inside.unavailable.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	g, err := t.current()
	if err != nil {
		if r.Body != nil {
			_ = r.Body.Close() // a RoundTripper always closes it
		}
		return nil, err
	}
	return g.transport.RoundTrip(r)
}

// CloseIdleConnections closes the connections that no request uses.
func (t *Transport) CloseIdleConnections() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.now != nil {
		t.now.transport.CloseIdleConnections()
	}
}

// current returns the generation for a new request.
func (t *Transport) current() (*generation, error) {
	own, err := t.source.Current()
	if err != nil {
		return nil, err
	}
	now := t.source.clock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if old := t.now; old != nil {
		if old.identity == own && !old.retired(now) {
			return old, nil
		}
		old.transport.CloseIdleConnections() // busy ones follow when they are done
	}
	g := &generation{identity: own, transport: t.base.Clone()}
	g.transport.DialTLSContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		return t.dial(ctx, g, network, addr)
	}
	t.now = g
	return g, nil
}

func (t *Transport) dial(ctx context.Context, g *generation, network, addr string) (net.Conn, error) {
	raw, err := t.base.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	b, err := t.conns.add(raw)
	if err != nil {
		return nil, err
	}
	cfg := ClientTLS(t.source, t.want)
	cfg.NextProtos = t.protos
	c, err := b.client(ctx, cfg)
	if err != nil {
		return nil, err
	}
	g.notice(b, t.source.clock())
	return c, nil
}

// notice takes a new connection into account. We leave it before its server
// asks for that, by half as much again: HTTP/2 loses requests that cross the
// server's word.
func (g *generation) notice(b *conn, now time.Time) {
	b.mu.Lock()
	retire := b.retire.Add(-b.ends.Sub(b.retire) / 2)
	b.mu.Unlock()
	g.mu.Lock()
	defer g.mu.Unlock()
	// One that is old already does not end its generation: the next would be no younger.
	if retire.After(now) && (g.retire.IsZero() || retire.Before(g.retire)) {
		g.retire = retire
	}
}

func (g *generation) retired(now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.retire.IsZero() && !now.Before(g.retire)
}
