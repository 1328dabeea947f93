package gateway

import (
	"errors"
	"os"

	"sallyport.dev/internal/httpsig"
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// proveStage makes ready what the proof to the inner door covers. A digest is
// known when the body has been read to its end, so it is read before an
// instance is asked: in memory up to 64 KiB, then into a file without a name.
// What the proof itself is bound to is the connection, so it is made when the
// head is written (innerDoors.prove).
func proveStage(g *Gateway, t *trip) problem.Reason {
	if !t.route.digested() {
		return problem.OK
	}
	t.digest = httpsig.EmptyDigest
	if t.body == nil || t.r.ContentLength == 0 {
		return problem.OK
	}
	t.room = &roomed{r: t.body, room: &g.room, client: t.Client}
	spooled, err := g.spool.Take(t.room, t.route.bodyLimit)
	if err != nil {
		reason := t.failed(err, problem.InternalError)
		if reason == problem.ProofUnavailable {
			t.extra["Retry-After"] = []string{"1"}
		}
		return reason
	}
	t.spooled = spooled
	t.digest = httpsig.FormatDigest(spooled.Sum)
	return g.exchangeAgain(t)
}

// digested says whether the proof of the route's requests covers their content.
func (rt *route) digested() bool {
	return rt.local == nil && rt.Service.InnerDoor() && rt.Proof != zone.ProofChannel && rt.Stream == zone.NoStream
}

// signed says whether each request of the route has an inside token of its own.
func (rt *route) signed() bool {
	return rt.local == nil && rt.Service.InnerDoor() && rt.Proof == zone.ProofSignature
}

// spooledBody is a body that is there to its end, as upstream takes it.
type spooledBody struct {
	*httpsig.Body
}

// Retire ends it: nothing has to be thrown out, since its reads do not wait.
func (b *spooledBody) Retire() {}

// openSpool makes the folder of spooled bodies.
func openSpool(dir string) (*httpsig.Spool, error) {
	if dir == "" {
		return nil, errors.New("gateway: no folder for spooled bodies")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return httpsig.NewSpool(dir, memoryRoom+filesRoom) // room keeps bodies well below that
}
