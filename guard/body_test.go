package guard

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/internal/httpsig"
	"sallyport.dev/internal/problem"
)

// TestBodyBounds: a body is refused before the handler starts when it is too
// long, whatever its length is said to be.
func TestBodyBounds(t *testing.T) {
	w := newWorld(t, strings.Replace(innerShop, "services:", "listeners:\n  public: {address: \"127.0.0.1:8443\", hosts: [localhost], limits: {body: 100KiB}}\nservices:", 1), time.Now)
	ran := 0
	g := w.guard("orders", nil)
	address := w.open(g, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		ran++
		if len(r.Trailer) > 0 {
			t.Errorf("trailers reach the handler: %v", r.Trailer)
		}
	}))
	gateway := w.ca.Source(t, "gateway", time.Now)
	fits, over := strings.Repeat("x", 100<<10), strings.Repeat("x", 100<<10+1)
	for _, tt := range []struct {
		name, body string
		chunked    bool
		want       string
	}{
		{"fits", fits, false, "200"},
		{"fits, in chunks", fits, true, "200"},
		{"too long", over, false, "request.body_too_large"},
		{"too long, in chunks", over, true, "request.body_too_large"},
	} {
		before := ran
		l := w.dial(address, gateway)
		r := l.prove(message(t, "POST", "/mac", w.token("u1"), tt.body), httpsig.MAC)
		if tt.chunked {
			r.ContentLength, r.Body = -1, io.NopCloser(strings.NewReader(tt.body))
			r.Trailer = http.Header{"X-Trailer": {"a"}}
		}
		if got := l.send(bytesOf(t, r)); got != tt.want || ran > before != (tt.want == "200") {
			t.Errorf("%s: %s, the handler ran %v; want %s", tt.name, got, ran > before, tt.want)
		}
	}
	if left, _ := os.ReadDir(g.cfg.Spool); len(left) > 0 || g.spool.Used() != 0 {
		t.Errorf("%d files and %d bytes are left", len(left), g.spool.Used())
	}
}

// TestBodyStalls: a body that does not come ends the request, a handler that
// takes its time does not.
func TestBodyStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, strings.Replace(pipeShop, "      GET /mac: user\n", "      GET /mac: user\n      POST /mac: user\n", 1), time.Now)
		_, p := inPipes(t, w, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(10 * bodyStall) }))
		l := w.over(p.dial(), w.ca.Source(t, "gateway", time.Now))
		request := bytesOf(t, l.prove(message(t, "POST", "/mac", w.token("u1"), "body"), httpsig.MAC))
		if got := l.send(request); got != "200" {
			t.Errorf("a slow handler: %s", got)
		}
		request = bytesOf(t, l.prove(message(t, "POST", "/mac", w.token("u1"), "body"), httpsig.MAC))
		start := time.Now()
		if got := l.send(bytes.TrimSuffix(request, []byte("y"))); got != "request.timeout" || time.Since(start) != bodyStall+bodyLeft {
			t.Errorf("a body without end: %s after %s, want request.timeout after %s", got, time.Since(start), bodyStall+bodyLeft)
		}
		l = w.over(p.dial(), w.ca.Source(t, "gateway", time.Now))
		request = bytesOf(t, l.prove(message(t, "POST", "/none", w.token("u1"), "body"), httpsig.MAC))
		start = time.Now()
		if got := l.send(bytes.TrimSuffix(request, []byte("y"))); got != "inside.route" || time.Since(start) != bodyLeft {
			t.Errorf("a refusal while the body has no end: %s after %s, want inside.route after %s", got, time.Since(start), bodyLeft)
		}
	})
}

func TestBodyErrors(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want problem.Reason
	}{
		{problem.New(problem.RequestBodyTooLarge, nil), problem.RequestBodyTooLarge},
		{problem.New(problem.ProofUnavailable, errors.New("disk full")), problem.ProofUnavailable},
		{os.ErrDeadlineExceeded, problem.RequestTimeout},
		{io.ErrUnexpectedEOF, problem.RequestMalformed},
	} {
		if got := problem.ReasonOf(bodyError(tt.err)); got != tt.want {
			t.Errorf("%v: %v, want %v", tt.err, got, tt.want)
		}
	}
	if err := httpsig.CheckDigest(httpsig.EmptyDigest, sha256.Sum256(nil)); err != nil {
		t.Error(err)
	}
}

func TestClientOf(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.7;listener=public": "192.0.2.7;listener=public", "-": "-", "": "-", "a b": "-", "a,b": "-", "a\nb": "-", "\u00e4": "-", strings.Repeat("a", 300): "-",
	} {
		if got := clientOf(text); got != want {
			t.Errorf("clientOf(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestSparse(t *testing.T) {
	var out strings.Builder
	now := time.Now()
	s := &sparse{log: slog.New(slog.NewTextHandler(&out, nil)), clock: func() time.Time { return now }}
	for range 1000 {
		if n, err := s.Write([]byte(strings.Repeat("x", 10000))); n != 10000 || err != nil {
			t.Fatal(n, err)
		}
	}
	now = now.Add(sparseEvery)
	_, _ = s.Write([]byte("last"))
	if lines := strings.Count(out.String(), "\n"); lines != 2 || out.Len() > 2000 || !strings.Contains(out.String(), "skipped=999") {
		t.Errorf("%d lines, %d bytes: %s", lines, out.Len(), out.String())
	}
}
