package gateway

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"sallyport.dev/internal/journal"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/upstream/upstreamtest"
	"sallyport.dev/zone"
)

// framings are the ways to send a body of this size.
func framings(body string) map[string]string {
	chunks := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	for rest := body; rest != ""; {
		n := min(len(rest), 1000)
		chunks += fmt.Sprintf("%x\r\n%s\r\n", n, rest[:n])
		rest = rest[n:]
	}
	return map[string]string{
		"sized":    upstreamtest.Sized(body),
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
			s := upstreamtest.Listen(t, "tcp", func(c *upstreamtest.Conn) { c.Request(); c.Say(answer) })
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
		s := upstreamtest.Listen(t, "tcp", upstreamtest.Always("HTTP/1.1 200 OK\r\nX-Secret: s\r\nContent-Length: "+fmt.Sprint(c.size)+"\r\n\r\n"+secret))
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
	s := upstreamtest.Listen(t, "tcp", upstreamtest.Always(answer))
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
		s := upstreamtest.Listen(t, "tcp", upstreamtest.Always(c.answer))
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
		s := upstreamtest.Listen(t, "tcp", func(c *upstreamtest.Conn) { c.Request(); c.Say(answer) })
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
		s := upstreamtest.Listen(t, "tcp", upstreamtest.Always(upstreamtest.Sized(strings.Repeat("x", c.size))))
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
		{403, []string{"access.role"}, "access.role"},
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
		s := upstreamtest.Listen(t, "tcp", upstreamtest.Always(fmt.Sprintf("HTTP/1.1 %d X\r\n%sContent-Length: 2\r\n\r\nno", c.status, fields)))
		g, kept := editedGateway(t, []*zone.Route{anything("GET")}, behind(s), inPlain)
		g.now().zone.Services[0].Embedded = true
		w := newTaker()
		visit(g, w, "GET", "/")
		g.now().zone.Services[0].Embedded = false // a service without a guard is not asked
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
	s := upstreamtest.Listen(t, "tcp", upstreamtest.Always(upstreamtest.Sized("ok")))
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
	raw := <-s.Requests
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

// What a service answers may be anything, and the log is no place for it.
func TestErrorsDoNotQuoteTheAnswer(t *testing.T) {
	for answer, why := range map[string]string{
		"planted-word 200 OK\r\n\r\n":                                                    "malformed status line",
		"HTTP/1.1 planted-word\r\n\r\n":                                                  "malformed status",
		"HTTP/1.1 200 OK\r\nContent-Length: planted-word\r\n\r\n":                        "malformed Content-Length",
		"HTTP/1.1 200 OK\r\nplanted-word : x\r\n\r\n":                                    "field name",
		"HTTP/1.1 200 OK\r\nplanted-word\r\n\r\n":                                        "malformed line",
		"HTTP/1.1 200 OK\r\nX-A: planted-word\x00\r\n\r\n":                               "malformed line",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nplanted-word\r\n\r\n": "malformed line",
	} {
		d := openDoor(t, []*zone.Route{anything("GET")}, behind(upstreamtest.Listen(t, "tcp", upstreamtest.Always(answer))))
		if got := d.do(d.client(false), "GET", "/", ""); got.status != 502 || strings.Contains(got.body, "planted-word") {
			t.Errorf("%q: got %d %s", answer, got.status, got.body)
		}
		if log := d.log.String(); strings.Contains(log, "planted-word") || !strings.Contains(log, why) {
			t.Errorf("%q: want %q and no word of the answer in the log:\n%s", answer, why, log)
		}
	}
}
