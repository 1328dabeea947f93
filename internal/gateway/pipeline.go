// Package gateway is the outer door: a pipeline of stages that every request
// meets in one order. A stage passes the request on or ends it with a reason;
// the reason, the time of each stage and the outcome go into one journal record.
//
// It promises that what policy judged is, byte for byte, what the upstream
// receives, or the answer is 4xx; that an outside credential never travels
// inside; and that the last byte of an answer leaves after its record is kept.
// It refuses whatever the zone map does not declare.
//
// What net/http refuses of HTTP/1 before any handler (a head that is not HTTP or
// is too large, a transfer coding other than chunked, an unknown Expect) is
// answered and recorded here all the same (watched), without method and route.
// No record have heads that end early, and HTTP/2 streams and connections that
// break the protocol: the metric counts them as request.malformed without a route. Not counted at all are handshakes that
// fail, and HTTP/2 header sections that are too large or hold fields of HTTP/1
// connections: net/http answers those with 431 and 400.
package gateway

import (
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"

	"sallyport.dev/internal/problem"
)

// A stage judges one trip. OK passes it on; any other reason ends it.
type stage struct {
	name string
	run  func(*Gateway, *trip) problem.Reason
}

// pipeline returns the stages in their order: the only place that knows it.
// Times and records are written by index into this list.
func pipeline() []stage {
	return []stage{
		{"accept", acceptStage},
		{"normalize", normalizeStage},
		{"identify", identifyStage},
		{"route", routeStage},
		{"authenticate", authenticateStage},
		{"limit", limitStage},
		{"authorize", authorizeStage},
		{"exchange", exchangeStage},
		{"prove", proveStage},
		{"forward", dispatchStage},
		{"record", recordStage},
	}
}

// maxStages bounds the pipeline; a test proves that it fits.
const maxStages = 16

// Stages returns the names of the stages in the order of the pipeline: the
// labels of the metric and of the times in a journal record.
func Stages() []string {
	stages := pipeline()
	names := make([]string, len(stages))
	for i, s := range stages {
		names[i] = s.name
	}
	return names
}

// dispatchStage hands the trip to the service, or to this process itself.
func dispatchStage(g *Gateway, t *trip) problem.Reason {
	if t.route.local != nil {
		return localStage(g, t)
	}
	t.out.forwarded = true
	return forwardStage(g, t)
}

// serve is the handler of a listener: one request, one trip, one record.
func (g *Gateway) serve(l *listener, w http.ResponseWriter, r *http.Request) {
	g.underWay.Add(1)
	defer g.underWay.Add(-1)
	c, _ := r.Context().Value(connKey{}).(*conn)
	if c != nil {
		c.serving()
	}
	t := g.begin(l, c, w, r)
	reason := g.walk(t)
	whole := g.finish(t, reason)
	g.settle(t)
	g.recycle(t)
	if !whole {
		// Only a broken connection tells a client that the answer it holds is not
		// whole: net/http closes it (HTTP/1) or resets the stream (HTTP/2).
		panic(http.ErrAbortHandler)
	}
}

// walk takes the trip through the stages. A panic in one of them, or in the
// handler behind it, is internal.error.
func (g *Gateway) walk(t *trip) (reason problem.Reason) {
	defer func() {
		switch v := recover(); {
		case v == nil:
		case v == http.ErrAbortHandler:
			reason = problem.InternalError
			t.cause = http.ErrAbortHandler
		default:
			reason = problem.InternalError
			t.cause = fmt.Errorf("panic in stage %s: %v\n%s", g.stages[t.stage].name, v, debug.Stack())
		}
	}()
	for i := range g.stages {
		t.stage = i
		if reason := g.stages[i].run(g, t); reason != problem.OK {
			return reason
		}
		if t.recorded { // the record has closed the times
			break
		}
		now := g.clock()
		t.times[i] = now.Sub(t.boundary)
		t.boundary = now
	}
	return problem.OK
}

// finish ends the trip: what a stage refused is answered, and whatever happened
// has its record. It reports false when the client holds a part of an answer
// that will not become whole.
func (g *Gateway) finish(t *trip, reason problem.Reason) (whole bool) {
	reason = g.whoWent(reason)
	switch {
	case reason == problem.OK && t.recorded && t.out.started:
		return true
	case reason == problem.OK: // a defect, and net/http would make an empty 200 of it
		t.cause = errors.New("the trip ended without a record or without an answer")
		reason = problem.InternalError
	}
	// net/http cancels the request when its body comes too slowly; what failed
	// first is why it failed.
	if fault := t.body.fault(); fault != problem.OK && reason == problem.ClientClosed {
		reason = fault
	}
	g.logCause(t, reason)
	if t.out.started {
		t.reason = reason
		_ = g.record(t) // the answer is broken off in any case
		return false
	}
	return g.refuseWith(t, reason)
}

// refuseWith answers with the problem document of reason, and the challenge
// that a 401 must carry (RFC 9110 section 15.5.2).
func (g *Gateway) refuseWith(t *trip, reason problem.Reason) (whole bool) {
	defer func() {
		// The answer to a refusal is our own code over static text. Should it panic
		// all the same, the trip still leaves its record.
		if v := recover(); v != nil {
			t.reason = problem.InternalError
			t.cause = fmt.Errorf("panic in refusal: %v\n%s", v, debug.Stack())
			g.logCause(t, problem.InternalError)
			_ = g.record(t)
			whole = false
		}
	}()
	g.challenge(t, reason)
	g.refuse(t, reason)
	return true
}

// logCause logs the private cause of a refusal. A refusal without one is told
// by its record alone: a flood of refusals must not become a flood of lines.
func (g *Gateway) logCause(t *trip, reason problem.Reason) {
	if t.cause == nil || reason == problem.ClientClosed || !g.lines.take(t.start) {
		return
	}
	g.log.Error("request failed",
		"correlation_id", t.CorrelationID, "trace_id", t.Trace.String(),
		"listener", t.Listener, "stage", g.stages[t.stage].name, "reason", reason.Code(), "cause", t.cause)
}
