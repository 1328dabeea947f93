package gateway

import (
	"crypto/sha256"
	"errors"
	"os"
	"strings"

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
	if !t.route.digested() && !t.route.Signed {
		return problem.OK
	}
	if t.body == nil || t.r.ContentLength == 0 {
		return t.digested(sha256.Sum256(nil))
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
	if reason := t.digested(spooled.Sum); reason != problem.OK {
		return reason
	}
	return g.exchangeAgain(t)
}

// digested takes the sum of the body, when all of it is there: it must be what the
// caller has signed, where one has, and is what the inner door is shown.
func (t *trip) digested(sum [sha256.Size]byte) problem.Reason {
	if t.route.Signed {
		if said := t.r.Header[httpsig.DigestHeader]; len(said) > 0 || sum != sha256.Sum256(nil) {
			if err := httpsig.CheckDigest(strings.Join(said, ", "), sum); err != nil {
				return t.failed(err, problem.ProofDigest)
			}
		}
	}
	if t.route.digested() {
		t.digest = httpsig.FormatDigest(sum)
	}
	return problem.OK
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
