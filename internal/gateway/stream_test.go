package gateway

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/internal/journal"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/upstream/upstreamtest"
	"sallyport.dev/zone"
)

func sseRoute() *zone.Route {
	return &zone.Route{Method: "GET", Path: "/live", Allow: zone.AllowAnonymous, Stream: zone.StreamSSE}
}

// Each event of a declared stream arrives before the next is made.
func TestStream(t *testing.T) {
	next := make(chan string)
	s := upstreamtest.Listen(t, "tcp", func(c *upstreamtest.Conn) {
		if _, ok := c.Request(); !ok {
			return // a health check
		}
		c.Say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n")
		for e := range next {
			c.Say(fmt.Sprintf("%x\r\n%s\r\n", len(e), e))
			if e == "" { // the last chunk by its size
				return
			}
		}
	})
	d := openDoor(t, []*zone.Route{sseRoute()}, behind(s))
	for _, http2 := range []bool{false, true} {
		resp, err := d.client(http2).Get("https://shop.example/live")
		if err != nil {
			t.Fatal(err)
		}
		if r := d.last(); r.Kind != journal.KindOpen || r.Status != 200 {
			t.Errorf("at the head: record %+v", r)
		}
		for _, e := range []string{"data: 1\n\n", "data: 2\n\n"} {
			next <- e
			got := make([]byte, len(e))
			if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != e {
				t.Fatalf("event %q: got %q, %v", e, got, err)
			}
		}
		next <- ""
		if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
			t.Errorf("rest %q, %v", rest, err)
		}
		if r := d.last(); r.Kind != journal.KindEnd || r.Reason != "ok" || r.BytesOut != 18 {
			t.Errorf("at the end: record %+v", r)
		}
		_ = resp.Body.Close()
	}
}

// What is not a stream on a stream's route is an ordinary answer; a stream ends
// with the client, with the service, and with silence.
func TestStreamEnds(t *testing.T) {
	head := "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
	for _, c := range []struct {
		name   string
		serve  func(*upstreamtest.Conn)
		fail   error
		kinds  []journal.Kind
		reason string
		broken bool
		after  time.Duration
	}{
		{"whole", func(c *upstreamtest.Conn) { c.Request(); c.Say(head + "2\r\n\n\n\r\n0\r\n\r\n") }, nil,
			[]journal.Kind{journal.KindOpen, journal.KindEnd}, "ok", false, 0},
		{"refusal", func(c *upstreamtest.Conn) {
			c.Request()
			c.Say("HTTP/1.1 404 No\r\nSallyport-Reason: owner.denied\r\nContent-Length: 0\r\n\r\n")
		}, nil, []journal.Kind{journal.KindRequest}, "owner.denied", false, 0},
		{"another type", func(c *upstreamtest.Conn) { c.Request(); c.Say(upstreamtest.Sized("{}")) }, nil, []journal.Kind{journal.KindRequest}, "ok", false, 0},
		{"service cuts", func(c *upstreamtest.Conn) { c.Request(); c.Say(head + "2\r\n\n\n\r\n") }, nil,
			[]journal.Kind{journal.KindOpen, journal.KindEnd}, "upstream.protocol", true, 0},
		{"client leaves", func(c *upstreamtest.Conn) { c.Request(); c.Say(head + "2\r\n\n\n\r\n"); c.Stay() }, io.ErrClosedPipe,
			[]journal.Kind{journal.KindOpen, journal.KindEnd}, "client.closed", true, 0},
		{"silence", func(c *upstreamtest.Conn) {
			c.Request()
			c.Say(head)
			for range 9 { // never silent for long, and longer than any answer may take
				time.Sleep(2*time.Minute - 1)
				c.Say("2\r\n\n\n\r\n")
			}
			c.Stay()
		}, nil, []journal.Kind{journal.KindOpen, journal.KindEnd}, "upstream.timeout", true, 20*time.Minute - 9},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, dial := upstreamtest.Pipe(c.serve)
				g, kept := pipedGateway(t, s, dial, sseRoute())
				g.now().zone.Services[0].Embedded = true // its reasons are believed
				defer s.Serving.Wait()
				defer g.Close()
				w := newTaker()
				w.fail = c.fail
				start := time.Now()
				if broken := visit(g, w, "GET", "/live"); broken != c.broken {
					t.Errorf("broken off = %v, want %v", broken, c.broken)
				}
				if took := time.Since(start); took != c.after {
					t.Errorf("took %v, want %v", took, c.after)
				}
				var kinds []journal.Kind
				reason := ""
				for _, r := range kept.all() {
					kinds, reason = append(kinds, r.Kind), r.Reason
				}
				if !slices.Equal(kinds, c.kinds) || reason != c.reason {
					t.Errorf("records %v, the last %s, want %v, %s", kinds, reason, c.kinds, c.reason)
				}
			})
		})
	}
}

// Without an open record a stream does not begin.
func TestStreamIsNotRecorded(t *testing.T) {
	s := upstreamtest.Listen(t, "tcp", upstreamtest.Always("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 1\r\n\r\n\n"))
	g, _ := watchedGateway(t, s, func(*journal.Record) error { return errTest }, sseRoute())
	w := newTaker()
	visit(g, w, "GET", "/live")
	if w.status != 503 || !strings.Contains(w.sent.String(), "journal.unavailable") {
		t.Errorf("got %d %q", w.status, w.sent.String())
	}
}

// pausing takes each piece of an answer after a pause.
type pausing struct {
	*taker
	pause time.Duration
}

func (w pausing) Write(p []byte) (int, error) { time.Sleep(w.pause); return w.taker.Write(p) }

// An answer that lasts too long because its client is slow, or a stream that is
// quiet, says nothing about the instance; a service that stands still does.
func TestWhoseFaultIsATimeout(t *testing.T) {
	large := "HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n"
	for _, c := range []struct {
		name     string
		target   string
		pause    time.Duration
		serve    func(*upstreamtest.Conn)
		failures int
	}{
		{"slow client", "/large", 20 * time.Second, func(c *upstreamtest.Conn) { c.Request(); c.Say(large + strings.Repeat("x", 1<<20)) }, 0},
		{"quiet stream", "/live", 0, func(c *upstreamtest.Conn) {
			c.Request()
			c.Say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
			c.Stay()
		}, 0},
		{"service stands still", "/large", 0, func(c *upstreamtest.Conn) { c.Request(); c.Say(large); c.Stay() }, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, dial := upstreamtest.Pipe(c.serve)
				g, kept := pipedGateway(t, s, dial, sseRoute(), anything("GET"))
				broken := visit(g, pausing{newTaker(), c.pause}, "GET", c.target)
				g.Close()
				s.Serving.Wait()
				records := kept.all()
				if got := failuresOf(g); !broken || got != c.failures || records[len(records)-1].Reason != "upstream.timeout" {
					t.Errorf("broken %v, %d failures, records %+v; want %d and upstream.timeout", broken, got, records, c.failures)
				}
			})
		})
	}
}

// A stream whose client does not read ends with its right all the same, on both
// protocols.
func TestStreamOfASlowReader(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		var sent atomic.Int64
		s := upstreamtest.Listen(t, "tcp", func(c *upstreamtest.Conn) {
			if _, ok := c.Request(); !ok {
				return
			}
			c.Say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
			for c.Say(strings.Repeat("data: x\n\n", 1000)) {
				sent.Add(1)
			}
		})
		rt := sseRoute()
		rt.Allow = zone.AllowUser
		d := openDoor(t, []*zone.Route{rt}, behind(s), func(c *Config) { c.graces.vigil = vigilGrace })
		req, _ := http.NewRequest("GET", "https://shop.example/live", nil)
		req.Header.Set("Authorization", "Bearer "+rootToken)
		resp, err := d.client(http2).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		standsStill(t, &sent)
		d.auth.fail(problem.New(problem.AuthRevoked, nil))
		d.gateway.Forget(hashOf(rootToken))
		if r := d.endRecord(); r.Reason != "auth.revoked" { // it comes long before the client's own time is over
			t.Errorf("http2 %v: record %+v", http2, r)
		}
		_ = resp.Body.Close()
	}
}
