package gateway

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"sallyport.dev/zone"
)

// TestPlainHTTPIsTold: who speaks plain HTTP to the listener reads why it does
// not work; who speaks something else reads nothing.
func TestPlainHTTPIsTold(t *testing.T) {
	d := openDoor(t, []*zone.Route{anything("GET")})
	for request, want := range map[string]string{
		"GET /a HTTP/1.1\r\nHost: shop.example\r\n\r\n": "https://",
		"OPTIONS * HTTP/1.1\r\n\r\n":                    "https://",
		"EHLO shop.example\r\n":                         "",
		strings.Repeat("\x00", 64):                      "",
	} {
		c, err := net.Dial("tcp", d.addrs["public"])
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(tooLong))
		if _, err := io.WriteString(c, request); err != nil {
			t.Fatal(err)
		}
		answer, _ := io.ReadAll(c) // a TLS alert, or the text
		_ = c.Close()
		if got := strings.HasPrefix(string(answer), "HTTP/1.0 400 ") && strings.Contains(string(answer), want); got != (want != "") {
			t.Errorf("%.20q: answered %q", request, answer)
		}
	}
	if d.metric("sallyport_requests_total reason=request.malformed route= service= 1") || !d.metric("sallyport_requests_total reason=request.malformed route= service= 2") {
		t.Error("the two requests in plain are not counted")
	}
}

// TestHandshakesHaveAnEnd: one that is under way when the door closes ends with the
// door. For the others see TestSlowHandshake.
func TestHandshakesHaveAnEnd(t *testing.T) {
	d := openDoor(t, []*zone.Route{anything("GET")})
	if got := d.raw("GET /a HTTP/1.1\r\nHost: shop.example\r\n\r\n"); got.status != 200 {
		t.Fatalf("positive control: %d", got.status)
	}
	nc, err := net.Dial("tcp", d.addrs["public"])
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_, _ = nc.Write([]byte{22, 3, 1, 2, 0}) // a record's header, and no more
	eventually(t, "the door has taken the connection, beside that of the control", func() bool { return d.placesUsed() == 2 })
	d.stop()
	if err := <-d.stopped; err != nil {
		t.Errorf("Serve: %v", err)
	}
	_ = nc.SetDeadline(time.Now().Add(tooLong))
	if _, err := io.Copy(io.Discard, nc); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the handshake goes on")
	}
}

// TestBothProtocolsPass is the positive control of the two ways through front.
func TestBothProtocolsPass(t *testing.T) {
	d := openDoor(t, []*zone.Route{anything("GET")})
	for _, alpn := range [][]string{nil, {"http/1.1"}, {"h2"}} {
		c := d.dial("shop.example", alpn...)
		want := ""
		if len(alpn) > 0 {
			want = alpn[0]
		}
		if got := c.ConnectionState().NegotiatedProtocol; got != want {
			t.Errorf("offered %v: negotiated %q", alpn, got)
		}
	}
	for _, http2 := range []bool{false, true} {
		if got := d.do(d.client(http2), "GET", "/a", ""); got.status != 200 {
			t.Errorf("http2 %v: %d", http2, got.status)
		}
	}
	if _, err := tls.Dial("tcp", d.addrs["public"], &tls.Config{RootCAs: theCA().pool, ServerName: "shop.example", NextProtos: []string{"h3"}}); err == nil {
		t.Error("a protocol that is not spoken was negotiated")
	}
}

// panickyCertificate panics for one name.
type panickyCertificate struct{ Certificates }

func (c panickyCertificate) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if hello.ServerName == "localhost" {
		panic("made by the test")
	}
	return c.Certificates.GetCertificate(hello)
}

// TestPanicInHandshake: a defect that one client meets in its handshake ends its
// connection and nobody else's.
func TestPanicInHandshake(t *testing.T) {
	d := openDoor(t, []*zone.Route{anything("GET")}, func(c *Config) {
		c.Certificates["public"] = panickyCertificate{theCertificate()}
	})
	if nc, err := tls.Dial("tcp", d.addrs["public"], &tls.Config{RootCAs: theCA().pool, ServerName: "localhost"}); err == nil {
		_ = nc.Close()
		t.Error("the handshake succeeded")
	}
	if got := d.do(d.client(true), "GET", "/a", ""); got.status != 200 {
		t.Errorf("another client: %d", got.status)
	}
	eventually(t, "the connection has given its place back", func() bool { return d.placesUsed() == 1 })
	if !strings.Contains(d.log.String(), "made by the test") {
		t.Error("the panic is not in the log")
	}
}
