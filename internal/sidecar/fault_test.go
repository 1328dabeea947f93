package sidecar

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"sallyport.dev/internal/problem"
)

// TestBrokenAnswerUnderTheGuardsHold: the whole JSON document has come, and more
// was announced. Held back or not, it is broken off, whatever server it runs in.
func TestBrokenAnswerUnderTheGuardsHold(t *testing.T) {
	answer := "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 21\r\n\r\n{\"customer\":\"usr_1\"}"
	for _, c := range []struct {
		name, answer string
		broken       bool
	}{
		{"whole", strings.Replace(answer, "21", "20", 1), false},
		{"one byte is missing", answer, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := prepare(t, rawService(t, c.answer))
			w := httptest.NewRecorder()
			defer func() {
				if got := recover(); (got != nil) != c.broken || got != nil && got != http.ErrAbortHandler {
					t.Errorf("panic %v with %d, want one: %v", got, w.Code, c.broken)
				}
			}()
			b.guard.Protect(b.sidecar.inbound).ServeHTTP(w, b.guard.Request("GET", "/orders/7", b.guard.Token("usr_1")))
			if w.Code != 200 || !strings.Contains(w.Body.String(), "usr_1") {
				t.Errorf("got %d %s", w.Code, w.Body)
			}
		})
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// TestSenderIsNotTheService: a body that cannot be read is not the service's fault.
func TestSenderIsNotTheService(t *testing.T) {
	upstream := serviceOn(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	for _, c := range []struct {
		name string
		err  error
		want problem.Reason
	}{
		{"digest", problem.New(problem.ProofDigest, nil), problem.ProofDigest},
		{"too large", &http.MaxBytesError{Limit: 1}, problem.RequestBodyTooLarge},
		{"too slow", os.ErrDeadlineExceeded, problem.RequestTimeout},
		{"gone", errors.New("connection reset"), problem.ClientClosed},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := prepare(t, upstream)
			r := b.guard.Request("POST", "/open", b.guard.Token("anonymous"))
			r.Body, r.ContentLength = io.NopCloser(failing{c.err}), 10
			w := httptest.NewRecorder()
			b.guard.Protect(b.sidecar.inbound).ServeHTTP(w, r)
			if got := w.Header().Get(problem.ReasonHeader); got != c.want.Code() || w.Code != c.want.Status() {
				t.Errorf("got %d %s, want %s", w.Code, got, c.want.Code())
			}
		})
	}
}
