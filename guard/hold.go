package guard

import (
	"bufio"
	"errors"
	"maps"
	"net"
	"net/http"
	"time"
)

var (
	errHeldFull = errors.New("guard: the answer is too large to be held back until its owner is known")
	errHeld     = errors.New("guard: the connection may not be taken over before the owner is known")
	errDenied   = errors.New("guard: the object is not the principal's; the answer is withheld")
)

// hold is a ResponseWriter that keeps an answer, headers included, from the
// writer behind it until it may leave. It deliberately has no Unwrap and is no
// io.ReaderFrom: there is no way round it. Like every ResponseWriter it belongs
// to the handler's goroutine.
type hold struct {
	w         http.ResponseWriter
	ownership *ownership // says when the answer may leave; nil: when release is called

	limit    int // bytes held at most
	header   http.Header
	sent     http.Header // header as it was when the status was written
	status   int         // 0: not written
	body     []byte
	full     bool // limit was exceeded: the answer is no longer whole
	released bool // the answer goes straight to w
}

func newHold(w http.ResponseWriter, limit int, o *ownership) *hold {
	return &hold{w: w, limit: limit, ownership: o, header: w.Header().Clone()}
}

// Header returns the headers of the answer. Until it leaves they are apart from
// those of the writer behind.
func (h *hold) Header() http.Header {
	if h.released {
		return h.w.Header()
	}
	if h.header == nil {
		h.header = make(http.Header)
	}
	return h.header
}

func (h *hold) WriteHeader(status int) {
	if h.may() {
		h.w.WriteHeader(status)
		return
	}
	if h.status != 0 || status < 200 { // informational answers are not passed on
		return
	}
	h.status, h.sent = status, h.Header().Clone()
}

func (h *hold) Write(b []byte) (int, error) {
	switch {
	case h.may():
		return h.w.Write(b)
	case h.denied():
		return 0, errDenied
	case h.full || len(b) > h.limit-len(h.body):
		h.full, h.body = true, nil
		return 0, errHeldFull
	}
	if h.status == 0 {
		h.WriteHeader(http.StatusOK)
	}
	h.body = append(h.body, b...)
	return len(b), nil
}

// may says whether the answer may leave, and lets go what is held when it may.
func (h *hold) may() bool {
	if h.ownership == nil {
		return h.released
	}
	if h.ownership.said.Load() != owned || h.full {
		return false
	}
	h.release(true)
	return true
}

func (h *hold) denied() bool { return h.ownership != nil && h.ownership.said.Load() == denied }

// release sends what is held, without the body where the request has no use for
// it (HEAD), and lets through what follows.
func (h *hold) release(body bool) {
	if h.released {
		return
	}
	h.released = true
	to, from := h.w.Header(), h.sent
	if h.status == 0 {
		from = h.header
	}
	clear(to)
	maps.Copy(to, from)
	if h.status != 0 {
		h.w.WriteHeader(h.status)
	}
	if body && len(h.body) > 0 {
		_, _ = h.w.Write(h.body) // the client may be gone; the next Write tells the handler
	}
	h.body = nil
}

// Flush does nothing while the answer is held.
func (h *hold) Flush() { _ = h.FlushError() }

// FlushError is Flush for http.ResponseController.
func (h *hold) FlushError() error {
	if !h.may() {
		return nil
	}
	return http.NewResponseController(h.w).Flush()
}

// Hijack hands out the connection only where an answer might leave.
func (h *hold) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if !h.may() {
		return nil, nil, errHeld
	}
	return http.NewResponseController(h.w).Hijack()
}

// SetReadDeadline is for http.ResponseController.
func (h *hold) SetReadDeadline(t time.Time) error {
	return http.NewResponseController(h.w).SetReadDeadline(t)
}

// SetWriteDeadline is for http.ResponseController.
func (h *hold) SetWriteDeadline(t time.Time) error {
	return http.NewResponseController(h.w).SetWriteDeadline(t)
}

// EnableFullDuplex is for http.ResponseController.
func (h *hold) EnableFullDuplex() error {
	return http.NewResponseController(h.w).EnableFullDuplex()
}

// nowhere is the writer behind an answer that never leaves.
type nowhere struct{ header http.Header }

func (n nowhere) Header() http.Header         { return n.header }
func (n nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (n nowhere) WriteHeader(int)             {}
