package gateway

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/upstream"
)

// tunnelRest is how long one direction of a tunnel may be silent once the other
// has ended: WebSocket ends in both at once (RFC 6455 section 7.1.1).
const tunnelRest = 10 * time.Second

// openWebSocket judges the opening handshake (RFC 6455 section 4.2.1). Such a route
// takes nothing else: what is no handshake here could be one to the service.
func (g *Gateway) openWebSocket(t *trip) problem.Reason {
	// Whatever the answer is, unless it is 101, nothing follows it: the client may
	// already be sending what it takes for the inside of a tunnel.
	t.closeAfter()
	var err error
	if t.r.Method == http.MethodGet && t.r.ProtoMajor == 1 && t.r.ProtoMinor == 1 && t.body == nil {
		t.handshake, err = upstream.ReadHandshake(t.r.Header)
	}
	if err != nil || t.handshake == nil {
		t.extra.Set("Sec-Websocket-Version", "13") // RFC 6455 section 4.4
		t.detail = "this route takes the opening handshake of WebSocket, version 13, over HTTP/1.1"
		return problem.RequestUpgrade
	}
	// A browser sends the cookie with a handshake from any site, and no preflight and
	// no same-origin policy stands between that site and what the socket says
	// (section 10.2). So a handshake is no safe method where a cookie is the
	// credential.
	if t.cred.Kind == CookieCredential {
		unsafe := *t.r // for its method only; nothing of it is used but fields
		unsafe.Method = http.MethodPost
		if g.crossOrigin.Check(&unsafe) != nil {
			return problem.AuthCrossSite
		}
	}
	return problem.OK
}

// tunnel gives the client the service's 101 and then moves bytes both ways, for
// as long as both sides want and the credential holds. It knows nothing of frames.
type tunnel struct {
	x      *upstream.Exchange
	client net.Conn
	from   io.Reader // what the client sends: net/http has read some of it, if it was early
	rate   int64     // bytes per second that a client takes at least
	quiet  *silence
	rest   time.Duration // tunnelRest

	in, out int64 // moved; in is the inward goroutine's until it is done
	ended   atomic.Bool
	first   atomic.Pointer[problem.Error] // why it broke
}

// answerTunnel leaves two records, one before the 101 and one at the end.
func (g *Gateway) answerTunnel(t *trip, x *upstream.Exchange) problem.Reason {
	if r := g.recordOpen(t); r != problem.OK {
		return r
	}
	head := t.switching(x)
	client, buffered, err := http.NewResponseController(t.w).Hijack()
	if err != nil {
		t.cause = err
		return problem.InternalError
	}
	t.out.started = true
	// Not through its reader: that takes the client's end for the end of the request.
	early, _ := buffered.Peek(buffered.Reader.Buffered())
	p := &tunnel{x: x, client: client, from: io.MultiReader(bytes.NewReader(early), client), rate: max(1, t.listener.Limits.BodyRate), rest: g.graces.tunnel}
	defer p.cut()
	p.quiet = await(t.listener.Limits.Idle, p.cut)
	v := g.watch(t, ends{cut: p.cut, drain: atOnce})
	if err := p.say(head); err != nil {
		p.broke(outside(err), err)
	} else {
		p.move()
	}
	reason := problem.OK
	if why := p.first.Load(); why != nil {
		reason, t.cause = why.Reason, why.Cause
	}
	if p.quiet.stop() {
		reason = problem.UpstreamTimeout
	}
	reason = v.end(reason)
	t.tunnelIn, t.bytesOut, t.reason = p.in, p.out, reason
	g.recordEnd(t)
	g.logCause(t, reason)
	return problem.OK // the client has got all that there was; net/http has no part in the connection any more
}

// switching is the head of the 101: of the service's fields what any answer may
// have, and what was checked of its acceptance.
func (t *trip) switching(x *upstream.Exchange) []byte {
	t.head(x, -1)
	h := t.w.Header()
	h["Connection"], h["Upgrade"] = []string{"Upgrade"}, []string{"websocket"}
	for _, name := range []string{"Accept", "Protocol", "Extensions"} {
		if v := x.Header["Sec-Websocket-"+name]; v != nil {
			h["Sec-WebSocket-"+name] = v // as RFC 6455 spells it: some clients compare bytes
		}
	}
	var b bytes.Buffer
	b.WriteString("HTTP/1.1 101 Switching Protocols\r\n")
	_ = h.Write(&b) // into memory
	b.WriteString("\r\n")
	return b.Bytes()
}

// move moves both ways until both have ended or one has broken.
func (p *tunnel) move() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.inward()
	}()
	p.outward()
	<-done
}

func (p *tunnel) inward() {
	var buf scoop
	defer buf.drop()
	for n := 0; ; {
		var err error
		b := buf.next(n)
		n, err = p.from.Read(b)
		if n > 0 {
			p.quiet.touch()
			m, werr := p.x.Write(b[:n])
			p.in += int64(m)
			if werr != nil {
				p.broke(inside(werr), werr)
				return
			}
		}
		switch {
		case err == nil:
			continue
		case err != io.EOF:
			p.broke(outside(err), err)
		case p.x.CloseWrite() != nil: // all or nothing
			p.cut()
		default:
			p.quiet.shorten(p.rest)
		}
		return
	}
}

func (p *tunnel) outward() {
	var buf scoop
	defer buf.drop()
	for n := 0; ; {
		var err error
		b := buf.next(n)
		n, err = p.x.Read(b)
		if n > 0 {
			p.quiet.touch()
			if werr := p.say(b[:n]); werr != nil {
				p.broke(outside(werr), werr)
				return
			}
			p.out += int64(n)
		}
		switch {
		case err == nil:
			continue
		case err != io.EOF:
			p.broke(problem.ReasonOf(err), err)
		case p.hush() != nil: // all or nothing
			p.cut()
		default:
			p.quiet.shorten(p.rest)
		}
		return
	}
}

// say sends to the client, which must take it as it must any answer: see writer.
func (p *tunnel) say(b []byte) error {
	if err := p.client.SetWriteDeadline(time.Now().Add(readerGrace + time.Duration(len(b))*time.Second/time.Duration(p.rate))); err != nil {
		return err
	}
	_, err := p.client.Write(b)
	return err
}

// hush tells the client that the service sends no more.
func (p *tunnel) hush() error {
	if c, ok := p.client.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return net.ErrClosed
}

// broke ends the tunnel for a fault; what breaks after that is its consequence.
func (p *tunnel) broke(reason problem.Reason, err error) {
	if !p.ended.Load() {
		p.first.CompareAndSwap(nil, problem.New(reason, err))
	}
	p.cut()
}

// cut ends both directions, from any goroutine. Peers see their connection close:
// a close frame (RFC 6455 section 5.5.1) is for whoever knows where frames end.
func (p *tunnel) cut() {
	p.ended.Store(true)
	p.x.Cut()
	_ = p.client.Close() // it is over
}

func outside(err error) problem.Reason {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return problem.RequestTimeout
	}
	return problem.ClientClosed
}

func inside(err error) problem.Reason {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return problem.UpstreamTimeout
	}
	return problem.UpstreamProtocol
}
