package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"sallyport.dev/internal/httpsig"
	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/svid"
)

// request is what is proved, and what is sent in its place.
type request struct {
	method, target, token, body string

	unproven                              bool
	sentBody, sentTarget, sentCorrelation string // empty: as proved
	extra                                 string // header lines
}

func (r request) with(change func(*request)) request {
	change(&r)
	return r
}

// connection is mutual TLS with a door, and the key of its proofs.
type connection struct {
	*tls.Conn
	answers *bufio.Reader
	mac     *httpsig.MACSigner
}

func newConnection(c *tls.Conn) *connection {
	return &connection{Conn: c, answers: bufio.NewReader(c)}
}

func (c *connection) close() { _ = c.Close() }

// connect makes a connection as the service whose identity was stolen.
func (t *thief) connect(ctx context.Context, door string) (*connection, error) {
	own, err := t.source.Current()
	if err != nil {
		return nil, err
	}
	orders, err := svid.ServiceID(own.ID.TrustDomain().Name(), "orders")
	if err != nil {
		return nil, err
	}
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", door)
	if err != nil {
		return nil, err
	}
	tc, err := svid.NewConns(nil).Client(ctx, raw, svid.ClientTLS(t.source, orders))
	if err != nil {
		return nil, err
	}
	state := tc.ConnectionState()
	key, err := httpsig.MACKey(&state)
	if err != nil {
		return nil, err
	}
	c := newConnection(tc)
	c.mac, err = httpsig.NewMACSigner(key)
	return c, err
}

// write returns the bytes of a request: the proof is that of r as it is meant.
func (c *connection) write(r request) []byte {
	m := httpsig.Message{
		Method: r.method, Target: r.target, Authority: "orders", Token: r.token,
		Correlation: newCorrelation(), Client: "-", Digest: httpsig.Digest([]byte(r.body)),
	}
	proof := http.Header{}
	if !r.unproven {
		if err := c.mac.Set(proof, &m, httpsig.Profile{Demand: httpsig.MAC}, time.Now()); err != nil {
			panic(err) // the message above is whole
		}
	}
	body := either(r.sentBody, r.body)
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: orders\r\n", r.method, either(r.sentTarget, r.target))
	fmt.Fprintf(&b, "%s: %s\r\n%s: %s\r\n%s: %s\r\n%s: %s\r\n", httpsig.TokenHeader, m.Token,
		httpsig.CorrelationHeader, either(r.sentCorrelation, m.Correlation), httpsig.ClientHeader, m.Client, httpsig.DigestHeader, m.Digest)
	_ = proof.Write(&b) // a buffer takes all
	fmt.Fprintf(&b, "%sContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", r.extra, len(body), body)
	return b.Bytes()
}

// say sends bytes and returns the status and the reason that come back.
func (c *connection) say(text []byte) string {
	_ = c.SetDeadline(time.Now().Add(10 * time.Second)) // a closed connection says so below
	if _, err := c.Write(text); err != nil {
		return failure(err)
	}
	res, err := http.ReadResponse(c.answers, nil)
	if err != nil {
		return failure(err)
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body) // only the head counts
	return strings.TrimSpace(fmt.Sprintf("%d %s", res.StatusCode, res.Header.Get(problem.ReasonHeader)))
}

// ownToken asks control for a token of the service itself.
func (t *thief) ownToken(ctx context.Context, control string) (string, error) {
	own, err := t.source.Current()
	if err != nil {
		return "", err
	}
	id, err := svid.ServiceID(own.ID.TrustDomain().Name(), svid.ControlName)
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, control+"/v1/token", strings.NewReader("{}"))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := svid.NewTransport(t.source, id, svid.NewConns(nil), &http.Transport{}).RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	var got struct{ Token string }
	if err := json.NewDecoder(io.LimitReader(res.Body, 64<<10)).Decode(&got); err != nil || res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("control answered %s: %w", res.Status, err)
	}
	return got.Token, nil
}

// forge makes a certificate with a service's name, of a CA that the zone does not
// know. nil where it cannot be made, which the handshake then refuses as well.
func forge(service string) *tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		URIs:        []*url.URL{{Scheme: "spiffe", Host: "shop.example", Path: "/" + service}},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, key.Public(), key)
	if err != nil {
		return nil
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func newCorrelation() string { return obs.CorrelationID("") }

func either(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
