package sidecar

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/internal/fieldname"
	"sallyport.dev/internal/problem"
)

func TestTheServiceSaysNothingOfTheInside(t *testing.T) {
	b := newBed(t, serviceOn(t, func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		for _, name := range forgeries {
			if name != "X-Käse" && !strings.Contains(name, ".") && insideSpelling(name) {
				h[name] = []string{"forged", "forged"}
			}
		}
		h["Txn-Token"], h["X-Caller"], h["X-Correlation-Id"] = []string{"forged"}, []string{"forged"}, []string{"forged"}
		h["X-Ordinary"], h["X-Named"], h["Connection"] = []string{"passes"}, []string{"gone"}, []string{"X-Named"}
		h["Trailer"] = []string{"X-User-Id, Sallyport-Reason"}
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, "no")
		h["X-User-Id"], h["Sallyport-Reason"] = []string{"forged"}, []string{"forged"}
		h[http.TrailerPrefix+"X-Client-Id"] = []string{"forged"}
	}))
	interim := 0
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(int, textproto.MIMEHeader) error { interim++; return nil },
	}), "GET", b.inner+"/open", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Txn-Token", b.guard.Token("anonymous"))
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if body := read(t, res); res.StatusCode != 403 || body != "no" {
		t.Errorf("got %d %q, want the service's 403", res.StatusCode, body)
	}
	for _, fields := range []http.Header{res.Header, res.Trailer} {
		for name, v := range fields {
			if strings.Contains(strings.Join(v, ""), "forged") {
				t.Errorf("the service said %s: %q", name, v)
			}
		}
	}
	if res.Header.Get(problem.ReasonHeader) != "" || res.Header.Get("X-Named") != "" || interim != 0 {
		t.Errorf("got %v and %d interim answers, want neither reason, X-Named nor interim answers", res.Header, interim)
	}
	if res.Header.Get("X-Ordinary") != "passes" {
		t.Errorf("positive control: got %v", res.Header)
	}
}

func insideSpelling(name string) bool {
	var buf [fieldname.Limit]byte
	n, _ := fieldname.Fold(&buf, name)
	return fieldname.Inside(n)
}

func TestServiceThatBreaksHTTP(t *testing.T) {
	for _, c := range []struct{ name, answer string }{
		{"closes at once", ""},
		{"no HTTP", "hello\r\n\r\n"},
		{"half a head", "HTTP/1.1 200 OK\r\nX: y\r\n"},
		{"status 099", "HTTP/1.1 099 ?\r\nContent-Length: 0\r\n\r\n"},
		{"status 999", "HTTP/1.1 999 ?\r\nContent-Length: 0\r\n\r\n"},
		{"101 of nothing", "HTTP/1.1 101 Switching Protocols\r\n\r\nraw bytes"},
		{"101 to a protocol", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nraw"},
		{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"},
		{"negative length", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"},
		{"unknown coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: sugar\r\n\r\nab"},
		{"large head", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", headMost+1) + "\r\n\r\n"},
		{"interim answers for ever", strings.Repeat("HTTP/1.1 103 Early Hints\r\nX: "+strings.Repeat("x", 1000)+"\r\n\r\n", 100)},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBed(t, rawService(t, c.answer))
			wantReason(t, b.ask("GET", "/open", b.guard.Token("anonymous"), nil), problem.UpstreamProtocol)
			eventually(t, "the handle is withdrawn", func() bool { return b.sidecar.handles.len() == 0 })
		})
	}
	b := newBed(t, rawService(t, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
	if got := read(t, b.ask("GET", "/open", b.guard.Token("anonymous"), nil)); got != "ok" {
		t.Errorf("positive control: got %q", got)
	}
}

func TestAnswerThatEndsEarlyIsNotWhole(t *testing.T) {
	for _, c := range []struct{ name, answer string }{
		{"of a length", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"},
		{"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"},
		{"bad chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBed(t, rawService(t, c.answer))
			res, err := b.tryAsk("GET", "/open", b.guard.Token("anonymous"), nil, nil)
			if err != nil {
				return // broken off before the head had left
			}
			defer func() { _ = res.Body.Close() }()
			if body, err := io.ReadAll(res.Body); err == nil {
				t.Errorf("got a whole answer of %q, want an error", body)
			}
		})
	}
}

func TestServiceThatIsDown(t *testing.T) {
	dead, alive := deadAddress(t), serviceOn(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "alive") })
	b := newBed(t, dead)
	wantReason(t, b.ask("GET", "/open", b.guard.Token("anonymous"), nil), problem.UpstreamUnreachable)

	b = newBed(t, "["+dead+", "+alive+"]")
	for range 4 { // each of the two is first in turn
		if got := read(t, b.ask("GET", "/open", b.guard.Token("anonymous"), nil)); got != "alive" {
			t.Errorf("with one of two instances down: got %q, want alive", got)
		}
	}
}

// TestServiceThatIsSlow waits for nothing but the bounds themselves.
func TestServiceThatIsSlow(t *testing.T) {
	stall := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("head") {
			_, _ = io.WriteString(w, "begun")
			_ = http.NewResponseController(w).Flush()
		}
		select {
		case <-r.Context().Done():
		case <-time.After(patience): // whole in the end, where nothing bounds it
		}
	}
	const short = 50 * time.Millisecond
	for _, c := range []struct {
		name, path string
		set        func(*Config)
		headed     bool // the head leaves, so that only the end can tell
	}{
		{"no head", "/open", func(c *Config) { c.HeadTime = short }, false},
		{"whole time", "/open", func(c *Config) { c.AnswerTime = short }, false},
		{"silent in the middle", "/open?head", func(c *Config) { c.PieceTime = short }, true},
		{"no head of a stream", "/live", func(c *Config) { c.AnswerTime = short }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBed(t, serviceOn(t, stall), func(cfg *Config, _ *door) { c.set(cfg) })
			res := b.ask("GET", c.path, b.guard.Token("anonymous"), nil)
			if !c.headed {
				wantReason(t, res, problem.UpstreamTimeout)
				return
			}
			defer func() { _ = res.Body.Close() }()
			if body, err := io.ReadAll(res.Body); err == nil || string(body) != "begun" {
				t.Errorf("got %q, %v, want the beginning and an error", body, err)
			}
		})
	}
	t.Run("whole time in the middle", func(t *testing.T) {
		doubling(t, func(bound time.Duration) bool {
			b := newBed(t, serviceOn(t, stall), func(c *Config, _ *door) { c.AnswerTime, c.PieceTime = bound, time.Hour })
			start := time.Now()
			res := b.ask("GET", "/open?head", b.guard.Token("anonymous"), nil)
			defer func() { _ = res.Body.Close() }()
			if res.StatusCode != http.StatusOK { // the bound is the head's, too
				wantReason(t, res, problem.UpstreamTimeout)
				return false
			}
			if body, err := io.ReadAll(res.Body); err == nil || string(body) != "begun" || time.Since(start) < bound {
				t.Errorf("got %q, %v after %s, want the beginning and an error after %s", body, err, time.Since(start), bound)
			}
			return true
		})
	})
}

// TestStreamFlows opens a stream, lets an ordinary request run into the bound of
// the whole time, and finds the older stream alive.
func TestStreamFlows(t *testing.T) {
	doubling(t, func(bound time.Duration) bool { return streamFlows(t, bound) })
}

// streamFlows reports whether the head of the stream came within the bound.
func streamFlows(t *testing.T, bound time.Duration) bool {
	events := make(chan string)
	end := sync.OnceFunc(func() { close(events) })
	defer end()
	b := newBed(t, serviceOn(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/live" {
			<-r.Context().Done()
			return
		}
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		_ = http.NewResponseController(w).Flush()
		for e := range events {
			_, _ = fmt.Fprintf(w, "data: %s\n", e)
			_ = http.NewResponseController(w).Flush()
		}
	}), func(c *Config, _ *door) { c.AnswerTime = bound })
	res := b.ask("GET", "/live", b.guard.Token("anonymous"), nil) // the head comes before any event
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		wantReason(t, res, problem.UpstreamTimeout)
		return false
	}
	lines := bufio.NewReader(res.Body)
	next := func(event string) {
		t.Helper()
		events <- event
		if got, err := lines.ReadString('\n'); err != nil || got != "data: "+event+"\n" {
			t.Fatalf("got %q, %v, want the event %s", got, err, event)
		}
	}
	next("one")
	next("two")
	wantReason(t, b.ask("GET", "/open", b.guard.Token("anonymous"), nil), problem.UpstreamTimeout)
	next("three")
	if b.sidecar.handles.len() == 0 {
		t.Error("the handle of an open stream was withdrawn")
	}
	end()
	if rest, err := io.ReadAll(lines); err != nil || len(rest) != 0 {
		t.Errorf("at the end: got %q, %v", rest, err)
	}
	eventually(t, "the handle is withdrawn", func() bool { return b.sidecar.handles.len() == 0 })
	return true
}

func TestSilentStreamEnds(t *testing.T) {
	b := newBed(t, serviceOn(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}), func(c *Config, _ *door) { c.StreamIdle = 50 * time.Millisecond })
	res := b.ask("GET", "/live", b.guard.Token("anonymous"), nil)
	defer func() { _ = res.Body.Close() }()
	if _, err := io.ReadAll(res.Body); err == nil {
		t.Error("the stream ended as if it were whole")
	}
}

// TestSenderThatStops: the service must not take half a body for a whole one,
// and is not blamed.
func TestSenderThatStops(t *testing.T) {
	began, ended := make(chan struct{}), make(chan error, 1)
	b := newBed(t, serviceOn(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = r.Body.Read(make([]byte, 3))
		close(began)
		_, err := io.ReadAll(r.Body)
		ended <- err
	}))
	half, write := io.Pipe()
	go func() {
		_, _ = io.WriteString(write, "abc")
		<-began
		_ = write.CloseWithError(io.ErrClosedPipe)
	}()
	if res, err := b.tryAsk("POST", "/open", b.guard.Token("anonymous"), nil, half); err == nil {
		_ = res.Body.Close()
	}
	if err := <-ended; err == nil {
		t.Error("the service took half a body for a whole one")
	}
	eventually(t, "the handle is withdrawn", func() bool { return b.sidecar.handles.len() == 0 })
}

// TestSenderThatDrips: a small body that comes for ever holds its place no longer
// than a request may take.
func TestSenderThatDrips(t *testing.T) {
	const bound = 50 * time.Millisecond
	b := newBed(t, serviceOn(t, func(http.ResponseWriter, *http.Request) { t.Error("the service has got a request") }),
		func(c *Config, _ *door) { c.AnswerTime = bound })
	c, err := net.Dial("tcp", strings.TrimPrefix(b.inner, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const drops = 16 << 10 // as much as is read ahead
	start := time.Now()
	_, _ = fmt.Fprintf(c, "POST /open HTTP/1.1\r\nHost: orders\r\nTxn-Token: %s\r\nContent-Length: %d\r\n\r\n", b.guard.Token("anonymous"), drops)
	res := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(c).ReadString('\n')
		res <- line
	}()
	for range drops - 1 { // it never becomes whole
		_, _ = c.Write([]byte("x"))
		select {
		case got := <-res:
			if took := time.Since(start); !strings.Contains(got, " 504 ") || took < bound {
				t.Errorf("after %s: %q, want 504 after %s", took, got, bound)
			}
			eventually(t, "the handle is withdrawn", func() bool { return b.sidecar.handles.len() == 0 })
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
	t.Error("the request has taken every drop")
}

// TestNoTypeIsGuessed: what a service does not say about its answer nobody says for
// it, in either direction. A type that a door makes of text by some user would be
// that user's choice.
func TestNoTypeIsGuessed(t *testing.T) {
	page := func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = nil // this very server would guess one, too
		_, _ = io.WriteString(w, "<html><script>alert(1)</script>")
	}
	b := newBed(t, serviceOn(t, page), func(_ *Config, d *door) {
		d.client = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("<html>")), Request: r}, nil
		})}
	})
	for what, res := range map[string]*http.Response{
		"an answer":          b.ask("GET", "/open", b.guard.Token("anonymous"), nil),
		"on a stream route":  b.ask("GET", "/live", b.guard.Token("anonymous"), nil),
		"the answer to call": b.call("GET", "http://ledger/entries", nil, nil),
	} {
		if body := read(t, res); res.StatusCode != 200 || !strings.HasPrefix(body, "<html>") {
			t.Errorf("%s: got %d %q", what, res.StatusCode, body)
		}
		if types, there := res.Header["Content-Type"]; there {
			t.Errorf("%s is of type %q, which nobody said", what, types)
		}
	}
}
