package gateway

import (
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// forwardStage sends the request to the route's service and the answer to the
// client. OK means that the answer has been written and recorded. With any other
// reason either nothing has been written yet, or the head has left and the rest
// will not: then the connection must be broken off.
func forwardStage(g *Gateway, t *trip) problem.Reason {
	if t.route.Stream == zone.StreamGRPC {
		return g.forwardCall(t)
	}
	out := outgoings.Get().(*outgoing)
	t.outgoing(out)
	x, err := t.route.service.Send(t.r.Context(), &out.Request)
	*out = outgoing{}
	outgoings.Put(out)
	if err != nil {
		return t.notSent(err)
	}
	defer x.Close()
	return g.answer(t, x)
}

// notSent says why there is no answer.
func (t *trip) notSent(err error) problem.Reason {
	t.cause = err
	reason := problem.ReasonOf(err)
	if reason == problem.UpstreamBusy {
		t.extra["Retry-After"] = []string{"1"}
	}
	return reason
}

// outgoing fills in the request that the trip has become.
func (t *trip) outgoing(out *outgoing) {
	out.Method, out.Path, out.Query, out.HasQuery, out.Host = t.r.Method, t.path, t.query, t.hasQuery, t.r.Host
	out.Client, out.Fields, out.Handshake = t.Client, out, t.handshake
	out.received = t.r.Header
	out.inside, out.correlation, out.trace = t.inside, t.CorrelationID, t.Trace
	out.route, out.digest, out.client = t.route, t.digest, clientField(t.Client, t.listener.Name)
	switch {
	case t.spooled != nil:
		if out.Length = t.spooled.Size; out.Length > 0 {
			out.Body = &spooledBody{t.spooled}
		}
	case t.body != nil && t.r.ContentLength != 0:
		out.Body, out.Length = t.body, t.r.ContentLength
	}
	if t.route.Service.PlainHeaders {
		out.plain = t.principal
	}
}
