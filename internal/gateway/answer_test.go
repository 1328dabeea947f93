package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/internal/journal"
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// watchedJournal calls the test for every record, before it is kept.
type watchedJournal struct {
	*fakeJournal
	watch func(*journal.Record) error
}

func (j *watchedJournal) Append(r *journal.Record) error {
	if err := j.watch(r); err != nil {
		return err
	}
	return j.fakeJournal.Append(r)
}

// taker is the client's side of an answer, in memory: what has left when.
type taker struct {
	header http.Header
	status int
	sent   bytes.Buffer
	flush  int
	fail   error // of every Write
}

func newTaker() *taker { return &taker{header: http.Header{}} }

func (w *taker) Header() http.Header { return w.header }
func (w *taker) WriteHeader(s int)   { w.status = s }
func (w *taker) Write(p []byte) (int, error) {
	if w.fail != nil {
		return 0, w.fail
	}
	return w.sent.Write(p)
}
func (w *taker) FlushError() error                { w.flush++; return w.fail }
func (w *taker) SetWriteDeadline(time.Time) error { return nil }
func (w *taker) SetReadDeadline(time.Time) error  { return nil }

// behind puts a service in the place of the ordinary one.
func behind(s *rawService) func(*Config) {
	return func(c *Config) {
		c.Zone.Services[0].Upstreams = []zone.Upstream{{Scheme: "http", Network: s.network, Address: s.address, URL: "http://" + s.address}}
	}
}

// watchedGateway is a gateway before a raw service, whose records the test sees.
func watchedGateway(t *testing.T, s *rawService, watch func(*journal.Record) error, routes ...*zone.Route) (*Gateway, *fakeJournal) {
	t.Helper()
	d := &door{t: t}
	if len(routes) == 0 {
		routes = []*zone.Route{anything("GET")}
	}
	cfg := testConfig(d, testZone("", routes...))
	behind(s)(&cfg)
	if watch != nil {
		cfg.Journal = &watchedJournal{d.journal, watch}
	}
	g, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	return g, d.journal
}

// visit sends one request through the gateway. It reports whether the answer
// was broken off.
func visit(g *Gateway, w http.ResponseWriter, method, target string) (broken bool) {
	defer func() {
		if v := recover(); v != nil {
			if err, ok := v.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
				panic(v)
			}
			broken = true
		}
	}()
	r := httptest.NewRequest(method, "https://shop.example"+target, nil)
	r.RequestURI = target
	r.URL.Scheme, r.URL.Host = "", ""
	r.RemoteAddr = "127.0.0.1:4711"
	r.TLS.ServerName = "shop.example"
	g.serve(g.listeners[0], w, r)
	return false
}

// framings are the ways to send a body of this size.
func framings(body string) map[string]string {
	chunks := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	for rest := body; rest != ""; {
		n := min(len(rest), 1000)
		chunks += fmt.Sprintf("%x\r\n%s\r\n", n, rest[:n])
		rest = rest[n:]
	}
	return map[string]string{
		"sized":    sized(body),
		"chunked":  chunks + "0\r\n\r\n",
		"to close": "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body,
	}
}

// The last byte of an answer leaves after its record is kept, whatever its size
// and framing; and all of it leaves then.
func TestLastByteAfterRecord(t *testing.T) {
	for _, size := range []int{0, 1, 200, pieceSize - 1, pieceSize, pieceSize + 1, 2 * pieceSize, 5*pieceSize + 7} {
		body := strings.Repeat("0123456789abcdef", size/16+1)[:size]
		for name, answer := range framings(body) {
			what := fmt.Sprintf("%d bytes, %s", size, name)
			s := newRawService(t, "tcp", func(c *rawConn) { c.request(); c.say(answer) })
			w := newTaker()
			atRecord := -1
			g, kept := watchedGateway(t, s, func(*journal.Record) error {
				atRecord = w.sent.Len()
				if size == 0 && w.status != 0 {
					t.Errorf("%s: the head left before the record", what)
				}
				return nil
			})
			if visit(g, w, "GET", "/") {
				t.Errorf("%s: broken off", what)
			}
			if atRecord < 0 || size > 0 && atRecord >= size {
				t.Errorf("%s: %d bytes had left at the record, want fewer", what, atRecord)
			}
			if w.status != 200 || w.sent.String() != body {
				t.Errorf("%s: %d with %d bytes left", what, w.status, w.sent.Len())
			}
			records := kept.all()
			if len(records) != 1 || records[0].Reason != "ok" || records[0].Status != 200 || records[0].BytesOut != int64(size) {
				t.Errorf("%s: records %+v", what, records)
			}
		}
	}
}

// Without a record there is no answer: another one while that is possible, a
// broken connection after.
func TestRecordFails(t *testing.T) {
	for _, c := range []struct {
		size   int
		broken bool
	}{{0, false}, {200, false}, {pieceSize, false}, {pieceSize + 1, true}, {5 * pieceSize, true}} {
		secret := strings.Repeat("s", c.size)
		s := newRawService(t, "tcp", always("HTTP/1.1 200 OK\r\nX-Secret: s\r\nContent-Length: "+fmt.Sprint(c.size)+"\r\n\r\n"+secret))
		g, _ := watchedGateway(t, s, func(*journal.Record) error { return problem.New(problem.JournalFull, errTest) })
		w := newTaker()
		broken := visit(g, w, "GET", "/")
		if broken != c.broken {
			t.Errorf("%d bytes: broken off = %v, want %v", c.size, broken, c.broken)
		}
		if c.broken {
			if w.sent.Len() >= c.size {
				t.Errorf("%d bytes: all %d left without a record", c.size, w.sent.Len())
			}
			continue
		}
		if w.status != 503 || !strings.Contains(w.sent.String(), "journal.full") || w.header.Get("X-Secret") != "" {
			t.Errorf("%d bytes: got %d %q %v", c.size, w.status, w.sent.String(), w.header)
		}
	}
}

// What the service says and leaves out reaches the client, but for what is
// between it and the gateway.
func TestAnswerFields(t *testing.T) {
	answer := strings.Join([]string{
		"HTTP/1.1 201 Created",
		"Content-Length: 2",
		"Location: https://shop.example/things/7",
		"Set-Cookie: a=1; Path=/", "Set-Cookie: __Host-session=sps_evil; Path=/; Secure", "Set-Cookie: b=2",
		"Cache-Control: public, max-age=60", "X-Frame-Options: SAMEORIGIN", "X-Custom: kept",
		"Connection: close, X-Hop", "X-Hop: 1", "Keep-Alive: timeout=5", "Upgrade: h2c", "Proxy-Authenticate: Basic",
		"Server: secret/1.0", "X-Powered-By: secret", "X-AspNet-Version: 4", "Via: 1.1 secret", "Alt-Svc: h3=\":443\"",
		"Txn-Token: leak", "X-User-Id: leak", "Sallyport-Reason: leak", "Sallyport-Client: leak", "X-Correlation-Id: other",
		"Access-Control-Allow-Origin: *", "Traceparent: leak", "Strict-Transport-Security: max-age=1",
		"", "ok",
	}, "\r\n")
	s := newRawService(t, "tcp", always(answer))
	g, _ := watchedGateway(t, s, nil)
	w := newTaker()
	visit(g, w, "GET", "/things")
	if w.status != 201 || w.sent.String() != "ok" {
		t.Fatalf("got %d %q", w.status, w.sent.String())
	}
	id := w.header.Get("X-Correlation-Id")
	if len(id) != 36 {
		t.Errorf("correlation id %q", id)
	}
	want := http.Header{
		"Content-Length": {"2"}, "Content-Type": nil, // none is guessed
		"Location": {"https://shop.example/things/7"}, "Set-Cookie": {"a=1; Path=/", "b=2"},
		"Cache-Control": {"public, max-age=60"}, "X-Frame-Options": {"SAMEORIGIN"}, "X-Custom": {"kept"},
		"X-Correlation-Id": {id}, "X-Content-Type-Options": {"nosniff"}, "Referrer-Policy": {"strict-origin-when-cross-origin"},
		"Cross-Origin-Opener-Policy": {"same-origin"}, "Cross-Origin-Resource-Policy": {"same-origin"},
		"Strict-Transport-Security": {"max-age=1"},
	}
	if got, want := fmt.Sprint(w.header), fmt.Sprint(want); got != want {
		t.Errorf("fields\n got %s\nwant %s", got, want)
	}
}

// Answers without a body, and what they may say about its length.
func TestAnswersWithoutBody(t *testing.T) {
	for _, c := range []struct {
		method, answer string
		status         int
		length         string
	}{
		{"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", 200, "500"},
		{"HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200, ""},
		{"HEAD", "HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\n", 404, "9"},
		{"GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, "0"},
		{"GET", "HTTP/1.1 204 No Content\r\n\r\n", 204, ""},
		{"GET", "HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n", 204, ""},
		{"GET", "HTTP/1.1 304 Not Modified\r\nEtag: \"1\"\r\n\r\n", 304, ""},
		{"GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", 304, "7"},
		{"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 200, "0"},
	} {
		s := newRawService(t, "tcp", always(c.answer))
		g, kept := watchedGateway(t, s, nil)
		w := newTaker()
		visit(g, w, c.method, "/")
		if w.status != c.status || w.header.Get("Content-Length") != c.length || w.sent.Len() != 0 {
			t.Errorf("%s, %q: got %d, length %q, %d bytes", c.method, c.answer, w.status, w.header.Get("Content-Length"), w.sent.Len())
		}
		if r := kept.all(); len(r) != 1 || r[0].Status != c.status || r[0].BytesOut != 0 {
			t.Errorf("%s, %q: records %+v", c.method, c.answer, r)
		}
	}
}

// A service that promises more than it sends breaks the client's connection, so
// that nobody takes a part for the whole; the record tells.
func TestAnswerIsCut(t *testing.T) {
	part := strings.Repeat("x", 2*pieceSize)
	for name, answer := range map[string]string{
		"sized":   "HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n" + part,
		"chunked": fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", len(part), part),
	} {
		s := newRawService(t, "tcp", func(c *rawConn) { c.request(); c.say(answer) })
		d := openDoor(t, []*zone.Route{anything("GET")}, behind(s))
		for _, http2 := range []bool{false, true} {
			resp, err := d.client(http2).Get("https://shop.example/")
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err == nil || len(got) >= len(part)+1 {
				t.Errorf("%s, http2 %v: %d bytes and %v, want an error", name, http2, len(got), err)
			}
		}
		d.stop() // the records are kept when the handlers have ended
		<-d.stopped
		records := d.journal.all()
		if len(records) != 2 {
			t.Errorf("%s: %d records, want 2", name, len(records))
		}
		for _, r := range records {
			if r.Reason != problem.UpstreamProtocol.Code() || r.Status != 200 || r.BytesOut == 0 {
				t.Errorf("%s: record %+v", name, r)
			}
		}
	}
}

func TestClientTakesNoMore(t *testing.T) {
	for _, c := range []struct {
		fail   error
		size   int
		reason problem.Reason
		broken bool
	}{
		{nil, 3 * pieceSize, problem.OK, false},
		{io.ErrClosedPipe, 3 * pieceSize, problem.ClientClosed, true},
		{fmt.Errorf("write: %w", errDeadline), 3 * pieceSize, problem.RequestTimeout, true},
		{io.ErrClosedPipe, 10, problem.OK, false}, // recorded before it was tried
	} {
		s := newRawService(t, "tcp", always(sized(strings.Repeat("x", c.size))))
		g, kept := watchedGateway(t, s, nil)
		w := newTaker()
		w.fail = c.fail
		if broken := visit(g, w, "GET", "/"); broken != c.broken {
			t.Errorf("%v: broken off = %v, want %v", c.fail, broken, c.broken)
		}
		if r := kept.all(); len(r) != 1 || r[0].Reason != c.reason.Code() {
			t.Errorf("%v: records %+v, want %v", c.fail, r, c.reason)
		}
	}
}

// The reason of a refusal behind the gateway is recorded, if it is one.
func TestReasonOfTheGuard(t *testing.T) {
	for _, c := range []struct {
		status int
		said   []string
		want   string
	}{
		{404, []string{"owner.denied", "inside.call"}, "ok"},
		{404, []string{"owner.denied"}, "owner.denied"},
		{401, []string{"inside.token_expired"}, "inside.token_expired"},
		{404, nil, "ok"},
		{500, []string{"made.up"}, "ok"},
		{200, []string{"owner.denied"}, "ok"},
		{404, []string{""}, "ok"},
		{503, []string{"journal.full"}, "journal.full"}, // of its own journal: ours keeps the record
		{503, []string{"journal.unavailable"}, "journal.unavailable"},
	} {
		fields := ""
		for _, s := range c.said {
			fields += problem.ReasonHeader + ": " + s + "\r\n"
		}
		s := newRawService(t, "tcp", always(fmt.Sprintf("HTTP/1.1 %d X\r\n%sContent-Length: 2\r\n\r\nno", c.status, fields)))
		g, kept := watchedGateway(t, s, nil)
		w := newTaker()
		visit(g, w, "GET", "/")
		g.zone.Services[0].Embedded = false // a service without a guard is not asked
		visit(g, newTaker(), "GET", "/")
		if r := kept.all(); len(r) != 2 || r[1].Reason != "ok" {
			t.Errorf("%d %q: without a guard: records %+v, want ok", c.status, c.said, r)
		}
		if r := kept.all(); len(r) == 0 || r[0].Reason != c.want || r[0].Status != c.status {
			t.Errorf("%d %q: records %+v, want %s", c.status, c.said, r, c.want)
		}
		if w.status != c.status || w.sent.String() != "no" || w.header.Get(problem.ReasonHeader) != "" {
			t.Errorf("%d %q: got %d %q %v", c.status, c.said, w.status, w.sent.String(), w.header)
		}
	}
}

// Whatever a client forges, the service receives ours, once.
func TestForgedNames(t *testing.T) {
	s := newRawService(t, "tcp", always(sized("ok")))
	d := openDoor(t, []*zone.Route{anything("GET"), anything("POST")}, behind(s))
	fields := "Authorization: Bearer " + aliceToken + "\r\n" +
		"Connection: keep-alive, Txn-Token, X-Correlation-Id, Host, Sallyport-Client\r\n" +
		"Cookie: theme=dark; lang=\"de at\"\r\nX-Custom: kept\r\n"
	for _, name := range []string{"Txn-Token", "X-User-Id", "X-User-Roles", "X-Client-Id", "X-Caller", "Sallyport-Client", "Sallyport-Request",
		"Traceparent", "X-Forwarded-For", "X-Forwarded-Host", "Forwarded", "X-Real-Ip", "Via", "Te", "X-Http-Method-Override", "X-Original-Url"} {
		fields += strings.ToLower(name) + ": forged\r\n" + strings.ToUpper(name) + ": forged\r\n"
	}
	got := d.raw("GET /things?x=1 HTTP/1.1\r\nHost: shop.example\r\n" + fields + "\r\n")
	if got.status != 200 {
		t.Fatalf("got %d %s", got.status, got.body)
	}
	raw := <-s.requests
	if strings.Contains(strings.ToLower(raw), "forged") || strings.Contains(raw, aliceToken) {
		t.Errorf("a forged name or the credential arrived:\n%s", raw)
	}
	lines := strings.Split(strings.TrimSuffix(raw, "\r\n\r\n"), "\r\n")
	for i, l := range lines[1:] {
		name, _, _ := strings.Cut(l, ":")
		lines[i+1] = name
	}
	slices.Sort(lines[1:])
	want := []string{"GET /things?x=1 HTTP/1.1", "Cookie", "Host", "Sallyport-Client", "Traceparent", "Txn-Token", "X-Correlation-Id", "X-Custom"}
	if !slices.Equal(lines, want) {
		t.Errorf("arrived\n %q, want\n %q", lines, want)
	}
	if !strings.Contains(raw, "\r\nCookie: theme=dark; lang=\"de at\"\r\n") || !strings.Contains(raw, "\r\nTxn-Token: inside.alice.public.1\r\n") ||
		!strings.Contains(raw, "\r\nSallyport-Client: \"127.0.0.1\";listener=public\r\n") {
		t.Errorf("arrived:\n%s", raw)
	}
}

func sseRoute() *zone.Route {
	return &zone.Route{Method: "GET", Path: "/live", Allow: zone.AllowAnonymous, Stream: zone.StreamSSE}
}

// Each event of a declared stream arrives before the next is made.
func TestStream(t *testing.T) {
	next := make(chan string)
	s := newRawService(t, "tcp", func(c *rawConn) {
		if _, ok := c.request(); !ok {
			return // a health check
		}
		c.say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n")
		for e := range next {
			c.say(fmt.Sprintf("%x\r\n%s\r\n", len(e), e))
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
		serve  func(*rawConn)
		fail   error
		kinds  []journal.Kind
		reason string
		broken bool
		after  time.Duration
	}{
		{"whole", func(c *rawConn) { c.request(); c.say(head + "2\r\n\n\n\r\n0\r\n\r\n") }, nil,
			[]journal.Kind{journal.KindOpen, journal.KindEnd}, "ok", false, 0},
		{"refusal", func(c *rawConn) {
			c.request()
			c.say("HTTP/1.1 404 No\r\nSallyport-Reason: owner.denied\r\nContent-Length: 0\r\n\r\n")
		}, nil, []journal.Kind{journal.KindRequest}, "owner.denied", false, 0},
		{"another type", func(c *rawConn) { c.request(); c.say(sized("{}")) }, nil, []journal.Kind{journal.KindRequest}, "ok", false, 0},
		{"service cuts", func(c *rawConn) { c.request(); c.say(head + "2\r\n\n\n\r\n") }, nil,
			[]journal.Kind{journal.KindOpen, journal.KindEnd}, "upstream.protocol", true, 0},
		{"client leaves", func(c *rawConn) { c.request(); c.say(head + "2\r\n\n\n\r\n"); c.stay() }, io.ErrClosedPipe,
			[]journal.Kind{journal.KindOpen, journal.KindEnd}, "client.closed", true, 0},
		{"silence", func(c *rawConn) {
			c.request()
			c.say(head)
			for range 9 { // never silent for long, and longer than any answer may take
				time.Sleep(2*time.Minute - 1)
				c.say("2\r\n\n\n\r\n")
			}
			c.stay()
		}, nil, []journal.Kind{journal.KindOpen, journal.KindEnd}, "upstream.timeout", true, 20*time.Minute - 9},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, dial := newPipeService(c.serve)
				g, kept := watchedGateway(t, s, nil, sseRoute())
				g.services["shop"].cfg.dial = dial
				defer s.serving.Wait()
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
	s := newRawService(t, "tcp", always("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 1\r\n\r\n\n"))
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
		serve    func(*rawConn)
		failures int32
	}{
		{"slow client", "/large", 20 * time.Second, func(c *rawConn) { c.request(); c.say(large + strings.Repeat("x", 1<<20)) }, 0},
		{"quiet stream", "/live", 0, func(c *rawConn) {
			c.request()
			c.say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
			c.stay()
		}, 0},
		{"service stands still", "/large", 0, func(c *rawConn) { c.request(); c.say(large); c.stay() }, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, dial := newPipeService(c.serve)
				g, kept := watchedGateway(t, s, nil, sseRoute(), anything("GET"))
				set := g.services["shop"]
				set.cfg.dial = dial
				set.instances = append(set.instances, &instance{set: set, scheme: "http", network: "tcp"}) // the last one is never at fault
				broken := visit(g, pausing{newTaker(), c.pause}, "GET", c.target)
				g.Close()
				s.serving.Wait()
				records := kept.all()
				if got := failuresOf(set); !broken || got != c.failures || records[len(records)-1].Reason != "upstream.timeout" {
					t.Errorf("broken %v, %d failures, records %+v; want %d and upstream.timeout", broken, got, records, c.failures)
				}
			})
		})
	}
}
