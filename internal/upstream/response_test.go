package upstream

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// bytesConn is a connection from which given bytes come, and then its end.
type bytesConn struct {
	net.Conn
	in io.Reader
}

func (c *bytesConn) Read(p []byte) (int, error) { return c.in.Read(p) }

// readAnswer reads one whole answer from the bytes and tells what it made of it.
func readAnswer(method, in string) (a response, body []byte, err error) {
	w := newWire(&bytesConn{in: strings.NewReader(in)})
	w.awaitHead()
	if err := a.read(w, method, nil); err != nil {
		return a, nil, err
	}
	w.awaitBody(0, w.end)
	w.piece = 0 // bytesConn has no deadlines
	body, err = io.ReadAll(&a)
	return a, body, err
}

func TestAnswersThatAreRead(t *testing.T) {
	for _, c := range []struct {
		name, method, in string
		status           int
		length           int64
		body             string
		closes           bool
	}{
		{"sized", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, 5, "hello", false},
		{"no reason phrase", "GET", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 200, 0, "", false},
		{"chunked", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n", 200, -1, "abcde", false},
		{"chunked with trailers", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-User-Id: root\r\n\r\n", 200, -1, "abc", false},
		{"to the end of the connection", "GET", "HTTP/1.1 200 OK\r\n\r\nall of it", 200, -1, "all of it", true},
		{"HTTP/1.0", "GET", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, 2, "ok", true},
		{"HTTP/1.0 that would stay", "GET", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", 200, 2, "ok", true},
		{"close", "GET", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", 200, 2, "ok", true},
		{"HEAD", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", 200, 500, "", false},
		{"HEAD with a body all the same", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, 2, "", false},
		{"204", "GET", "HTTP/1.1 204 No Content\r\n\r\n", 204, -1, "", false},
		{"204 with content, which may still come", "GET", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", 204, 5, "", true},
		{"204 with chunks, which may still come", "GET", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", 204, -1, "", true},
		{"204 with no content and a length", "GET", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", 204, 0, "", false},
		{"304", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 304, 9, "", false},
		{"interim answers first", "GET", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", 200, 1, "x", false},
		{"folded field", "GET", "HTTP/1.1 200 OK\r\nX-A: 1\r\n 2\r\nContent-Length: 1\r\n\r\nx", 200, 1, "x", false},
	} {
		a, body, err := readAnswer(c.method, c.in)
		if err != nil || a.status != c.status || a.length != c.length || string(body) != c.body || a.closes != c.closes || !a.whole {
			t.Errorf("%s: %q read as status %d, length %d, body %q, closes %v, whole %v, %v", c.name, c.in, a.status, a.length, body, a.closes, a.whole, err)
		}
		if a.header.Get("X-User-Id") != "" {
			t.Errorf("%s: a trailer has become a header", c.name)
		}
	}
}

func TestAnswersThatAreRefused(t *testing.T) {
	for _, c := range []struct{ name, in string }{
		{"nothing", ""},
		{"garbage", "garbage\r\n\r\n"},
		{"half a status line", "HTTP/1.1 2"},
		{"HTTP/0.9", "<html>hello</html>"},
		{"HTTP/2 preface", "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"},
		{"HTTP/1.2", "HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n"},
		{"another protocol", "SSH-2.0-OpenSSH_9.6\r\n"},
		{"status in letters", "HTTP/1.1 abc OK\r\n\r\n"},
		{"status with a sign", "HTTP/1.1 +20 OK\r\n\r\n"},
		{"status of four digits", "HTTP/1.1 2000 OK\r\n\r\n"},
		{"status of two digits", "HTTP/1.1 20 OK\r\n\r\n"},
		{"status 000", "HTTP/1.1 000 OK\r\n\r\n"},
		{"status 600", "HTTP/1.1 600 OK\r\n\r\n"},
		{"two spaces", "HTTP/1.1  200 OK\r\n\r\n"},
		{"head that ends early", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"},
		{"space before the colon", "HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\nhello"},
		{"field without a colon", "HTTP/1.1 200 OK\r\nContent-Length\r\n\r\n"},
		{"bare CR in a field", "HTTP/1.1 200 OK\r\nX-A: 1\rSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"},
		{"NUL in a field", "HTTP/1.1 200 OK\r\nX-A: 1\x00\r\nContent-Length: 0\r\n\r\n"},
		{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"},
		{"the same length twice", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello"},
		{"list of lengths", "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello"},
		{"negative length", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"},
		{"length with a sign", "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello"},
		{"length in hex", "HTTP/1.1 200 OK\r\nContent-Length: 0x5\r\n\r\nhello"},
		{"empty length", "HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\nhello"},
		{"length over 63 bits", "HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775808\r\n\r\nhello"},
		{"length and coding", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
		{"unknown coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"},
		{"list of codings", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"},
		{"two codings", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"},
		{"obfuscated coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"},
		{"coding in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
		{"switching protocols", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"},
		{"switching protocols, and back", "HTTP/1.1 101 Switching Protocols\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
		{"interim answers without end", strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", interimLimit+1)},
		{"head too large", "HTTP/1.1 200 OK\r\nX-A: " + strings.Repeat("a", headLimit) + "\r\n\r\n"},
		{"too many fields", "HTTP/1.1 200 OK\r\n" + strings.Repeat("X-A: b\r\n", headLimit/8) + "\r\n"},
		{"line without end", strings.Repeat("H", 2*headLimit)},
		{"body shorter than its length", "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello"},
		{"chunk that ends early", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"},
		{"no last chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"},
		{"no end of the trailer", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"},
		{"chunk size in letters", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nhello\r\n0\r\n\r\n"},
		{"negative chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n"},
		{"chunk over 64 bits", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nhello\r\n0\r\n\r\n"},
		{"chunk longer than its size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n"},
		{"trailer too large", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-A: " + strings.Repeat("a", headLimit) + "\r\n\r\n"},
	} {
		a, body, err := readAnswer("GET", c.in)
		if err == nil {
			t.Errorf("%s: %.200q read as status %d, body %.200q, want an error", c.name, c.in, a.status, body)
		}
		if a.whole && err != nil {
			t.Errorf("%s: %.200q is whole and %v", c.name, c.in, err)
		}
	}
}

// FuzzResponse: what we accept, net/http accepts and reads the same, to the same
// byte. The reverse does not hold: we are stricter.
func FuzzResponse(f *testing.F) {
	f.Add(true, []byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhelloHTTP/1.1 200 OK\r\n\r\n"))
	f.Add(true, []byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\nmore"))
	f.Add(false, []byte("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"))
	f.Add(true, []byte("HTTP/1.0 200\r\n\r\nto the end"))
	f.Add(true, []byte("HTTP/1.1 200 \nTrAnsfer-EnCoding:ChUnked\n\n0\r\n\n"))
	f.Add(true, []byte("HTTP/1.1 103 \r\n\r\nHTTP/1.1 200 \r\nConnection: close, x\r\n\r\n"))
	f.Fuzz(func(t *testing.T, get bool, in []byte) {
		method := map[bool]string{true: "GET", false: "HEAD"}[get]
		w := newWire(&bytesConn{in: bytes.NewReader(in)})
		w.awaitHead()
		var a response
		if a.read(w, method, nil) != nil {
			return
		}
		w.awaitBody(0, w.end)
		body, err := io.ReadAll(&a)
		if err != nil {
			return
		}
		rest, _ := io.ReadAll(w.br)

		br := bufio.NewReader(bytes.NewReader(in))
		var want *http.Response
		for {
			want, err = http.ReadResponse(br, &http.Request{Method: method})
			if err != nil {
				t.Fatalf("%q: accepted, but net/http says %v", in, err)
			}
			if want.StatusCode >= 200 {
				break
			}
		}
		wantBody, err := io.ReadAll(want.Body)
		if err != nil {
			t.Fatalf("%q: body accepted, but net/http says %v", in, err)
		}
		wantRest, _ := io.ReadAll(br)
		if a.status != want.StatusCode || !bytes.Equal(body, wantBody) || !bytes.Equal(rest, wantRest) {
			t.Errorf("%q: status %d, body %q, rest %q; net/http: %d, %q, %q", in, a.status, body, rest, want.StatusCode, wantBody, wantRest)
		}
		if want.Close && !a.closes {
			t.Errorf("%q: the connection would be used again, net/http would not", in)
		}
		for _, name := range []string{"Connection", "Transfer-Encoding", "Trailer", "Cache-Control"} { // net/http takes or makes these
			a.header.Del(name)
			want.Header.Del(name)
		}
		if got, want := fmt.Sprint(a.header), fmt.Sprint(want.Header); got != want {
			t.Errorf("%q: fields %s; net/http: %s", in, got, want)
		}
	})
}
