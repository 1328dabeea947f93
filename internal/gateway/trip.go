package gateway

import (
	"net/http"
	"time"

	"sallyport.dev/internal/httpsig"
	"sallyport.dev/internal/journal"
	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/upstream"
	"sallyport.dev/zone"
)

// trip is one request on its way through the doors. It belongs to the
// goroutine that serves the request, and to the pool after that: nothing may
// keep a trip, or what it points to, once the handler has returned. The body is
// the exception: http.Transport may still hold it, so it is never used again.
type trip struct {
	w        http.ResponseWriter // the bounded writer below
	r        *http.Request       // as received; never forwarded itself and its Body never read: see body
	listener *listener
	conn     *conn // facts of the connection; nil in tests of single stages
	start    time.Time
	obs.Request

	path         string      // canonical escaped path: matched, authorized, recorded and forwarded as these bytes
	query        string      // raw query without the '?': likewise
	hasQuery     bool        // a '?' was there, even when nothing follows it
	host         string      // Host without port, lower case; one of the listener's hosts
	encodedSlash bool        // path holds %2F: only a route that declares it takes it
	values       zone.Values // path values of the matched route
	route        *route      // nil until the route stage
	cred         Credential
	principal    *policy.Principal   // never nil after authenticate
	entry        *entry              // where the principal was found; holds its inside tokens
	inside       string              // inside token; empty for local routes
	insideUntil  time.Time           // half its life: what is sent later gets another
	digest       string              // Content-Digest of the body; empty where the proof does not cover it
	handshake    *upstream.Handshake // of a WebSocket; nil: the request is none
	spooled      *httpsig.Body       // the body, read to its end; nil when it travels as it comes
	room         *roomed             // what it takes; likewise

	extra    http.Header // goes on the answer, whoever writes it: Allow, Retry-After, RateLimit, WWW-Authenticate
	body     *body       // the bounded body; nil when the request has none
	out      writer      // what w is; knows whether the head of the answer has left
	reason   problem.Reason
	detail   string   // public detail of a refusal, mostly empty
	cause    error    // private cause of a refusal, for the log
	status   int      // status of the answer
	tags     []string // of the record
	bytesOut int64    // body bytes sent
	tunnelIn int64    // bytes received in a tunnel, when it has ended

	stage    int // index of the stage under way
	boundary time.Time
	times    [maxStages]time.Duration
	micros   [maxStages]uint32 // times as the record has them
	rec      journal.Record
	recorded bool // the one record of the trip has been handed to the journal
	opened   bool // a stream's open record has been, too
	unkept   bool // the journal has said that it takes no record
	unread   bool // net/http refused the head: no stage has run
}

// bytesIn is how many bytes of the body were read.
func (t *trip) bytesIn() int64 {
	if t.body == nil {
		return t.tunnelIn
	}
	return t.body.count()
}

// begin takes a trip from the pool and gives it its names, so that whatever
// happens after can be found again. c is nil in tests of single stages.
func (g *Gateway) begin(l *listener, c *conn, w http.ResponseWriter, r *http.Request) *trip {
	t, _ := g.trips.Get().(*trip)
	if t == nil {
		t = &trip{extra: make(http.Header, 4)}
	}
	now := g.clock()
	t.r, t.listener, t.conn, t.start, t.boundary = r, l, c, now, now
	t.out = writer{inner: w, trip: t, grace: g.graces.reader, rate: l.Limits.BodyRate}
	t.w = &t.out
	t.reason = problem.InternalError
	t.Listener = l.Name
	if r.Body != nil && r.Body != http.NoBody {
		t.body = newBody(r, w, l.Limits, g.graces.body)
	}
	label(t)
	return t
}

// settle leaves the connection fit for its next request, or for its end.
func (g *Gateway) settle(t *trip) {
	if t.body != nil {
		t.body.retire()
	}
	if t.spooled != nil {
		_ = t.spooled.Close() // a file without a name
	}
	if t.room != nil {
		t.room.leave()
	}
	t.out.settle()
	if t.conn != nil && t.r.ProtoMajor == 2 {
		t.conn.ended(t.r.Context().Err() != nil)
	}
}

// recycle puts the trip back, empty but for the memory that is worth keeping.
func (g *Gateway) recycle(t *trip) {
	t.values.Reset()
	clear(t.extra)
	clear(t.tags)
	values, extra, tags := t.values, t.extra, t.tags[:0]
	*t = trip{values: values, extra: extra, tags: tags}
	g.trips.Put(t)
}
