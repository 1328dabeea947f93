package gateway

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"

	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/upstream"
	"sallyport.dev/zone"
)

// everyMethod is a door behind which every path exists for the usual methods.
func everyMethod(t *testing.T) *door {
	t.Helper()
	return openDoor(t, []*zone.Route{anything("GET"), anything("POST"), anything("OPTIONS")})
}

// TestTargets sends request lines that no http.Client would, and holds the door
// to its rule: the service receives the bytes that were judged, or the answer is 4xx.
func TestTargets(t *testing.T) {
	d := everyMethod(t)
	sent := 0
	for _, c := range []struct {
		line string // method and target
		want problem.Reason
	}{
		// Positive controls: the same shapes as they should be.
		{"GET /", problem.OK},
		{"GET /a/b?c=d&e=%20f", problem.OK},
		{"GET /a/b?", problem.OK},
		{"GET /caf%C3%A9/x%20y?u=https%3A%2F%2Fx", problem.OK},
		{"OPTIONS /a", problem.OK},

		{"GET http:x%2f..%2fadmin", problem.RequestTarget}, // net/url: Opaque, no Path
		{"GET http://other.example/a", problem.RequestTarget},
		{"GET https://shop.example/a", problem.RequestTarget},
		{"GET HTTP://shop.example", problem.RequestTarget},
		{"OPTIONS *", problem.RequestTarget}, // net/http would answer by itself
		{"GET *", problem.RequestTarget},
		{"CONNECT other.example:443", problem.RequestTarget},
		{"CONNECT /a", problem.RequestTarget},
		{"GET /a#b", problem.RequestTarget},
		{"GET /a?b#c", problem.RequestTarget},

		{"GET //other.example/a", problem.RequestPath},
		{"GET /a/../b", problem.RequestPath},
		{"GET /%2e%2e/b", problem.RequestPath},
		{"GET /a%2fb", problem.RequestPath},
		{"GET /a//b", problem.RequestPath},
		{`GET /a\..\b`, problem.RequestPath},
		{"GET /a;b=c/d", problem.RequestPath},
		{"GET /a%00b", problem.RequestPath},
		{"GET /%c0%ae%c0%ae/a", problem.RequestPath},
		{"GET /%252e%252e/a", problem.RequestPath},
		{"GET /caf\xc3\xa9", problem.RequestPath},

		{"GET /a?b=1;c=2", problem.RequestQuery},
		{"GET /a?b=%", problem.RequestQuery},
		{"GET /a?b=%zz", problem.RequestQuery},
		{"GET /a?b=|", problem.RequestQuery},
		{"GET /a?" + strings.Repeat("&", maxPairs), problem.RequestQuery},

		{"TRACE /a", problem.RouteMethod},
		{"TRACK /a", problem.RouteMethod},
		{"PRI /a", problem.RouteMethod},
		{"get /a", problem.RouteMethod}, // methods are case-sensitive
	} {
		method, target, _ := strings.Cut(c.line, " ")
		got := d.raw(c.line + " HTTP/1.1\r\nHost: shop.example\r\n\r\n")
		if c.want == problem.OK {
			sent++
			seen := d.service.all()
			if got.status != 200 || len(seen) != sent || seen[sent-1].target != target || seen[sent-1].method != method {
				t.Errorf("%q: got %d, the service received %+v", c.line, got.status, seen)
			}
			continue
		}
		d.refused(c.line, got, c.want)
	}
	if n := len(d.service.all()); n != sent {
		t.Errorf("the service received %d requests, %d of them refused ones", n, n-sent)
	}
}

// TestPathsOverTheWire runs the whole table of spellings through the door.
func TestPathsOverTheWire(t *testing.T) {
	d := everyMethod(t)
	want := []string{}
	for _, c := range pathCases {
		if strings.ContainsAny(c.path, " \t\x00?#") || !strings.HasPrefix(c.path, "/") {
			continue // another request line altogether
		}
		got := d.raw("GET " + c.path + " HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n")
		if c.ok {
			want = append(want, c.path)
		}
		if c.ok != (got.status == 200) || !c.ok && got.status != 400 {
			t.Errorf("path %q: got %d, want accepted %v", c.path, got.status, c.ok)
		}
	}
	var received []string
	for _, r := range d.service.all() {
		received = append(received, r.target)
	}
	if fmt.Sprint(received) != fmt.Sprint(want) {
		t.Errorf("the service received\n%q\nwant\n%q", received, want)
	}
}

func TestHeaderNames(t *testing.T) {
	d := everyMethod(t)
	for _, c := range []struct {
		field string
		want  problem.Reason
	}{
		{"X-Ordinary-1: a", problem.OK},
		{"x-lower: a", problem.OK},
		{"X_User_Id: root", problem.RequestHeader},
		{"X.User.Id: root", problem.RequestHeader},
		{"Txn_Token: a", problem.RequestHeader},
		{"X-User_Id: root", problem.RequestHeader},
		{"X~Y: a", problem.RequestHeader},
		{"X!: a", problem.RequestHeader},
		{"X'Y: a", problem.RequestHeader},
		{strings.Repeat("X: a\r\n", maxHeaderFields) + "X: a", problem.RequestHeaderTooLarge},
	} {
		got := d.raw("GET /a HTTP/1.1\r\nHost: shop.example\r\n" + c.field + "\r\n\r\n")
		if c.want == problem.OK {
			if got.status != 200 {
				t.Errorf("field %q: got %d %s", c.field, got.status, got.body)
			}
			continue
		}
		d.refused(c.field[:min(len(c.field), 30)], got, c.want)
	}
}

// TestRefusedBeforeAnyHandler holds net/http to what this package leaves to it.
// No handler sees these; they have their problem document and record all the same.
func TestRefusedBeforeAnyHandler(t *testing.T) {
	d := everyMethod(t)
	if got := d.raw("GET /a HTTP/1.1\r\nHost: shop.example\r\nX-A: b\r\n\r\n"); got.status != 200 {
		t.Fatalf("positive control: got %d", got.status)
	}
	before := len(d.journal.all())
	counted := map[problem.Reason]int{}
	const host = "Host: shop.example\r\n"
	for i, c := range []struct {
		what, request string
		reason        problem.Reason
	}{
		{"duplicate lengths that differ", "POST /a HTTP/1.1\r\n" + host + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", problem.RequestMalformed},
		{"list of lengths", "POST /a HTTP/1.1\r\n" + host + "Content-Length: 1, 1\r\n\r\na", problem.RequestMalformed},
		{"signed length", "POST /a HTTP/1.1\r\n" + host + "Content-Length: +1\r\n\r\na", problem.RequestMalformed},
		{"negative length", "POST /a HTTP/1.1\r\n" + host + "Content-Length: -1\r\n\r\n", problem.RequestMalformed},
		{"hexadecimal length", "POST /a HTTP/1.1\r\n" + host + "Content-Length: 0x1\r\n\r\na", problem.RequestMalformed},
		{"two hosts", "GET /a HTTP/1.1\r\n" + host + "Host: other.example\r\n\r\n", problem.RequestMalformed},
		{"two equal hosts", "GET /a HTTP/1.1\r\n" + host + host + "\r\n", problem.RequestMalformed},
		{"no host", "GET /a HTTP/1.1\r\n\r\n", problem.RequestMalformed},
		{"host with a space", "GET /a HTTP/1.1\r\nHost: shop.example evil\r\n\r\n", problem.RequestMalformed},
		{"obfuscated coding", "POST /a HTTP/1.1\r\n" + host + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", problem.RequestFraming},
		{"coding after another", "POST /a HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", problem.RequestFraming},
		{"two codings", "POST /a HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", problem.RequestFraming},
		{"coding with a vertical tab", "POST /a HTTP/1.1\r\n" + host + "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n", problem.RequestMalformed},
		{"space before the colon", "POST /a HTTP/1.1\r\n" + host + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", problem.RequestMalformed},
		{"field without a name", "GET /a HTTP/1.1\r\n" + host + ": x\r\n\r\n", problem.RequestMalformed},
		{"field without a colon", "GET /a HTTP/1.1\r\n" + host + "X-A\r\n\r\n", problem.RequestMalformed},
		{"NUL in a value", "GET /a HTTP/1.1\r\n" + host + "X-A: a\x00b\r\n\r\n", problem.RequestMalformed},
		{"bare CR in a value", "GET /a HTTP/1.1\r\n" + host + "X-A: a\rX-User-Id: root\r\n\r\n", problem.RequestMalformed},
		{"escape in a value", "GET /a HTTP/1.1\r\n" + host + "X-A: a\x1bb\r\n\r\n", problem.RequestMalformed},
		{"space in a name", "GET /a HTTP/1.1\r\n" + host + "X A: a\r\n\r\n", problem.RequestMalformed},
		{"NUL in the target", "GET /a\x00b HTTP/1.1\r\n" + host + "\r\n", problem.RequestMalformed},
		{"space in the target", "GET /a b HTTP/1.1\r\n" + host + "\r\n", problem.RequestMalformed},
		{"HTTP/0.9", "GET /a\r\n\r\n", problem.RequestMalformed},
		{"another protocol", "GET /a HTTP/3.0\r\n" + host + "\r\n", problem.RequestMalformed},
		{"an expectation unknown", "POST /a HTTP/1.1\r\n" + host + "Expect: 200-ok\r\nContent-Length: 1\r\n\r\na", problem.RequestHeader},
		{"a header section too large", "GET /a HTTP/1.1\r\n" + host + "X-A: " + strings.Repeat("a", 64<<10) + "\r\n\r\n", problem.RequestHeaderTooLarge},
	} {
		got := d.raw(c.request)
		if !got.closed {
			t.Errorf("%s: the connection goes on", c.what)
		}
		d.refused(c.what, got, c.reason)
		rec := d.last()
		if n := len(d.journal.all()); n != before+i+1 {
			t.Errorf("%s: %d records in all, want %d", c.what, n, before+i+1)
		}
		if rec.CorrelationID == "" || rec.CorrelationID != got.header.Get("X-Correlation-Id") || rec.Client != addr("127.0.0.1") || rec.Listener != "public" || rec.Route != "" || rec.Method != "" {
			t.Errorf("%s: record %+v, answer %v", c.what, rec, got.header)
		}
		counted[c.reason]++
	}
	for reason, n := range counted {
		if line := fmt.Sprintf("sallyport_requests_total reason=%s route= service= %d", reason, n); !d.metric(line) {
			t.Errorf("metric: no line %q", line)
		}
	}
	if n := len(d.service.all()); n != 1 {
		t.Errorf("the service received %d requests, want the positive control alone", n)
	}
}

// TestFraming sends two requests on one connection, of which the second is
// hidden in what some other reader takes for the body of the first.
func TestFraming(t *testing.T) {
	d := everyMethod(t)
	const hidden = "GET /smuggled HTTP/1.1\r\nHost: shop.example\r\n\r\n"
	for _, c := range []struct {
		what, request string
		body          string // as the service must receive it
		closed        bool
	}{
		{"positive control: a length", "POST /a HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 3\r\n\r\nabc", "abc", false},
		{"chunks alone", "POST /a HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "abc", true},
		{"length and chunks", "POST /a HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 60\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "abc", true},
		{"chunks and length, case folded", "POST /a HTTP/1.1\r\nHost: shop.example\r\ntransfer-encoding: CHUNKED\r\ncontent-length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "abc", true},
		{"chunks of HTTP/1.0", "POST /a HTTP/1.0\r\nHost: shop.example\r\nConnection: keep-alive\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc", "abc", true},
		{"equal lengths", "POST /a HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", "abc", false},
		{"chunk extension", "POST /a HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\n\r\n", "abc", true},
		{"trailer", "POST /a HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\nTrailer: X-User-Id\r\n\r\n3\r\nabc\r\n0\r\nX-User-Id: root\r\n\r\n", "abc", true},
		{"body of GET", "GET /a HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 3\r\n\r\nabc", "abc", false},
		{"bare LF in the head", "POST /a HTTP/1.1\nHost: shop.example\nContent-Length: 3\n\nabc", "abc", false},
	} {
		n := len(d.service.all())
		c2 := d.dial("shop.example", "http/1.1")
		_, _ = c2.Write([]byte(c.request + hidden))
		got := d.read(c2, c.request)
		if got.status != 200 || got.closed != c.closed {
			t.Errorf("%s: got %d %s, closed %v; want 200, closed %v", c.what, got.status, got.body, got.closed, c.closed)
		}
		seen := d.service.all()[n:]
		if len(seen) == 0 || seen[0].body != c.body || seen[0].target != "/a" {
			t.Errorf("%s: the service received %+v, want body %q", c.what, seen, c.body)
			continue
		}
		if te, tr := seen[0].header["Transfer-Encoding"], seen[0].header["X-User-Id"]; te != nil || tr != nil {
			t.Errorf("%s: the service received %v %v", c.what, te, tr)
		}
		if c.closed { // the hidden one must never arrive; the connection is gone, so nothing is under way
			for _, s := range d.service.all()[n:] {
				if s.target == "/smuggled" {
					t.Errorf("%s: the hidden request was served", c.what)
				}
			}
		} else { // and here it is a request like any other: pipelined
			eventually(t, "the second request is served", func() bool { return len(d.service.all()) == n+2 })
		}
	}
}

// TestBrokenChunks: what net/http finds wrong only when the body is read is the
// client's fault, and not a 502.
func TestBrokenChunks(t *testing.T) {
	d := everyMethod(t)
	for _, chunks := range []string{
		"3\nabc\r\n0\r\n\r\n",     // bare LF after the size (CVE-2025-22871)
		"0x3\r\nabc\r\n0\r\n\r\n", // a prefix
		"-3\r\nabc\r\n0\r\n\r\n",
		"3 \r\nabcd\r\n0\r\n\r\n",
		"3\r\nabcX\r\n0\r\n\r\n", // more than was said
		"fffffffffffffffff\r\nabc",
	} {
		got := d.raw("POST /a HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
		if !got.closed {
			t.Errorf("chunks %q: the connection was kept", chunks)
		}
		d.refused(fmt.Sprintf("chunks %q", chunks), got, problem.RequestFraming)
	}
}

// TestHTTP2Heads sends frames that no client makes.
func TestHTTP2Heads(t *testing.T) {
	d := everyMethod(t)
	ordinary := []string{":method", "GET", ":scheme", "https", ":authority", "shop.example", ":path", "/a"}
	with := func(pairs ...string) []string { // replaces pseudo-fields, appends others
		fields := append([]string(nil), ordinary...)
		for i := 0; i < len(pairs); i += 2 {
			replaced := false
			for j := 0; j < len(ordinary); j += 2 {
				if fields[j] == pairs[i] {
					fields[j+1], replaced = pairs[i+1], true
				}
			}
			if !replaced {
				fields = append(fields, pairs[i], pairs[i+1])
			}
		}
		return fields
	}
	for _, c := range []struct {
		what   string
		fields []string
		want   string // status, or RESET
	}{
		{"positive control", ordinary, "200"},
		{"a host beside it that says the same", with("host", "shop.example"), "200"},
		{"a host beside it that says another", with("host", "other.example"), "400"},
		{"two hosts", with("host", "shop.example", "host", "shop.example"), "400"}, // hpack keeps both
		{"a scheme that is not the connection's", with(":scheme", "http"), "200"},  // nobody reads it
		{"another scheme", with(":scheme", "ftp"), "RESET"},
		{"another authority", with(":authority", "other.example"), "421"},
		{"userinfo", with(":authority", "a@shop.example"), "RESET"},
		{"an absolute path", with(":path", "https://shop.example/a"), "400"},
		{"a path without a slash", with(":path", "a"), "RESET"},
		{"asterisk", with(":method", "OPTIONS", ":path", "*"), "400"},
		{"dot segments", with(":path", "/a/../b"), "400"},
		{"fragment", with(":path", "/a#b"), "400"},
		{"semicolon in the query", with(":path", "/a?b;c"), "400"},
		{"underscore", with("x_user_id", "root"), "400"},
		{"an expectation unknown", with("expect", "200-ok"), "400"},
		{"connection", with("connection", "x-user-id"), "400"},
		{"transfer-encoding", with("transfer-encoding", "chunked"), "400"},
		{"upgrade", with("upgrade", "h2c"), "400"},
		{"upper case", with("X-User-Id", "root"), "RESET"},
		{"line feed in a value", with("x-a", "a\nb"), "RESET"},
		{"NUL in a value", with("x-a", "a\x00b"), "RESET"},
	} {
		if got := d.http2Head(c.fields); got != c.want {
			t.Errorf("%s: got %s, want %s", c.what, got, c.want)
		}
	}
	for _, s := range d.service.all() {
		if s.target != "/a" || s.header.Get("X-A") != "" {
			t.Errorf("the service received %+v", s)
		}
	}
}

// http2Head sends one HEADERS frame as it is and returns the status of the
// answer, or RESET when the stream or the connection was ended.
func (d *door) http2Head(fields []string) string {
	d.t.Helper()
	c := d.dial("shop.example", "h2")
	if _, err := c.Write([]byte(http2.ClientPreface)); err != nil {
		d.t.Fatal(err)
	}
	fr := http2.NewFramer(c, c)
	fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if err := fr.WriteSettings(); err != nil {
		d.t.Fatal(err)
	}
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for i := 0; i < len(fields); i += 2 {
		_ = enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	if err := fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true}); err != nil {
		d.t.Fatal(err)
	}
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			return "RESET"
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			return f.PseudoValue("status")
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return "RESET"
		}
	}
}

// TestUpgradeIsNotAnswered: the door speaks HTTP and nothing else, whatever a
// client asks to switch to (h2c would tunnel requests past every stage).
func TestUpgradeIsNotAnswered(t *testing.T) {
	d := everyMethod(t)
	for _, fields := range []string{
		"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
		"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
		"Connection: upgrade\r\nUpgrade: anything/1\r\n",
	} {
		got := d.raw("GET /a HTTP/1.1\r\nHost: shop.example\r\n" + fields + "\r\n")
		if got.status != 200 || got.body != "served\n" {
			t.Errorf("%q: got %d %q, want an ordinary answer", fields, got.status, got.body)
		}
		all := d.service.all()
		if h := all[len(all)-1].header; h["Upgrade"] != nil || h["Connection"] != nil || h["Http2-Settings"] != nil {
			t.Errorf("%q: the service received %v", fields, h)
		}
	}
}

func TestFoldedNamesNeverReachTheService(t *testing.T) {
	d := everyMethod(t)
	got := d.do(d.client(false), "GET", "/a", "", "X-User-Id: root", "txn-token: a", "SALLYPORT-REQUEST: b", "X-Mine: kept")
	h := d.service.all()[0].header
	if got.status != 200 || h.Get("X-Mine") != "kept" {
		t.Fatalf("positive control: got %d, the service received %v", got.status, h)
	}
	if h.Get("X-User-Id") != "" || h.Get("Sallyport-Request") != "" || len(h["Txn-Token"]) != 1 || h["Txn-Token"][0] == "a" {
		t.Errorf("the service received %v", h)
	}
}

// FuzzTarget: whatever stands in the request line, what is judged is what came,
// and what the service will receive.
func FuzzTarget(f *testing.F) {
	for _, c := range pathCases {
		f.Add(c.path)
		f.Add(c.path + "?a=b")
	}
	for _, c := range queryCases {
		f.Add("/a?" + c.query)
	}
	for _, s := range []string{"*", "http://x/a", "http:x%2f..%2fadmin", "/a#b", "//x/a", "/a?b?c", "/?", "x:443"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, target string) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + target + " HTTP/1.1\r\nHost: shop.example\r\n\r\n")))
		if err != nil {
			return
		}
		tr := &trip{r: r}
		if tr.target() != problem.OK {
			return
		}
		again := tr.path
		if tr.hasQuery {
			again += "?" + tr.query
		}
		if again != r.RequestURI {
			t.Errorf("target %q was taken for %q", r.RequestURI, again)
		}
		out := upstream.Request{Method: "GET", Path: tr.path, Query: tr.query, HasQuery: tr.hasQuery, Host: "shop.example"}
		head, err := out.AppendHead(nil)
		if line, _, _ := strings.Cut(string(head), "\r\n"); err != nil || line != "GET "+r.RequestURI+" HTTP/1.1" {
			t.Errorf("target %q is sent on as %q, %v", r.RequestURI, line, err)
		}
		if r.URL.EscapedPath() != tr.path || r.URL.RawQuery != tr.query {
			t.Errorf("target %q: net/http reads %q and %q", r.RequestURI, r.URL.EscapedPath(), r.URL.RawQuery)
		}
	})
}
