package e2e

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// dialTLS opens a TLS connection to a listener for HTTP/1.1, as localhost.
func (z *zoned) dialTLS(listener string, change ...func(*tls.Config)) (*tls.Conn, error) {
	z.t.Helper()
	cfg := &tls.Config{RootCAs: z.roots(), ServerName: "localhost", NextProtos: []string{"http/1.1"}}
	for _, c := range change {
		c(cfg)
	}
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", z.address[listener], cfg)
	if err != nil {
		return nil, err
	}
	z.t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		z.t.Fatal(err)
	}
	return c, nil
}

// wireAnswer is one answer on a raw connection.
type wireAnswer struct {
	Status int
	Header http.Header
	Body   string
}

// exchange writes raw bytes on a fresh connection and reads all the answers
// until the other side closes, or goes quiet with keepOpen answers given.
func (z *zoned) exchange(t testing.TB, raw string, keepOpen int) (answers []wireAnswer, closed bool) {
	t.Helper()
	c, err := z.dialTLS("public")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, raw); err != nil {
		t.Fatalf("write: %v", err)
	}
	return readAnswers(t, c, keepOpen)
}

func readAnswers(t testing.TB, c net.Conn, keepOpen int) (answers []wireAnswer, closed bool) {
	t.Helper()
	br := bufio.NewReader(c)
	for {
		if len(answers) == keepOpen && keepOpen > 0 {
			return answers, false
		}
		if _, err := br.Peek(1); err != nil {
			return answers, true
		}
		res, err := http.ReadResponse(br, nil)
		if err != nil {
			rest, _ := io.ReadAll(br)
			t.Fatalf("after %d answers: %v, then %q", len(answers), err, rest)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil {
			return answers, true
		}
		answers = append(answers, wireAnswer{res.StatusCode, res.Header, string(body)})
		if res.Close {
			_, err := io.Copy(io.Discard, br)
			return answers, err == nil || !isTimeout(err)
		}
	}
}

func isTimeout(err error) bool {
	n, ok := err.(net.Error) //nolint:errorlint // net returns it as it is
	return ok && n.Timeout()
}
