package e2e

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/httpsig"
	"sallyport.dev/internal/svid"
)

// wire is a connection to an inner door, with the certificate of a workload.
type wire struct {
	t      testing.TB
	to     string
	conn   *tls.Conn
	br     *bufio.Reader
	mac    *httpsig.MACSigner
	signer *httpsig.Signer
}

// wire connects as the member to a service's inner door, where the map has it.
func (m *member) wire(t testing.TB, to string) *wire {
	t.Helper()
	return enterDoor(t, m.source, to, m.door(to))
}

// enterDoor connects to an inner door and makes a request that is refused: the door
// soon hangs up on who connects and says nothing, and waits longer for the next one.
func enterDoor(t testing.TB, source *svid.Source, to, address string) *wire {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		w, err := dialDoor(t, source, to, address)
		if err == nil {
			got := w.send(&crafted{Method: "GET", Target: "/", Host: to})
			if err = got.Err; err == nil {
				if got.Reason != "inside.token_missing" {
					t.Errorf("a request without a token: %s %s", got, got.Body)
				}
				return w
			}
			_ = w.conn.Close()
		}
		if time.Now().After(deadline) {
			t.Fatalf("connect to %s: %v", to, err)
		}
	}
}

// dialDoor connects to an inner door with what a source holds.
func dialDoor(t testing.TB, source *svid.Source, to, address string) (*wire, error) {
	t.Helper()
	id, err := svid.ServiceID("shop.example", to)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, svid.ClientTLS(source, id))
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	if err := conn.Handshake(); err != nil {
		return nil, err
	}
	state := conn.ConnectionState()
	key, err := httpsig.MACKey(&state)
	if err != nil {
		return nil, err
	}
	w := &wire{t: t, to: to, conn: conn, br: bufio.NewReader(conn)}
	if w.mac, err = httpsig.NewMACSigner(key); err != nil {
		return nil, err
	}
	own, err := source.Current()
	if err != nil {
		return nil, err
	}
	w.signer, err = httpsig.NewSigner(own.Certificate.PrivateKey.(crypto.Signer), own.Certificate.Certificate)
	return w, err
}

// crafted is a request to an inner door, whose parts a test may change after they
// were proved.
type crafted struct {
	Method, Target, Host, Body string
	Header                     http.Header
}

// craft makes a request with the proof that this connection gives it.
func (w *wire) craft(strength httpsig.Strength, method, target, token, body string) *crafted {
	w.t.Helper()
	c := &crafted{Method: method, Target: target, Host: w.to, Body: body, Header: http.Header{
		"Txn-Token": {token}, "X-Correlation-Id": {newID()}, "Sallyport-Client": {"192.0.2.7;listener=public"}, "Content-Type": {"text/plain"},
	}}
	if strength == httpsig.Channel {
		return c
	}
	c.Header.Set("Content-Digest", httpsig.Digest([]byte(body)))
	w.prove(strength, c)
	return c
}

// prove puts a proof over the request as it is now.
func (w *wire) prove(strength httpsig.Strength, c *crafted) {
	w.t.Helper()
	m := &httpsig.Message{
		Method: c.Method, Target: c.Target, Authority: c.Host, Token: c.Header.Get("Txn-Token"), Correlation: c.Header.Get("X-Correlation-Id"),
		Client: c.Header.Get("Sallyport-Client"), Digest: c.Header.Get("Content-Digest"),
	}
	var err error
	if strength == httpsig.Signature {
		err = w.signer.Set(c.Header, m, httpsig.Profile{Demand: strength}, time.Now())
	} else {
		err = w.mac.Set(c.Header, m, httpsig.Profile{Demand: strength}, time.Now())
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// send writes a request as it is and reads the answer. The connection stays, as
// far as the other side lets it.
func (w *wire) send(c *crafted) innerAnswer {
	_ = w.conn.SetDeadline(time.Now().Add(patience))
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n", c.Method, c.Target, c.Host, len(c.Body))
	_ = c.Header.Write(&b)
	b.WriteString("\r\n" + c.Body)
	if _, err := w.conn.Write(b.Bytes()); err != nil {
		return innerAnswer{Err: err}
	}
	res, err := http.ReadResponse(w.br, &http.Request{Method: c.Method})
	if err != nil {
		return innerAnswer{Err: err}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return innerAnswer{Status: res.StatusCode, Reason: res.Header.Get("Sallyport-Reason"), Body: string(body), Err: err}
}

// flipped changes one bit of one character, so that it stays one of a header.
func flipped(s string, at int) string {
	b := []byte(s)
	b[at] ^= 1
	return string(b)
}

// flippedToken changes a bit in the middle of the n-th part of a JWS.
func flippedToken(t testing.TB, token string, n int) string {
	t.Helper()
	parts := strings.Split(token, ".")
	raw, err := base64.RawURLEncoding.DecodeString(parts[n])
	if err != nil || len(parts) != 3 {
		t.Fatalf("not a token: %v", err)
	}
	raw[len(raw)/2] ^= 1
	parts[n] = base64.RawURLEncoding.EncodeToString(raw)
	return strings.Join(parts, ".")
}

// wants reports an answer that is not the refusal that it should be.
func (a innerAnswer) wants(t testing.TB, what, reason string) {
	t.Helper()
	if a.Err != nil || a.passed() || a.Reason != reason || a.Body != "" && !strings.Contains(a.Body, `"urn:sallyport:reason:`+reason+`"`) {
		t.Errorf("%s: %s %.200s, want %s", what, a, a.Body, reason)
	}
}

// mustPass reports a positive control that does not hold.
func (a innerAnswer) mustPass(t testing.TB, what string) {
	t.Helper()
	if !a.passed() {
		t.Errorf("positive control: %s: %s %.200s, want it to pass", what, a, a.Body)
	}
}
