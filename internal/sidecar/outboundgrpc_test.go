package sidecar

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"sallyport.dev/guard/guardtest"
)

// An event stream that the service opened at another outlasts what bounds every
// other call.
func TestCalledEventStreamLasts(t *testing.T) {
	const bound = 100 * time.Millisecond
	for kind, whole := range map[string]bool{"text/event-stream": true, "text/plain": false} {
		t.Run(kind, func(t *testing.T) {
			service, to := newHolding(), newCallees()
			to.answer = func(r *http.Request) (*http.Response, error) {
				in, out := io.Pipe()
				go func() {
					_, _ = io.WriteString(out, "data: first\n\n")
					<-time.After(3 * bound)
					_, _ = io.WriteString(out, "data: second\n\n")
					_ = out.Close()
				}()
				return response(r, 200, http.Header{"Content-Type": {kind}}, in), nil
			}
			b := newBed(t, serviceOn(t, service.ServeHTTP), to.option, func(c *Config, _ *door) { c.AnswerTime = bound })
			defer close(service.release)
			h, _ := b.open(service, "/mine", b.guard.Token("usr_1", guardtest.Roles("support")))
			res := b.call("GET", "http://accounts/accounts/1", http.Header{headerHandle: {h}}, nil)
			body, err := io.ReadAll(res.Body)
			if got := err == nil && strings.HasSuffix(string(body), "data: second\n\n"); got != whole {
				t.Errorf("got %q, %v; whole %v, want %v", body, err, got, whole)
			}
		})
	}
}
