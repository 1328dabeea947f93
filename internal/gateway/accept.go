package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"runtime/debug"

	"sallyport.dev/internal/problem"
)

// acceptStage asks whether the door is open at all, and whether the connection
// is one of this listener's clients.
func acceptStage(g *Gateway, t *trip) problem.Reason {
	t.closeAfterDoubt() // whatever becomes of the request
	if g.draining.Load() {
		t.closeAfter()
		return problem.ZoneDraining
	}
	if t.conn != nil && t.conn.door.leaving.Load() {
		t.closeAfter()
		if t.conn.door.removed.Load() {
			return problem.ZoneDraining
		}
	}
	// Before anything else: with no record to write there is no request to serve.
	if err := g.journal.Admit(false); err != nil {
		t.unkept = true
		return t.failed(err, problem.JournalUnavailable)
	}
	// The client's certificate and the server name are in the TLS state. Nothing is
	// judged without it, should net/http ever hand over a request that has none.
	if t.r.TLS == nil {
		return problem.RequestTarget
	}
	if t.listener.ClientCA != "" {
		return t.clientCertificate(g)
	}
	return problem.OK
}

// clientCertificate checks what the handshake has checked, and that it still
// holds: a connection may outlive its certificate.
func (t *trip) clientCertificate(g *Gateway) problem.Reason {
	state := t.r.TLS
	if c := t.conn; c != nil && !bytes.Equal(c.clientCA, t.listener.clientCA) { // the map names other authorities now
		t.closeAfter()
		return problem.ListenerCertificate
	}
	if len(state.VerifiedChains) == 0 || len(state.PeerCertificates) == 0 {
		t.closeAfter()
		return problem.ListenerCertificate
	}
	if g.clock().After(state.PeerCertificates[0].NotAfter) {
		t.closeAfter()
		return problem.ListenerCertificate
	}
	if t.conn != nil {
		t.tags = append(t.tags, t.conn.certificateTag(state))
	}
	return problem.OK
}

// closeAfter ends an HTTP/1 connection after this answer (RFC 9112 section 9.6);
// over HTTP/2, net/http makes a graceful GOAWAY of it.
func (t *trip) closeAfter() { t.out.Header().Set("Connection", "close") }

// failed keeps the cause of err and returns its reason; an error without one
// becomes fallback, so that a part which fails in an unforeseen way is down.
func (t *trip) failed(err error, fallback problem.Reason) problem.Reason {
	t.cause = nil
	reason := fallback
	if e := asProblem(err); e != nil && e.Reason != problem.OK { // an error is never a yes
		reason = e.Reason
		t.detail = e.Detail
		if e.Cause == nil { // a plain refusal: its record says it all
			return reason
		}
	}
	t.cause = err
	return reason
}

// asProblem returns the problem in the chain of err, nil when there is none.
func asProblem(err error) *problem.Error {
	e, _ := errors.AsType[*problem.Error](err)
	return e
}

// contained makes an error of a panic in work that runs in a goroutine of its
// own: there it would end the process.
func contained(work func() (any, error)) func() (any, error) {
	return func() (v any, err error) {
		defer func() {
			if p := recover(); p != nil {
				v, err = nil, fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			}
		}()
		return work()
	}
}
