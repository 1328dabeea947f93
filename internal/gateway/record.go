package gateway

import (
	"time"

	"sallyport.dev/internal/journal"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
)

// recordStage proves that a trip which came through has left its record; the
// stage that wrote the answer has kept it, before the last byte.
func recordStage(g *Gateway, t *trip) problem.Reason { return g.record(t) }

// whoWent tells a client that went away from one that was cut when the drain was over.
func (g *Gateway) whoWent(reason problem.Reason) problem.Reason {
	if reason == problem.ClientClosed && g.cutting.Load() {
		return problem.ZoneDraining
	}
	return reason
}

// record keeps the one journal record of a trip, with reason, status and sizes
// as they stand, and adds it to the metrics. A second call does nothing. The
// answer may leave only when it returns OK: any other reason is of the journal
// family, and then the answer must be that refusal.
func (g *Gateway) record(t *trip) problem.Reason {
	if t.recorded {
		return problem.OK
	}
	t.recorded = true
	t.reason = g.whoWent(t.reason)
	kind := journal.KindRequest
	if t.opened {
		kind = journal.KindEnd
	}
	now := g.lap(t)
	kept := g.append(t, kind, now)
	if kept != problem.OK {
		t.reason = kept
	}
	took := g.clock().Sub(now)
	g.timers.observe(len(g.stages)-1, took)
	if !t.unread {
		for i := range min(t.stage+1, len(g.stages)-1) {
			g.timers.observe(i, t.times[i])
		}
	}
	rt := t.route
	if rt == nil {
		rt = t.listener.unrouted
	}
	rt.observe(t.reason, now.Sub(t.start))
	return kept
}

// recordOpen keeps the record that a stream leaves before its first byte; the
// one at its end follows by recordEnd.
func (g *Gateway) recordOpen(t *trip) problem.Reason {
	now := g.clock()
	kept := g.append(t, journal.KindOpen, now)
	t.opened, t.unkept = kept == problem.OK, kept != problem.OK
	return kept
}

// recordEnd keeps the record that a stream leaves at its end. Its bytes have
// left already: should the journal fail now, the open record tells of it.
func (g *Gateway) recordEnd(t *trip) {
	if kept := g.record(t); kept != problem.OK {
		g.log.Error("end of a stream not recorded", "correlation_id", t.CorrelationID, "reason", kept.Code())
	}
}

// lap closes the time of the stage under way.
func (g *Gateway) lap(t *trip) time.Time {
	now := g.clock()
	t.times[t.stage] = now.Sub(t.boundary)
	t.boundary = now
	return now
}

// append fills the record and hands it to the journal.
func (g *Gateway) append(t *trip, kind journal.Kind, now time.Time) problem.Reason {
	// A journal that takes no record is told of by the metrics alone.
	// Only our own journal counts: a service may well say this of its own.
	if t.unkept {
		return problem.OK
	}
	for i := range g.stages {
		t.micros[i] = uint32(min(max(0, t.times[i].Microseconds()), 1<<32-1)) // clamped
	}
	t.rec = journal.Record{
		Kind: kind, Time: t.start,
		CorrelationID: t.CorrelationID, TraceID: t.Trace.String(),
		Listener: t.Listener, Method: recordedMethod(t.r.Method), Client: t.Client,
		Principal: policy.AnonymousSubject, Reason: t.reason.Code(), Status: t.status,
		BytesIn: t.bytesIn(), BytesOut: t.bytesOut, Duration: now.Sub(t.start),
		Stages: t.micros[:len(g.stages)], Tags: t.tags,
	}
	if t.route != nil {
		t.rec.Service, t.rec.Route = t.route.serviceName, t.route.pattern
	}
	if t.principal != nil {
		t.rec.Principal = t.principal.Subject
	}
	write := g.journal.Append
	if t.route != nil && t.route.durable {
		write = g.journal.AppendSync
	}
	if err := write(&t.rec); err != nil {
		reason := problem.ReasonOf(err)
		if reason != problem.JournalFull {
			reason = problem.JournalUnavailable
		}
		if g.lines.take(now) {
			g.log.Error("record not kept", "correlation_id", t.CorrelationID, "error", err)
		}
		return reason
	}
	return problem.OK
}

// recordedMethod keeps a made-up method from filling records: it is a token of
// any length (RFC 9110 section 9.1).
func recordedMethod(m string) string {
	const most = 16
	if len(m) > most {
		return m[:most] + "…"
	}
	return m
}
