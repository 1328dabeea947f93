package gateway

import (
	"fmt"
	"strings"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/upstream"
)

// insideFault reports whether an inner door refuses because of the way from us to
// it (token, proof, peer, map) and not because of who the client is and what it
// asks for. What it has no room or no map for is 503 as it stands.
func insideFault(said problem.Reason) bool {
	family, _, _ := strings.Cut(said.Code(), ".")
	return (family == "inside" || family == "proof") && said.Status() < 500
}

// answerFault tells the client that the service answered badly: nothing that it
// could send would mend the fault, and the inside is none of its business. The
// record has the reason that the inner door gave.
func (g *Gateway) answerFault(t *trip, x *upstream.Exchange) problem.Reason {
	buf := pieces.Get().(*[pieceSize]byte)
	defer pieces.Put(buf)
	_, _ = fill(x, buf[:]) // a refusal read to its end leaves its connection fit for the next request
	x.Close()
	t.cause = fmt.Errorf("the inner door of service %s refused with %d", t.route.serviceName, x.Status)
	g.logCause(t, t.reason)
	h, body := document(t, problem.UpstreamProtocol)
	g.reply(t, problem.UpstreamProtocol.Status(), h, body)
	return problem.OK
}
