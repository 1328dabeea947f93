package guard

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"sallyport.dev/guard/internal/channel"
	"sallyport.dev/internal/httpsig"
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

const (
	nobody    = "-"              // Sallyport-Client of a request that no outside client is behind
	maxClient = 256              // bytes of it
	bodyStall = 30 * time.Second // that a body may give nothing
	bodyLeft  = 5 * time.Second  // for the body of a request that is refused
)

// prove checks that the peer sent this very request, in the strength that the
// route demands or a greater one, and takes over the client that it names. It
// returns the digest that the proof covers; empty where it covers none.
func (g *Guard) prove(r *http.Request, in *inbound, ru *rule, ch *channel.Channel) (digest string, err error) {
	m, err := httpsig.FromRequest(r)
	if err != nil {
		return "", err
	}
	if ch.Assumed() {
		in.client = clientOf(m.Client)
		return "", nil
	}
	proof, err := httpsig.ProofFrom(r.Header)
	if err != nil {
		return "", err
	}
	now := g.cfg.Clock()
	switch strength := proof.Strength(); strength {
	case httpsig.Channel:
		in.client = clientOf(m.Client)
		return "", ru.proof.Accepts(strength)
	case httpsig.MAC:
		verifier, err := ch.MAC()
		if err != nil {
			return "", problem.New(problem.ProofInvalid, err)
		}
		if err := verifier.Verify(&m, ru.proof, proof, now); err != nil {
			return "", err
		}
	case httpsig.Signature:
		m.Sender = in.peer.String()
		_, err := g.signatures.Verify(context.WithValue(r.Context(), judgedMethod{}, r.Method), &m, ru.proof, proof, now)
		if err != nil {
			return "", err
		}
	default:
		return "", ru.proof.Accepts(strength)
	}
	// What was covered is what is used: the id that the guard goes by is not one
	// that it made for want of a good one.
	if m.Correlation != in.correlationID {
		return "", problem.New(problem.ProofInvalid, errors.New("the correlation id is not a canonical UUID v4"))
	}
	in.client = m.Client
	return m.Digest, nil
}

// clientOf returns a client that no proof covers in a form that can be passed on.
func clientOf(text string) string {
	if text == "" || len(text) > maxClient {
		return nobody
	}
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c > '~' || c == ',' {
			return nobody
		}
	}
	return text
}

// takeBody returns the request with a body that is bounded, and, where it has a
// digest, complete and checked before anybody acts on it. release gives back
// what the body takes. The request that came is not changed.
func (g *Guard) takeBody(w http.ResponseWriter, r *http.Request, ru *rule, digest string) (_ *http.Request, release func(), err error) {
	release = func() {}
	if r.Body == nil || r.Body == http.NoBody {
		if digest != "" {
			err = httpsig.CheckDigest(digest, sha256.Sum256(nil))
		}
		return r, release, err
	}
	if r.ContentLength > ru.body && ru.route.Stream != zone.StreamGRPC {
		return r, release, problem.New(problem.RequestBodyTooLarge, nil)
	}
	out := r.WithContext(r.Context())
	out.Trailer = nil                                       // headers that come after all that the proof covers
	if digest == "" && ru.route.Stream == zone.StreamGRPC { // bounded by its silence, see streamBody
		return out, release, nil
	}
	patient := newPatientBody(w, r)
	if digest == "" {
		out.Body = &boundedBody{http.MaxBytesReader(w, patient, ru.body), patient}
		return out, release, nil
	}
	body, err := g.spool.TakeSized(patient, r.ContentLength, ru.body)
	if err != nil {
		return r, release, bodyError(err)
	}
	if err := httpsig.CheckDigest(digest, body.Sum); err != nil {
		_ = body.Close()
		return r, release, err
	}
	out.Body, out.ContentLength, out.TransferEncoding = body, body.Size, nil
	return out, func() { _ = body.Close() }, nil
}

// bodyError gives a body that cannot be read a reason.
func bodyError(err error) error {
	switch {
	case problem.ReasonOf(err) != problem.InternalError:
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return problem.New(problem.RequestTimeout, err)
	default:
		return problem.New(problem.RequestMalformed, err)
	}
}

// boundedBody is a body that comes as it comes.
type boundedBody struct {
	io.ReadCloser
	patient *patientBody
}

// Retire ends the body for good: a Read under way is thrown out, and none begins
// (upstream.Body).
func (b *boundedBody) Retire() {
	b.patient.retired.Store(true)
	_ = b.patient.conn.SetReadDeadline(time.Unix(1, 0))
}

// patientBody bounds the wait for each piece of a body.
type patientBody struct {
	io.ReadCloser
	conn    *http.ResponseController
	http2   bool
	retired atomic.Bool
}

// newPatientBody bounds the wait for the first piece as well, whoever waits: in
// HTTP/1.1 net/http itself reads what a handler has left unread.
func newPatientBody(w http.ResponseWriter, r *http.Request) *patientBody {
	b := &patientBody{ReadCloser: r.Body, conn: http.NewResponseController(w), http2: r.ProtoMajor >= 2}
	if !b.http2 {
		b.until(bodyStall)
	}
	return b
}

func (b *patientBody) Read(p []byte) (int, error) {
	b.until(bodyStall)
	if b.retired.Load() { // after the deadline was set: Retire sets another after it said so
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := b.ReadCloser.Read(p)
	if (err == io.EOF || b.http2) && !b.retired.Load() { // there the deadline ends the body also while nobody reads
		_ = b.conn.SetReadDeadline(time.Time{})
	}
	return n, err
}

func (b *patientBody) until(d time.Duration) {
	_ = b.conn.SetReadDeadline(time.Now().Add(d)) // a recorder in a test has none
}
