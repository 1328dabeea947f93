package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// smuggled is a request hidden behind another one. SMUG becomes its correlation id.
const smuggled = "GET /open?smuggled HTTP/1.1\r\nHost: localhost\r\nX-Correlation-Id: SMUG\r\nConnection: close\r\n\r\n"

func post(lines, body string) string {
	return "POST /open HTTP/1.1\r\nHost: localhost\r\nX-Correlation-Id: ID\r\n" + lines + "\r\n" + body
}

// TestTrapFraming: where a message ends is not a matter of opinion. Either the
// request is refused, or one request was rebuilt and the connection closed; what
// was hidden behind it is never served.
func TestTrapFraming(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, nil)
	z := startZone(t, trapsMap, map[string]string{"plain": up.address})
	n := len(smuggled) + 32 // SMUG becomes a UUID
	const chunked = "Transfer-Encoding: chunked\r\n"
	for _, s := range []struct {
		name, raw string
		body      string // what the service may have got, when it was asked at all; "-": nothing that is whole
	}{
		{"length and coding", post(fmt.Sprintf("Content-Length: %d\r\n", n+5)+chunked, "0\r\n\r\n"+smuggled), ""},
		{"coding and length", post(chunked+"Content-Length: 4\r\n", "1\r\nA\r\n0\r\n\r\n"+smuggled), "A"},
		{"coding and length zero", post(chunked+"Content-Length: 0\r\n", "1\r\nA\r\n0\r\n\r\n"+smuggled), "A"},
		{"two lengths that differ", post("Content-Length: 0\r\nContent-Length: "+fmt.Sprint(n)+"\r\n", smuggled), "-"},
		{"list of lengths", post("Content-Length: 0, "+fmt.Sprint(n)+"\r\n", smuggled), "-"},
		{"length with sign", post("Content-Length: +0\r\n", smuggled), "-"},
		{"negative length", post("Content-Length: -1\r\n", smuggled), "-"},
		{"length in hex", post("Content-Length: 0x0\r\n", smuggled), "-"},
		{"length with underscore", post("Content_Length: 5\r\nContent-Length: 0\r\n", smuggled), "-"},
		{"length beyond any integer", post("Content-Length: 18446744073709551616\r\n", smuggled), "-"},
		{"empty length", post("Content-Length:\r\n", smuggled), "-"},
		{"space before the colon, length", post("Content-Length : "+fmt.Sprint(n)+"\r\n", smuggled), "-"},
		{"space before the colon, coding", post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"+smuggled), "-"},
		{"folded coding", post("X: y\r\n Transfer-Encoding: chunked\r\nConnection: close\r\n", "0\r\n\r\n"+smuggled), ""}, // unfolded it is a value
		{"coding on a folded line", post("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n"+smuggled), ""},
		{"coding with a vertical tab", post("Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n"+smuggled), "-"},
		{"xchunked", post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"+smuggled), "-"},
		{"chunked twice", post("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"+smuggled), "-"},
		{"two coding lines", post(chunked+chunked, "0\r\n\r\n"+smuggled), "-"},
		{"chunked, identity", post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"+smuggled), "-"},
		{"identity", post("Transfer-Encoding: identity\r\n", smuggled), "-"},
		{"gzip, chunked", post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"+smuggled), "-"},
		{"quoted coding", post("Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n"+smuggled), "-"},
		{"coding with a parameter", post("Transfer-Encoding: chunked;q=1\r\n", "0\r\n\r\n"+smuggled), "-"},
		{"coding ends with CR", post("Transfer-Encoding: chunked\r\r\n", "0\r\n\r\n"+smuggled), "-"},
		{"coding in HTTP/1.0", strings.Replace(post(chunked, "0\r\n\r\n"+smuggled), "HTTP/1.1", "HTTP/1.0", 1), ""},
		{"bare CR in the head", post("X: y\rContent-Length: "+fmt.Sprint(n)+"\r\n", smuggled), "-"},
		{"NUL in a value", post("X: a\x00b\r\nContent-Length: 0\r\n", smuggled), "-"},
		{"line of the head without colon", post("nonsense\r\nContent-Length: 0\r\n", smuggled), "-"},
		{"empty header name", post(": x\r\nContent-Length: 0\r\n", smuggled), "-"},
		{"first header line folded", "POST /open HTTP/1.1\r\n Host: localhost\r\nX-Correlation-Id: ID\r\n\r\n" + smuggled, "-"},
		{"body of a GET", strings.Replace(post(fmt.Sprintf("Content-Length: %d\r\nConnection: close\r\n", n), smuggled), "POST", "GET", 1), "SMUGGLED"},
		{"chunk size with sign", post(chunked, "+1\r\nA\r\n0\r\n\r\n"+smuggled), "-"},
		{"chunk size in 0x", post(chunked, "0x1\r\nA\r\n0\r\n\r\n"+smuggled), "-"},
		{"negative chunk size", post(chunked, "-1\r\nA\r\n0\r\n\r\n"+smuggled), "-"},
		{"chunk size beyond 64 bits", post(chunked, "10000000000000001\r\nA\r\n0\r\n\r\n"+smuggled), "-"},
		{"empty chunk size", post(chunked, "\r\nA\r\n0\r\n\r\n"+smuggled), "-"},
		{"chunk size line with bare LF", post(chunked, "1\nA\r\n0\r\n\r\n"+smuggled), "-"},
		{"chunk ends with bare LF", post(chunked, "1\r\nA\n0\r\n\r\n"+smuggled), "-"},
		{"chunk longer than its size", post(chunked, "1\r\nABC\r\n0\r\n\r\n"+smuggled), "-"},
		{"last chunk with bare LF", post(chunked, "1\r\nA\r\n0\n\n"+smuggled), "-"},
		{"extension with bare LF", post(chunked, "1;a\nb\r\nA\r\n0\r\n\r\n"+smuggled), "-"},
		{"trailer with bare LF", post(chunked, "1\r\nA\r\n0\r\nX: y\n\r\n"+smuggled), "A"},
	} {
		t.Run(s.name, func(t *testing.T) {
			smug := newID()
			got := z.raw(t, up, strings.ReplaceAll(s.raw, "SMUG", smug))
			if hidden := up.of(smug); len(hidden) > 0 {
				t.Errorf("the hidden request was served: %s", hidden[0])
			}
			for _, in := range got.in {
				want := strings.Replace(s.body, "SMUGGLED", strings.ReplaceAll(smuggled, "SMUG", smug), 1)
				if in.Err == nil && in.Body != want { // one that broke off is nothing that a service acts on
					t.Errorf("the service got %s", in)
				}
				if len(in.Header["Content-Length"]) > 0 && len(in.Header["Transfer-Encoding"]) > 0 {
					t.Errorf("the ambiguity went on: %s", in)
				}
			}
			if len(got.answers) > 1 || len(got.answers) == 1 && got.first() != 200 && !refusal(got.first()) {
				t.Errorf("%v; want one answer, 200 or a refusal", got)
			}
			if len(got.in) == 0 && got.first() == 200 {
				t.Errorf("%v; 200, and the service was never asked", got)
			}
		})
	}
}

// refusal says whether a status refuses a malformed request.
func refusal(status int) bool { return status/100 == 4 }

// TestUnreadRequestsAreRecorded: what cannot even be read as a request has its
// problem document, and a record under the id that the document names.
func TestUnreadRequestsAreRecorded(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, nil)
	z := startZone(t, trapsMap, map[string]string{"plain": up.address})
	for _, s := range []struct{ raw, reason string }{
		{"NONSENSE\r\n\r\n", "request.malformed"},
		{"GET /open HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", "request.malformed"},
		{"GET /open HTTP/3.0\r\nHost: localhost\r\n\r\n", "request.malformed"},
		{"POST /open HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "request.framing"},
		{"GET /open HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n", "request.header_too_large"},
		{"GET /open HTTP/1.1\r\nHost: localhost\r\nExpect: more\r\n\r\n", "request.header"},
	} {
		answers, closed := z.exchange(t, s.raw, 0)
		if len(answers) != 1 || answers[0].Status/100 != 4 || !closed || !strings.Contains(answers[0].Body, `"urn:sallyport:reason:`+s.reason+`"`) {
			t.Errorf("%.30q: answers %v, closed %v; want one with %s", s.raw, answers, closed, s.reason)
			continue
		}
		id := answers[0].Header.Get("X-Correlation-Id")
		rs := z.of(id)
		if len(rs) != 1 || rs[0].Reason != s.reason || rs[0].Status != answers[0].Status || rs[0].Client != "127.0.0.1" || rs[0].Listener != "public" || rs[0].Route != "" {
			t.Errorf("%.30q: %s has the records %+v", s.raw, id, rs)
		}
	}
}

// TestWellFramedRequestsPass are the positive controls of TestTrapFraming.
func TestWellFramedRequestsPass(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, nil)
	z := startZone(t, trapsMap, map[string]string{"plain": up.address})
	big := strings.Repeat("0123456789abcdef", 8<<10) // beyond every buffer
	for _, s := range []struct{ name, raw, body string }{
		{"length", post("Content-Length: 5\r\nConnection: close\r\n", "hello"), "hello"},
		{"zero length", post("Content-Length: 0\r\nConnection: close\r\n", ""), ""},
		{"no length", post("Connection: close\r\n", ""), ""},
		{"length twice the same", post("Content-Length: 5\r\nContent-Length: 5\r\nConnection: close\r\n", "hello"), "hello"},
		{"chunks", post("Transfer-Encoding: chunked\r\n", "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"), "hello"},
		{"chunk extension", post("Transfer-Encoding: chunked\r\n", "5;a=b\r\nhello\r\n0\r\n\r\n"), "hello"},
		{"trailer", post("Transfer-Encoding: chunked\r\nTrailer: X-User-Id\r\n", "5\r\nhello\r\n0\r\nX-User-Id: forged\r\nTxn-Token: forged\r\n\r\n"), "hello"},
		{"large", post("Content-Length: "+fmt.Sprint(len(big))+"\r\nConnection: close\r\n", big), big},
		{"large in chunks", post("Transfer-Encoding: chunked\r\n", fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(big), big)), big},
		{"100-continue", post("Expect: 100-continue\r\nContent-Length: 5\r\nConnection: close\r\n", "hello"), "hello"},
	} {
		got := z.raw(t, up, s.raw)
		final := got.answers
		if len(final) > 0 && final[0].Status == 100 {
			final = final[1:]
		}
		if len(final) != 1 || final[0].Status != 200 || len(got.in) != 1 || got.in[0].Body != s.body {
			t.Errorf("%s: %v", s.name, got)
			continue
		}
		if strings.Contains(got.in[0].Raw, "forged") {
			t.Errorf("%s: a trailer of the outside went in: %q", s.name, got.in[0].Raw)
		}
	}
	// Lines that end with LF alone are refused, or rebuilt.
	lf := z.raw(t, up, "POST /open HTTP/1.1\nHost: localhost\nX-Correlation-Id: ID\r\nContent-Length: 1\nConnection: close\n\nA")
	if !lf.refused() && (lf.first() != 200 || len(lf.in) != 1 || lf.in[0].Body != "A" || strings.Contains(strings.ReplaceAll(lf.in[0].Raw, "\r\n", ""), "\n")) {
		t.Errorf("bare LF: %v", lf)
	}
	// Two requests on one connection, sent at once, are two requests.
	first, second := newID(), newID()
	text := strings.Replace(post("Content-Length: 5\r\n", "hello"), "ID\r\n", first+"\r\n", 1) + strings.ReplaceAll(smuggled, "SMUG", second)
	answers, _ := z.exchange(t, text, 0)
	if len(answers) != 2 || len(up.of(first)) != 1 || len(up.of(second)) != 1 || len(z.of(second)) != 1 {
		t.Errorf("two requests: %d answers, the service got %d and %d", len(answers), len(up.of(first)), len(up.of(second)))
	}
}

// TestBodiesOfRefusedRequests: what was the body of a request that is refused is
// never taken for the next request; that one is answered, or the connection ends.
func TestBodiesOfRefusedRequests(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, nil)
	z := startZone(t, trapsMap, map[string]string{"plain": up.address})
	n := len(smuggled) + 32 // SMUG becomes a UUID
	sized := post(fmt.Sprintf("Content-Length: %d\r\n", n), smuggled)
	for name, raw := range map[string]string{
		"path that is not there":            strings.Replace(sized, "/open", "/nowhere", 1),
		"chunks, path that is not there":    strings.Replace(post("Transfer-Encoding: chunked\r\n", fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", n, smuggled)), "/open", "/nowhere", 1),
		"who may not":                       strings.Replace(sized, "/open", "/admin/x", 1),
		"method that is not there":          strings.Replace(sized, "POST", "PUT", 1),
		"header that is not taken":          strings.Replace(sized, "Content-Length", "X_Y: z\r\nContent-Length", 1),
		"host that is not served":           strings.Replace(sized, "localhost", "evil.example", 1),
		"larger than the bound":             post("Content-Length: 9999999\r\n", smuggled),
		"large and wanted by nobody":        strings.Replace(post("Content-Length: 200000\r\n", strings.Repeat(" ", 200000-n)+smuggled), "/open", "/nowhere", 1),
		"waits for 100, path is not there":  strings.Replace(post(fmt.Sprintf("Expect: 100-continue\r\nContent-Length: %d\r\n", n), smuggled), "/open", "/nowhere", 1),
		"waits for something else than 100": strings.Replace(sized, "Content-Length", "Expect: more\r\nContent-Length", 1),
	} {
		smug, next := newID(), newID()
		text := strings.ReplaceAll(strings.ReplaceAll(raw, "SMUG", smug), "X-Correlation-Id: ID\r\n", "") + strings.Replace(get("/open?next"), ": ID", ": "+next, 1)
		answers, _ := z.exchange(t, text, 0)
		if len(up.of(smug)) > 0 {
			t.Errorf("%s: the hidden request was served: %s", name, up.of(smug)[0])
		}
		if len(answers) == 0 || answers[0].Status/100 != 4 || len(answers) > 2 || len(answers) == 2 && (answers[1].Status != 200 || len(up.of(next)) != 1) {
			t.Errorf("%s: answers %v, the next request was served %d times", name, answers, len(up.of(next)))
		}
	}
}
