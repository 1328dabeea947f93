package gateway

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// TestFresh: what is remembered of a credential is believed while revocations are
// heard of. When they are not, each request asks; when nobody answers, it is
// refused, however well the credential is remembered.
func TestFresh(t *testing.T) {
	var deaf atomic.Bool
	var stands clock // what is remembered does not grow old meanwhile
	d := openDoor(t, []*zone.Route{{Method: "GET", Path: "/mine", Allow: zone.AllowUser}}, func(c *Config) {
		c.Clock = stands.now
		c.Fresh = func(time.Time) bool { return !deaf.Load() }
	})
	c := d.client(false)
	ask := func() result { return d.do(c, "GET", "/mine", "", "Authorization: Bearer "+aliceToken) }
	asked := func() int {
		d.auth.mu.Lock()
		defer d.auth.mu.Unlock()
		return d.auth.asked
	}
	answers := func(err error) {
		d.auth.mu.Lock()
		defer d.auth.mu.Unlock()
		d.auth.err = err
	}
	for _, step := range []struct {
		what   string
		deaf   bool
		err    error
		status int
		asks   int // of two requests
	}{
		{"first", false, nil, 200, 1},
		{"remembered", false, nil, 200, 0},
		{"remembered, and nobody answers", false, errors.New("away"), 200, 0},
		{"deaf", true, nil, 200, 2},
		{"deaf, and nobody answers", true, errors.New("away"), 503, 2},
		{"deaf, and revoked", true, problem.New(problem.AuthRevoked, nil), 401, 2},
		{"heard again", false, nil, 200, 0},
	} {
		deaf.Store(step.deaf)
		answers(step.err)
		before := asked()
		for range 2 {
			if got := ask(); got.status != step.status {
				t.Errorf("%s: got %d %s, want %d", step.what, got.status, got.body, step.status)
			}
		}
		if n := asked() - before; n != step.asks {
			t.Errorf("%s: two requests asked %d times, want %d", step.what, n, step.asks)
		}
	}
}
