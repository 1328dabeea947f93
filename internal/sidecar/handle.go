package sidecar

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"sync"
)

// handle names an open request towards its service. It is a capability: who
// holds it may make the service's declared calls as that request.
type handle [16]byte

const handleText = 22 // characters of a handle: base64url without padding

// handles are the requests that are open. The table is the bound on them, too.
type handles struct {
	most int

	mu   sync.Mutex
	open map[handle]context.Context // guarded by mu; the request's own, from under guard.Protect
}

func newHandles(most int) *handles {
	return &handles{most: most, open: make(map[handle]context.Context)}
}

// issue opens a handle for a request; false: the table is full.
func (t *handles) issue(request context.Context) (handle, bool) {
	var h handle
	_, _ = rand.Read(h[:]) // crypto/rand.Read never fails (Go 1.24)
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.open) >= t.most {
		return handle{}, false
	}
	t.open[h] = request
	return h, true
}

// withdraw ends a handle. What was begun under it goes on, but for WebSockets.
func (t *handles) withdraw(h handle) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, h)
}

// find returns the context of an open request. A lookup by 128 random bits tells
// nothing by its time: the map's hash is keyed.
func (t *handles) find(text string) (context.Context, bool) {
	h, ok := parseHandle(text)
	if !ok {
		return nil, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	request, ok := t.open[h]
	return request, ok
}

// appendTo appends the header value. There is no String: nothing should print a
// handle by accident.
func (h *handle) appendTo(dst []byte) []byte { return base64.RawURLEncoding.AppendEncode(dst, h[:]) }

// parseHandle takes the one spelling of a handle: the spare bits of its last
// character are zero.
func parseHandle(text string) (h handle, ok bool) {
	if len(text) != handleText {
		return handle{}, false
	}
	// The decoder passes over line breaks, so the length is checked again after it.
	var raw [handleText]byte
	n, err := base64.RawURLEncoding.Strict().Decode(raw[:], []byte(text))
	if err != nil || n != len(h) {
		return handle{}, false
	}
	copy(h[:], raw[:n])
	return h, true
}
