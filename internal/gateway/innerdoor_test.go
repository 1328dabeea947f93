package gateway

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/internal/httpsig"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/svid"
	"sallyport.dev/zone"
)

// trust is a test's CA of one trust domain.
type trust struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	zone string
}

func newTrust(t *testing.T, name string) *trust {
	t.Helper()
	c := &trust{t: t, zone: name, key: newTestKey(t)}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, URIs: []*url.URL{{Scheme: "spiffe", Host: name}},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, c.key.Public(), c.key)
	if err != nil {
		t.Fatal(err)
	}
	if c.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return c
}

func newTestKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// source is the identity of a workload of the trust domain.
func (c *trust) source(name string) *svid.Source {
	c.t.Helper()
	key := newTestKey(c.t)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, URIs: []*url.URL{{Scheme: "spiffe", Host: c.zone, Path: "/" + name}},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, c.cert, key.Public(), c.key)
	if err != nil {
		c.t.Fatal(err)
	}
	id, err := svid.NewIdentity([][]byte{der}, key, []*x509.Certificate{c.cert})
	if err != nil {
		c.t.Fatal(err)
	}
	s := svid.NewSource(nil)
	s.Set(id)
	return s
}

// guarded is a service with an inner door that checks proofs by httpsig alone.
type guarded struct {
	address string
	mu      sync.Mutex
	macs    map[net.Conn]*httpsig.MACVerifier
	signed  *httpsig.Verifier
	seen    []string // METHOD target strength body, or the refusal
	tokens  []string
}

type guardedConn struct{}

func serveGuarded(t *testing.T, source *svid.Source) *guarded {
	t.Helper()
	g := &guarded{macs: map[net.Conn]*httpsig.MACVerifier{}}
	replay, err := httpsig.NewReplay(httpsig.ReplayConfig{Started: time.Now().Add(-time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	certificates := func(chain [][]byte) (key crypto.PublicKey, id string, err error) {
		var list []*x509.Certificate
		for _, der := range chain {
			c, err := x509.ParseCertificate(der)
			if err != nil {
				return nil, "", err
			}
			list = append(list, c)
		}
		peer, err := source.Verify(list)
		if err != nil {
			return nil, "", err
		}
		return peer.Leaf.PublicKey, peer.ID.String(), nil
	}
	if g.signed, err = httpsig.NewVerifier(certificates, replay); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g.address = l.Addr().String()
	cfg := svid.ServerTLS(source, func(p svid.Peer) error {
		if p.ID.Path() != "/gateway" {
			return problem.New(problem.InsidePeer, nil)
		}
		return nil
	})
	srv := &http.Server{
		Handler: g, ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, guardedConn{}, c) },
	}
	go func() { _ = srv.Serve(tls.NewListener(l, cfg)) }()
	t.Cleanup(func() { _ = srv.Close() })
	return g
}

func (g *guarded) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	said, err := g.judge(r, body)
	if err != nil {
		said = "refused: " + err.Error()
	}
	g.mu.Lock()
	g.seen = append(g.seen, fmt.Sprintf("%s %s %s %d", r.Method, r.RequestURI, said, len(body)))
	g.tokens = append(g.tokens, r.Header.Get("Txn-Token"))
	g.mu.Unlock()
	_, _ = io.WriteString(w, "served")
}

func (g *guarded) judge(r *http.Request, body []byte) (string, error) {
	m, err := httpsig.FromRequest(r)
	if err != nil {
		return "", err
	}
	proof, err := httpsig.ProofFrom(r.Header)
	if err != nil {
		return "", err
	}
	switch proof.Strength() {
	case httpsig.MAC:
		c := r.Context().Value(guardedConn{}).(*tls.Conn)
		g.mu.Lock()
		v := g.macs[c]
		g.mu.Unlock()
		if v == nil {
			key, err := httpsig.MACKey(r.TLS)
			if err != nil {
				return "", err
			}
			if v, err = httpsig.NewMACVerifier(key); err != nil {
				return "", err
			}
			g.mu.Lock()
			g.macs[c] = v
			g.mu.Unlock()
		}
		if err := v.Verify(&m, httpsig.Profile{Demand: httpsig.MAC, NoDigest: m.Digest == ""}, proof, time.Now()); err != nil {
			return "", err
		}
		if m.Digest == "" {
			return "mac without digest", nil
		}
		return "mac", checkDigest(m.Digest, body)
	case httpsig.Signature:
		s, err := g.signed.Verify(r.Context(), &m, httpsig.Profile{Demand: httpsig.Signature}, proof, time.Now())
		if err != nil {
			return "", err
		}
		return "signature of " + s.ID, checkDigest(m.Digest, body)
	}
	return "channel", nil
}

func checkDigest(header string, body []byte) error {
	h := httpsig.NewDigest()
	_, _ = h.Write(body)
	return httpsig.CheckDigest(header, [32]byte(h.Sum(nil)))
}

// innerRoutes are one of each proof.
func innerRoutes() []*zone.Route {
	with := func(method, path string, proof zone.Proof) *zone.Route {
		return &zone.Route{Method: method, Path: path, Proof: proof, Allow: zone.AllowAnonymous | zone.AllowUser}
	}
	sse := with("GET", "/live", zone.ProofMAC)
	sse.Stream = zone.StreamSSE
	return []*zone.Route{
		with("GET", "/mac/{id}", zone.ProofMAC), with("POST", "/mac/{id}", zone.ProofMAC), with("GET", "/channel", zone.ProofChannel),
		with("POST", "/channel", zone.ProofChannel), with("POST", "/signed", zone.ProofSignature), sse,
	}
}

// openInner is a door whose service has an inner door at address.
func openInner(t *testing.T, source *svid.Source, address string) *door {
	t.Helper()
	return openDoor(t, innerRoutes(), throughInnerDoor(t, source, address))
}

// throughInnerDoor gives the service an inner door at address.
func throughInnerDoor(t *testing.T, source *svid.Source, address string) func(*Config) {
	return func(c *Config) {
		svc := c.Zone.Services[0]
		svc.Embedded = true
		svc.Upstreams = []zone.Upstream{{Scheme: "https", Network: "tcp", Address: address, URL: "https://" + address}}
		c.Identity, c.Spool = source, t.TempDir()
	}
}

// TestProofs: what the inner door receives proves itself as the route asks, with
// bodies of every size and framing, on connections that are used again.
func TestProofs(t *testing.T) {
	ca := newTrust(t, "shop.example")
	inner := serveGuarded(t, ca.source("shop"))
	d := openInner(t, ca.source(svid.GatewayName), inner.address)
	big := strings.Repeat("0123456789abcdef", 20<<10) // in a file
	for _, http2 := range []bool{false, true} {
		c := d.client(http2)
		for _, r := range []struct{ method, target, body, want string }{
			{"GET", "/mac/7", "", "mac"}, {"GET", "/mac/7?a=b&c=%2F", "", "mac"}, {"GET", "/mac/7?", "", "mac"},
			{"POST", "/mac/7", "hello", "mac"}, {"POST", "/mac/7", big, "mac"}, {"POST", "/mac/7", "", "mac"},
			{"GET", "/channel", "", "channel"}, {"POST", "/channel", big, "channel"},
			{"POST", "/signed", "hello", "signature of spiffe://shop.example/gateway"}, {"POST", "/signed", big, "signature of spiffe://shop.example/gateway"},
			{"GET", "/live", "", "mac without digest"},
		} {
			got := d.do(c, r.method, r.target, r.body, "Authorization: Bearer "+aliceToken, "Signature: forged", "Signature-Input: forged", "Content-Digest: forged", "Sallyport-Certificate: forged")
			want := fmt.Sprintf("%s %s %s %d", r.method, r.target, r.want, len(r.body))
			inner.mu.Lock()
			last := inner.seen[len(inner.seen)-1]
			inner.mu.Unlock()
			if got.status != 200 || got.body != "served" || last != want {
				t.Errorf("http2 %v: %s %s: %d, the inner door saw %q, want %q", http2, r.method, r.target, got.status, last, want)
			}
		}
	}
	// In chunks: the length is known when the body has been read.
	pr, pw := io.Pipe()
	go func() { _, _ = pw.Write(bytes.Repeat([]byte("x"), 1000)); _ = pw.Close() }()
	req, err := http.NewRequest("POST", "https://shop.example/mac/7", pr)
	if err != nil {
		t.Fatal(err)
	}
	res, err := d.client(false).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if last := inner.seen[len(inner.seen)-1]; last != "POST /mac/7 mac 1000" {
		t.Errorf("in chunks: the inner door saw %q", last)
	}
}

// TestTokenOfOneRequest: on a route with `proof: signature` each request has a
// token of its own; elsewhere they share one.
func TestTokenOfOneRequest(t *testing.T) {
	ca := newTrust(t, "shop.example")
	inner := serveGuarded(t, ca.source("shop"))
	d := openInner(t, ca.source(svid.GatewayName), inner.address)
	c := d.client(false)
	for range 2 {
		d.do(c, "POST", "/signed", "x", "Authorization: Bearer "+aliceToken)
		d.do(c, "POST", "/mac/1", "x", "Authorization: Bearer "+aliceToken)
	}
	if len(inner.tokens) != 4 || inner.tokens[0] == inner.tokens[2] || inner.tokens[1] != inner.tokens[3] {
		t.Errorf("tokens %q: want those of the signed route to differ and the others to be one", inner.tokens)
	}
}

// TestWhoAnswers: the gateway speaks to the workload that the map names and to
// nobody else, and never in plain.
func TestWhoAnswers(t *testing.T) {
	ca, other := newTrust(t, "shop.example"), newTrust(t, "shop.example")
	foreign := newTrust(t, "evil.example")
	plain := newService(t, nil)
	for _, c := range []struct {
		what    string
		address string
		want    int
	}{
		{"positive control", serveGuarded(t, ca.source("shop")).address, 200},
		{"another service of the zone", serveGuarded(t, ca.source("payments")).address, 502},
		{"another CA with our names", serveGuarded(t, other.source("shop")).address, 502},
		{"another trust domain", serveGuarded(t, foreign.source("shop")).address, 502},
		{"a service in plain", plain.address, 502},
	} {
		d := openInner(t, ca.source(svid.GatewayName), c.address)
		got := d.do(d.client(false), "GET", "/mac/1", "", "Authorization: Bearer "+aliceToken)
		if got.status != c.want {
			t.Errorf("%s: %d %s, want %d", c.what, got.status, got.body, c.want)
		}
	}
	if n := len(plain.all()); n != 0 {
		t.Errorf("the service in plain got %d requests", n)
	}
}
