package e2e

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/internal/httpsig"
	"sallyport.dev/internal/keys"
	"sallyport.dev/internal/pki"
	"sallyport.dev/internal/store"
	"sallyport.dev/internal/svid"
)

// issue makes an identity with the zone's own CA, past all that decides who gets
// one: for certificates that no service gets, and lives that none has.
func (z *zoned) issue(name string, life time.Duration) *svid.Identity {
	z.t.Helper()
	ctx := context.Background()
	db, err := z.openStore(ctx)
	if err != nil {
		z.t.Fatal(err)
	}
	defer db.Close()
	root, err := keys.OpenRoot(z.data+".root", false)
	if err != nil {
		z.t.Fatal(err)
	}
	ca, err := pki.OpenCA(ctx, db, root, "shop.example", pki.Options{SVIDLife: life})
	if err != nil {
		z.t.Fatal(err)
	}
	key := newKey(z.t)
	chain, _, err := ca.IssueSVID(ctx, name, key.Public())
	if err != nil {
		z.t.Fatal(err)
	}
	own, err := svid.NewIdentity(chain, key, ca.Roots())
	if err != nil {
		z.t.Fatal(err)
	}
	return own
}

// openStore opens the zone's database beside it.
func (z *zoned) openStore(ctx context.Context) (*store.DB, error) {
	if url, err := os.ReadFile(filepath.Join(z.dir, "pg.url")); err == nil {
		return store.OpenPostgres(ctx, strings.TrimSpace(string(url)), store.PostgresOptions{})
	}
	return store.OpenSQLite(ctx, filepath.Join(z.data, "zone.db"))
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// foreignCA is a CA that is not the zone's, and may use all its names.
type foreignCA struct {
	t    testing.TB
	key  *ecdsa.PrivateKey
	root *x509.Certificate
}

func newForeignCA(t testing.TB) *foreignCA {
	t.Helper()
	ca := &foreignCA{t: t, key: newKey(t)}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{Organization: []string{"shop.example"}, CommonName: "shop.example root"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	ca.root = ca.sign(tmpl, tmpl, &ca.key.PublicKey)
	return ca
}

func (ca *foreignCA) sign(tmpl, issuer *x509.Certificate, pub *ecdsa.PublicKey) *x509.Certificate {
	ca.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, tmpl, issuer, pub, ca.key)
	if err != nil {
		ca.t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		ca.t.Fatal(err)
	}
	return c
}

// leaf is a certificate for spiffe://shop.example/name, as the zone's own are.
func (ca *foreignCA) leaf(name string) tls.Certificate {
	ca.t.Helper()
	key := newKey(ca.t)
	c := ca.sign(&x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		URIs: []*url.URL{{Scheme: "spiffe", Host: "shop.example", Path: "/" + name}}, DNSNames: []string{"localhost"},
	}, ca.root, &key.PublicKey)
	return tls.Certificate{Certificate: [][]byte{c.Raw}, PrivateKey: key, Leaf: c}
}

// looseRequest is a request that needs nothing but the right connection.
func looseRequest(token string) string {
	return "GET /loose HTTP/1.1\r\nHost: ledger\r\nTxn-Token: " + token + "\r\nX-Correlation-Id: " + newID() + "\r\n\r\n"
}

// always presents a certificate, whatever the server asks for.
func always(c tls.Certificate) *tls.Config {
	return &tls.Config{GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &c, nil }}
}

// TestInnerDoorStrangers: who does not authenticate as a workload of the zone gets
// no answer at all, whatever token and request it has (SV-04).
func TestInnerDoorStrangers(t *testing.T) {
	t.Parallel()
	n := startInner(t, "ledger")
	token := n.inside(n.login(n.addUser("alice@shop.example")))
	front := n.member("front")
	own, err := front.source.Current()
	if err != nil {
		t.Fatal(err)
	}
	foreign := newForeignCA(t)
	mine, gateway := foreign.leaf("front"), foreign.leaf("gateway")

	wrongKey := own.Certificate
	wrongKey.PrivateKey = newKey(t)
	borrowed := foreign.leaf("front") // the zone's true chain behind a leaf that is not of it
	borrowed.Certificate = append(borrowed.Certificate, own.Certificate.Certificate...)
	behind := own.Certificate // a true leaf behind one that is not
	behind.Certificate = append([][]byte{mine.Certificate[0]}, own.Certificate.Certificate...)
	behind.PrivateKey = mine.PrivateKey
	noChain := own.Certificate
	noChain.Certificate = noChain.Certificate[:1]
	old := always(own.Certificate)
	old.MaxVersion = tls.VersionTLS12
	expired := n.issue("front", time.Second)
	until(t, "a certificate of a second has ended", func() bool { return time.Now().After(expired.NotAfter) })

	if got := n.guest("ledger", token, always(own.Certificate)); !got.passed() {
		t.Fatalf("positive control: front's own certificate: %s %s", got, got.Body)
	}
	if got := n.guest("ledger", token, always(n.issue("front", time.Hour).Certificate)); !got.passed() {
		t.Fatalf("positive control: a certificate of the zone's CA that lives: %s %s", got, got.Body)
	}
	for what, cfg := range map[string]*tls.Config{
		"no certificate": {}, "no certificate by TLS 1.2": {MaxVersion: tls.VersionTLS12}, "front by TLS 1.2": old,
		"a foreign CA's front": always(mine), "a foreign CA's gateway": always(gateway), "a foreign CA's root": always(tls.Certificate{Certificate: [][]byte{foreign.root.Raw}, PrivateKey: foreign.key}),
		"a foreign leaf, front's chain behind it": always(borrowed), "a foreign leaf, front's leaf behind it": always(behind), "front's certificate without its key": always(wrongKey),
		"front's leaf without its issuer": always(noChain), "an expired certificate of front": always(expired.Certificate), "the certificate of control": always(n.issue("control", time.Hour).Certificate),
	} {
		if got := n.stranger(t, "ledger", looseRequest(token()), cfg); got.Err == nil {
			t.Errorf("%s: %s %s, want no connection", what, got, got.Body)
		}
	}
	plain, err := net.Dial("tcp", n.door("ledger"))
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if got := exchangeInside(plain, []byte(looseRequest(token())), "GET"); got.Err == nil && got.Status != 400 {
		t.Errorf("plain HTTP: %s %s, want 400 or nothing", got, got.Body)
	}
	// A certificate of the zone for a name that the map does not have connects, and may nothing.
	if got := n.guest("ledger", token, always(n.issue("ghost", time.Hour).Certificate)); got.Reason != "inside.call" {
		t.Errorf("a service that is not in the map: %s, want inside.call", got)
	}
	if all := n.programs["ledger"].all(); len(all) != 2 {
		t.Errorf("the service was asked %d times, want 2 by the positive controls", len(all))
	}
}

// guest is stranger for who gets an answer: a door hangs up on who keeps it waiting.
func (n *inner) guest(service string, token func() string, cfg *tls.Config) (got innerAnswer) {
	n.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if got = n.stranger(n.t, service, looseRequest(token()), cfg); got.Err == nil || time.Now().After(deadline) {
			return got
		}
	}
}

// TestInnerDoorConnectionEnds: a connection ends with the certificate that it was
// made with.
func TestInnerDoorConnectionEnds(t *testing.T) {
	t.Parallel()
	n := startInner(t, "ledger")
	token := n.inside(n.login(n.addUser("alice@shop.example")))
	door, front := n.door("ledger"), n.member("front")
	source := svid.NewSource(nil)
	var short *svid.Identity
	var w *wire
	for life := 4 * time.Second; ; life *= 2 { // until it is long enough for a request
		last := token()
		short = n.issue("front", life)
		source.Set(short)
		var err error
		if w, err = dialDoor(t, source, "ledger", door); err == nil {
			got := w.send(w.craft(httpsig.MAC, "GET", "/entries/1", last, ""))
			if got.passed() {
				break
			}
			err = fmt.Errorf("%s %.200s", got, got.Body)
		}
		if life > patience/4 {
			t.Fatalf("positive control: while a certificate of %v lives: %v", life, err)
		}
	}
	long := front.wire(t, "ledger")
	_ = w.conn.SetDeadline(short.NotAfter.Add(patience / 4)) // sooner than it ends for being idle
	if _, err := w.conn.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Fatalf("the connection: %v, want its end", err)
	}
	if early := time.Until(short.NotAfter); early > 2*time.Second {
		t.Errorf("the connection ended %v before its certificate", early)
	}
	last := token()
	long.send(long.craft(httpsig.MAC, "GET", "/entries/2", last, "")).mustPass(t, "a connection with a certificate that lives on")
}

// sessions is a cache of TLS sessions that counts.
type sessions struct {
	tls.ClientSessionCache
	put atomic.Int64
}

func (s *sessions) Put(key string, state *tls.ClientSessionState) {
	if state != nil {
		s.put.Add(1)
	}
	s.ClientSessionCache.Put(key, state)
}

// TestInnerDoorNoResumption: inner doors and control give out no session, so that
// every connection shows its certificate.
func TestInnerDoorNoResumption(t *testing.T) {
	t.Parallel()
	n := startInner(t, "ledger")
	own, err := n.member("front").source.Current()
	if err != nil {
		t.Fatal(err)
	}
	ask := func(address string) (resumed bool, put int64) {
		cache := &sessions{ClientSessionCache: tls.NewLRUClientSessionCache(4)}
		cfg := always(own.Certificate)
		cfg.ClientSessionCache, cfg.InsecureSkipVerify, cfg.ServerName = cache, true, "door"
		for range 3 {
			until(t, address+" answers", func() bool { // it hangs up on who keeps it waiting
				conn, err := tls.Dial("tcp", address, cfg)
				if err != nil {
					return false
				}
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(patience))
				_, _ = fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: ledger\r\nConnection: close\r\n\r\n")
				if _, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil {
					return false
				}
				resumed = resumed || conn.ConnectionState().DidResume
				return true
			})
		}
		return resumed, cache.put.Load()
	}
	common := httptest.NewTLSServer(http.NotFoundHandler())
	defer common.Close()
	if resumed, put := ask(common.Listener.Addr().String()); !resumed || put == 0 {
		t.Errorf("positive control: a common server: resumed %t, %d sessions", resumed, put)
	}
	for what, address := range map[string]string{"ledger": n.door("ledger"), "control": n.address["control"]} {
		if resumed, put := ask(address); resumed || put != 0 {
			t.Errorf("%s: resumed %t, %d sessions given out; want none", what, resumed, put)
		}
	}
}
