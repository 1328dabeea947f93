package sidecar

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// An event stream that the service opened at another outlasts what bounds every
// other call.
func TestCalledEventStreamLasts(t *testing.T) {
	for kind, lasts := range map[string]bool{"text/event-stream": true, "text/plain": false} {
		t.Run(kind, func(t *testing.T) {
			doubling(t, func(bound time.Duration) bool { return calledStream(t, kind, lasts, bound) })
		})
	}
}

// calledStream opens a stream of a kind and reports whether its beginning came in
// half of the bound.
func calledStream(t *testing.T, kind string, lasts bool, bound time.Duration) bool {
	to, begun := newCallees(), make(chan time.Time, 1)
	to.answer = func(r *http.Request) (*http.Response, error) {
		in, out := io.Pipe()
		go func() {
			_, _ = io.WriteString(out, "data: first\n\n") // until the sidecar has read it
			begun <- time.Now()
			until := time.Now().Add(3 * bound)
			if !lasts {
				until = until.Add(patience) // the bound comes first, whoever is late
			}
			for err := error(nil); err == nil && time.Now().Before(until); time.Sleep(bound / 10) {
				_, err = io.WriteString(out, "data: more\n\n")
			}
			_, _ = io.WriteString(out, "data: last\n\n")
			_ = out.Close()
		}()
		return response(r, 200, http.Header{"Content-Type": {kind}}, in), nil
	}
	b := newBed(t, serviceOn(t, http.NotFound), to.option, func(c *Config, _ *door) { c.AnswerTime = bound })
	start := time.Now()
	res, err := b.tryCall("POST", "http://ledger/entries", nil, nil)
	if err != nil {
		t.Logf("with %s: %v", bound, err)
		return false // it was over before its beginning
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	took := time.Since(start)
	select {
	case at := <-begun:
		if at.Sub(start) > bound/2 {
			t.Logf("with %s: it began after %s", bound, at.Sub(start))
			return false
		}
	default:
		t.Logf("with %s: %q, %v, and nothing was read", bound, body, err)
		return false
	}
	whole := err == nil && strings.HasSuffix(string(body), "data: last\n\n")
	if whole != lasts || !strings.HasPrefix(string(body), "data: first\n\n") || took < bound {
		t.Errorf("got %.60q, %v after %s of %s; whole: want %v", body, err, took, bound, lasts)
	}
	return true
}
