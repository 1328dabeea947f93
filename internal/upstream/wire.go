package upstream

import (
	"bufio"
	"crypto/tls"
	"errors"
	"math"
	"net"
	"net/textproto"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	headLimit    = 64 << 10 // bytes of an answer's head, its 1xx answers included
	trailerLimit = 8 << 10  // bytes read for a trailer section, which is dropped
	interimLimit = 16       // 1xx answers before the final one
	readBuffer   = 4 << 10
	outKept      = 16 << 10 // a larger buffer is not kept with an idle connection
)

var errHeadTooLarge = errors.New("the head of the answer is too large")

// Conn is a connection to an instance as a prover sees it. One request at a time
// has it.
type Conn struct {
	// Net is what Config.Dial returned. A prover may ask it for its state, but
	// neither read, write nor close it.
	Net net.Conn
	// State is the prover's own: nil at first, and kept for as long as the connection.
	State any
	// Until is the prover's to set: no request begins on the connection from then on.
	// Zero: no such bound.
	Until time.Time
}

// wire is one HTTP/1.1 connection to an instance. One exchange at a time owns
// it; the pool owns it between two. It is our own and not http.Transport's
// because the connection must be known before the head is built (the proof of
// the inner door is bound to it), because Transport sends a request again on its
// own judgement, and because Transport spends two goroutines on each connection.
type wire struct {
	Conn
	under   net.Conn        // what lies under TLS; Net itself when there is none
	raw     syscall.RawConn // of the socket; nil when nothing says that it has one
	layered bool            // something between us and the socket may hold bytes back
	br      *bufio.Reader   // reads through wire.Read
	tp      textproto.Reader
	out     []byte // the head of the request, with a small body behind it

	allowance int64         // bytes that may still be read from the connection
	piece     time.Duration // bounds one read when not zero
	end       time.Time     // bounds all reads when not zero

	idleSince time.Time
	idleMax   time.Duration // as the service told by Keep-Alive; 0: it did not
	reused    bool

	peek func(fd uintptr) bool // made once: a closure for each check would be garbage
	seen bool                  // outcome of peek: the connection is not silent
}

func newWire(conn net.Conn) *wire {
	w := &wire{Conn: Conn{Net: conn}, under: conn, allowance: headLimit}
	w.br = bufio.NewReaderSize(w, readBuffer)
	w.tp.R = w.br
	if t, ok := conn.(*tls.Conn); ok {
		w.under = t.NetConn()
	}
	socket := lowest(conn)
	w.layered = socket != conn
	if c, ok := socket.(syscall.Conn); ok {
		if raw, err := c.SyscallConn(); err == nil {
			w.raw = raw
			w.peek = w.peekFD
		}
	}
	return w
}

// lowest returns the connection under TLS and whatever else has NetConn.
func lowest(conn net.Conn) net.Conn {
	for {
		upper, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			return conn
		}
		conn = upper.NetConn()
	}
}

// Read reads from the connection within the allowance and the time bounds. Only
// the buffered reader calls it.
func (w *wire) Read(p []byte) (int, error) {
	if w.allowance <= 0 {
		return 0, errHeadTooLarge
	}
	if int64(len(p)) > w.allowance {
		p = p[:w.allowance]
	}
	if w.piece > 0 {
		deadline := time.Now().Add(w.piece)
		if !w.end.IsZero() && w.end.Before(deadline) {
			deadline = w.end
		}
		if err := w.Net.SetReadDeadline(deadline); err != nil {
			return 0, err
		}
	}
	n, err := w.Net.Read(p)
	w.allowance -= int64(n)
	return n, err
}

// awaitHead prepares for the head of an answer: as much as headLimit, until the
// deadline that is set on the connection.
func (w *wire) awaitHead() {
	w.allowance, w.piece, w.end = headLimit, 0, time.Time{}
}

// awaitBody prepares for a body: each piece within its time, all until end,
// which is zero when there is no such bound.
func (w *wire) awaitBody(piece time.Duration, end time.Time) {
	w.allowance, w.piece, w.end = math.MaxInt64, piece, end
}

// usable reports whether an idle connection may carry another request, and sets
// its deadline. A connection on which anything has arrived since its last answer
// is not used: either the service closed it, or it sent bytes that the next
// client would take for its answer.
func (w *wire) usable(idleTime time.Duration, now, deadline time.Time) bool {
	if w.idleMax > 0 && w.idleMax < idleTime {
		idleTime = w.idleMax
	}
	if now.Sub(w.idleSince) >= idleTime || !w.Until.IsZero() && !now.Before(w.Until) {
		return false
	}
	return w.Net.SetDeadline(deadline) == nil && w.silent() &&
		(!w.layered || w.drained() && w.Net.SetReadDeadline(deadline) == nil)
}

// silent reports whether the socket has neither data nor an end to tell. What
// TLS has to say between two answers is no exception: a connection that was told
// of a new key or of its end is one fewer, no more. A connection that nobody can
// look into is not silent.
func (w *wire) silent() bool {
	if w.raw == nil {
		return false
	}
	w.seen = true
	return w.raw.Read(w.peek) == nil && !w.seen
}

// drained reports whether TLS holds nothing that it has taken from the socket
// already: the rest of a record, or another one that came along with the
// answer's last. A read whose time is over reaches what is held and no further,
// and crypto/tls goes on after it. Of a record that is not whole nobody can
// know: it is as if it were still under way.
func (w *wire) drained() bool {
	if w.Net.SetReadDeadline(longAgo) != nil {
		return false
	}
	var b [1]byte
	n, err := w.Net.Read(b[:])
	return n == 0 && errors.Is(err, os.ErrDeadlineExceeded)
}

var longAgo = time.Unix(1, 0) // a deadline that has passed

// noteKeepAlive takes the service's word about how long it keeps an idle
// connection (Keep-Alive: timeout=5 of many frameworks), less a second, so that
// a request does not meet the close half way.
func (w *wire) noteKeepAlive(field string) {
	_, after, found := strings.Cut(field, "timeout=")
	if !found {
		return
	}
	digits, _, _ := strings.Cut(after, ",")
	if n, err := strconv.Atoi(strings.Trim(digits, " \t")); err == nil && n >= 0 && n < 3600 {
		w.idleMax = max(time.Duration(n)*time.Second-time.Second, time.Millisecond)
	}
}

// close closes what lies under TLS, which is not told: its farewell may wait for a
// peer that does not read, and an unfinished message must not look finished.
func (w *wire) close() { _ = w.under.Close() } // nothing is lost: the exchange is over or broken
