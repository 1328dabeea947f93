package svid

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/problem"
)

// presented is what an attacker shows: a certificate that it holds the key of.
type presented struct {
	name  string
	chain *tls.Certificate // nil: none
	want  string           // a part of the error of who verifies
}

// strangers are the peers that must be refused. Each differs from the good one,
// orders, in one thing.
func strangers(t *testing.T, zone *authority) []presented {
	now := day()
	foreign := newAuthority(t, "bank.example", now)
	imposter := newAuthority(t, testZone, now) // a foreign CA that issues our names
	show := func(a *authority, name string, change func(*x509.Certificate)) *tls.Certificate {
		leaf, key := a.leaf(name, now, time.Hour, change)
		return &tls.Certificate{Certificate: [][]byte{leaf.Raw, a.mid.Raw}, PrivateKey: key}
	}
	uris := func(all ...string) *tls.Certificate { return show(zone, "", uriNamesRaw(t, all...)) }
	under := func(change func(*x509.Certificate)) *tls.Certificate {
		branch := *zone
		branch.mid, branch.midKey = zone.signer("other purpose", now, zone.root, zone.rootKey, change)
		return show(&branch, "orders", nil)
	}
	own, ownKey := zone.leaf("orders", now, time.Hour, nil)
	other, otherKey := foreign.leaf("orders", now, time.Hour, nil)
	return []presented{
		// trust
		{"another trust domain", show(foreign, "orders", nil), "not of the trust domain"},
		{"foreign CA with our name", show(imposter, "orders", nil), "unknown authority"},
		{"foreign CA's leaf beside our own intermediate", chainOf(imposter, zone, now), "unknown authority"},
		{"without the intermediate", &tls.Certificate{Certificate: [][]byte{own.Raw}, PrivateKey: ownKey}, "unknown authority"},
		{"our own chain behind a foreign leaf", &tls.Certificate{Certificate: [][]byte{other.Raw, own.Raw, zone.mid.Raw}, PrivateKey: otherKey}, "not of the trust domain"},
		{"self-signed", selfSigned(t, now), "unknown authority"},
		{"issued by a leaf", issuedByLeaf(t, zone, now), "unknown authority"},
		{"an intermediate for servers only", under(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }), "one side of TLS"},
		{"an intermediate of another trust domain", under(func(c *x509.Certificate) { c.URIs = []*url.URL{{Scheme: "spiffe", Host: "bank.example"}} }), "want the trust domain"},
		{"an intermediate that is a workload", under(func(c *x509.Certificate) { c.URIs = []*url.URL{{Scheme: "spiffe", Host: testZone, Path: "/x"}} }), "want the trust domain"},
		{"an intermediate that ends before it", under(func(c *x509.Certificate) { c.NotAfter = now.Add(30 * time.Minute) }), "after its issuer"},

		// life
		{"expired", show(zone, "orders", func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.Add(-2*time.Minute), now.Add(-time.Second) }), "expired"},
		{"not yet valid", show(zone, "orders", func(c *x509.Certificate) { c.NotBefore = now.Add(time.Second) }), "not yet valid"},

		// names
		{"no URI name", show(zone, "", func(c *x509.Certificate) { c.URIs = nil }), "0 URI names"},
		{"a host name only", show(zone, "", func(c *x509.Certificate) { c.URIs, c.DNSNames = nil, []string{"orders"} }), "0 URI names"},
		{"the name as common name only", show(zone, "", func(c *x509.Certificate) {
			c.URIs, c.Subject = nil, pkix.Name{CommonName: "spiffe://" + testZone + "/orders"}
		}), "0 URI names"},
		{"two URI names", uris("spiffe://shop.example/orders", "spiffe://shop.example/stock"), "2 URI names"},
		{"two URI names, one no SPIFFE ID", uris("spiffe://shop.example/orders", "https://shop.example/"), "2 URI names"},
		{"the same URI twice", uris("spiffe://shop.example/orders", "spiffe://shop.example/orders"), "2 URI names"},
		{"wildcard path", uris("spiffe://shop.example/*"), "no SPIFFE ID"},
		{"wildcard domain", uris("spiffe://*.example/orders"), "no SPIFFE ID"},
		{"scheme in upper case", uris("SPIFFE://shop.example/orders"), "no SPIFFE ID"},
		{"domain in upper case", uris("spiffe://SHOP.example/orders"), "no SPIFFE ID"},
		{"percent encoding", uris("spiffe://shop.example/order%73"), "no SPIFFE ID"},
		{"dot segment", uris("spiffe://shop.example/x/../orders"), "no SPIFFE ID"},
		{"single dot segment", uris("spiffe://shop.example/./orders"), "no SPIFFE ID"},
		{"empty segment", uris("spiffe://shop.example//orders"), "no SPIFFE ID"},
		{"trailing slash", uris("spiffe://shop.example/orders/"), "no SPIFFE ID"},
		{"empty fragment", uris("spiffe://shop.example/orders#"), "no SPIFFE ID"},
		{"empty query", uris("spiffe://shop.example/orders?"), "no SPIFFE ID"},
		{"port", uris("spiffe://shop.example:1/orders"), "no SPIFFE ID"},
		{"user", uris("spiffe://x@shop.example/orders"), "no SPIFFE ID"},
		{"another scheme", uris("https://shop.example/orders"), "no SPIFFE ID"},
		{"too long", uris("spiffe://shop.example/" + strings.Repeat("a", maxID)), "no SPIFFE ID"},
		{"the trust domain itself", uris("spiffe://shop.example"), "no workload"},
		{"a domain that ours starts with", uris("spiffe://shop.example.evil/orders"), "not of the trust domain"},

		// use
		{"a CA as leaf", show(zone, "orders", func(c *x509.Certificate) {
			c.IsCA, c.KeyUsage = true, x509.KeyUsageDigitalSignature|x509.KeyUsageCertSign
		}), "is a CA's"},
		{"the intermediate itself", &tls.Certificate{Certificate: [][]byte{zone.mid.Raw}, PrivateKey: zone.midKey}, "0 URI names"},
		{"may sign certificates", show(zone, "orders", func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCertSign }), "may sign others"},
		{"may sign revocations", show(zone, "orders", func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCRLSign }), "may sign others"},
		{"no digital signature", show(zone, "orders", func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }), "digitalSignature"},
		{"no key usage", show(zone, "orders", func(c *x509.Certificate) { c.KeyUsage = 0 }), "digitalSignature"},
		{"for servers only", show(zone, "orders", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }), "both sides"},
		{"for clients only", show(zone, "orders", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), "both sides"},
		{"for code signing", show(zone, "orders", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning} }), "both sides"},
		{"an unknown critical extension", show(zone, "orders", func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: []int{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}}}
		}), "critical"},
		{"a chain of nine", &tls.Certificate{Certificate: append([][]byte{own.Raw}, repeat(zone.mid.Raw, maxChain)...), PrivateKey: ownKey}, "a chain of 9"},
	}
}

// TestPeers runs each stranger against both sides in a whole handshake, next to
// the good peer that differs from it in one thing.
func TestPeers(t *testing.T) {
	zone := newAuthority(t, testZone, day())
	home := zone.source("gateway", fixed(day()))
	good := zone.source("orders", fixed(day()))
	id, _ := good.Current()
	plain := zone.leafless(t, day()) // no extended key usage at all is fine too
	cases := append([]presented{{name: "good", chain: &id.Certificate}, {name: "good without extended key usage", chain: plain}}, strangers(t, zone)...)
	for _, c := range cases {
		attacker := &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{*c.chain}, InsecureSkipVerify: true, ClientAuth: tls.RequestClientCert} // #nosec G402 -- an attacker
		err, _ := shake(t, ServerTLS(home, allowAll), attacker)
		judgeRefusal(t, c.name+" as client", err, c.want)
		_, err = shake(t, attacker, ClientTLS(home, mustID(t, "orders")))
		judgeRefusal(t, c.name+" as server", err, c.want)
	}
}

func judgeRefusal(t *testing.T, name string, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("%s: %v, want it accepted", name, err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("%s: %v, want an error with %q", name, err, want)
	case want != "" && problem.ReasonOf(err) != problem.InsidePeer:
		t.Errorf("%s: reason %s, want inside.peer (%v)", name, problem.ReasonOf(err), err)
	}
}

// TestMissingCertificate: the positive control is TestPeers' good client.
func TestMissingCertificate(t *testing.T) {
	zone := newAuthority(t, testZone, day())
	home := zone.source("gateway", fixed(day()))
	nobody := &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true} // #nosec G402 -- an attacker
	if err, _ := shake(t, ServerTLS(home, allowAll), nobody); err == nil || !strings.Contains(err.Error(), "didn't provide a certificate") {
		t.Errorf("a client without a certificate: %v, want it refused", err)
	}
	if err, _ := shake(t, ControlTLS(home, nil), nobody); err != nil {
		t.Errorf("control and a client without a certificate: %v, want it let through as nobody", err)
	}
	id := zone.identity("orders", day(), time.Hour)
	known := &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, Certificates: []tls.Certificate{id.Certificate}} // #nosec G402 -- an attacker
	if err, _ := shake(t, ControlTLS(home, allowAll), known); err != nil {
		t.Errorf("control and a workload: %v, want it accepted", err)
	}
	if err, _ := shake(t, ControlTLS(home, nil), known); err == nil {
		t.Error("control that allows nobody took a workload")
	}
	foreign := newAuthority(t, "bank.example", day()).identity("orders", day(), time.Hour)
	known.Certificates[0] = foreign.Certificate
	if err, _ := shake(t, ControlTLS(home, allowAll), known); err == nil {
		t.Error("control took a workload of another zone")
	}
}

func TestWhoIsWantedAndAllowed(t *testing.T) {
	zone := newAuthority(t, testZone, day())
	gateway, orders := zone.source("gateway", fixed(day())), zone.source("orders", fixed(day()))
	onlyGateway := func(p Peer) error {
		if p.ID == mustID(t, "gateway") {
			return nil
		}
		return errors.New("not the gateway")
	}
	for _, c := range []struct {
		name   string
		client *Source
		want   ID
		allow  func(Peer) error
		ok     bool
	}{
		{"the right two", gateway, mustID(t, "orders"), onlyGateway, true},
		{"another server is wanted", gateway, mustID(t, "stock"), onlyGateway, false},
		{"a server whose name starts so", gateway, mustID(t, "order"), onlyGateway, false},
		{"no server is wanted", gateway, ID{}, onlyGateway, false},
		{"another client", orders, mustID(t, "orders"), onlyGateway, false},
		{"nobody is allowed", gateway, mustID(t, "orders"), nil, false},
		{"the client has no identity", NewSource(fixed(day())), mustID(t, "orders"), onlyGateway, false},
	} {
		serverErr, clientErr := shake(t, ServerTLS(orders, c.allow), ClientTLS(c.client, c.want))
		if ok := serverErr == nil && clientErr == nil; ok != c.ok {
			t.Errorf("%s: server %v, client %v, want accepted %v", c.name, serverErr, clientErr, c.ok)
		}
	}
	if _, err := shake(t, ServerTLS(NewSource(fixed(day())), allowAll), ClientTLS(gateway, mustID(t, "orders"))); err == nil {
		t.Error("a server without an identity was accepted")
	}
}

// TestResumption: sessions are not resumed, and where somebody switches that on
// the resumed one is refused: a right taken away is noticed at the next handshake.
func TestResumption(t *testing.T) {
	zone := newAuthority(t, testZone, day())
	gateway, orders := zone.source("gateway", fixed(day())), zone.source("orders", fixed(day()))
	asked := 0
	var right error
	allow := func(Peer) error { asked++; return right }

	client := ClientTLS(gateway, mustID(t, "orders"))
	client.ClientSessionCache, client.ServerName = tls.NewLRUClientSessionCache(8), "orders"
	server := ServerTLS(orders, allow)
	for range 2 {
		if serverErr, clientErr := shake(t, server, client); serverErr != nil || clientErr != nil {
			t.Fatal(serverErr, clientErr)
		}
	}
	right = errors.New("taken away")
	if serverErr, _ := shake(t, server, client); serverErr == nil || asked != 3 {
		t.Errorf("after the right was taken away: %v, %d questions; want a refusal and 3", serverErr, asked)
	}

	right = nil
	server.SessionTicketsDisabled, client.SessionTicketsDisabled = false, false
	if serverErr, clientErr := shake(t, server, client); serverErr != nil || clientErr != nil {
		t.Fatalf("positive control: %v, %v", serverErr, clientErr)
	}
	serverErr, clientErr := shake(t, server, client)
	if err := errors.Join(serverErr, clientErr); err == nil || !strings.Contains(err.Error(), "resumed") {
		t.Errorf("a resumed session: server %v, client %v, want it refused", serverErr, clientErr)
	}

	// A client that does resume, by itself, against a server that was opened for it.
	id, _ := gateway.Current()
	lax := &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, ServerName: "orders", // #nosec G402 -- an attacker
		Time: fixed(day()), Certificates: []tls.Certificate{id.Certificate}, ClientSessionCache: tls.NewLRUClientSessionCache(8)}
	if serverErr, _ := shake(t, server, lax); serverErr != nil {
		t.Fatalf("positive control: %v", serverErr)
	}
	if serverErr, _ := shake(t, server, lax); serverErr == nil || !strings.Contains(serverErr.Error(), "resumed") {
		t.Errorf("a resumed session of an attacker: %v, want it refused", serverErr)
	}
}

func TestOldTLS(t *testing.T) {
	zone := newAuthority(t, testZone, day())
	gateway, orders := zone.source("gateway", fixed(day())), zone.source("orders", fixed(day()))
	id, _ := gateway.Current()
	old := &tls.Config{MaxVersion: tls.VersionTLS12, InsecureSkipVerify: true, Certificates: []tls.Certificate{id.Certificate}, ClientAuth: tls.RequestClientCert} // #nosec G402 -- an attacker
	if err, _ := shake(t, ServerTLS(orders, allowAll), old); err == nil {
		t.Error("TLS 1.2 was taken by a server")
	}
	if _, err := shake(t, old, ClientTLS(orders, mustID(t, "gateway"))); err == nil {
		t.Error("TLS 1.2 was taken by a client")
	}
	// Somebody opens the configuration: the handshake is still refused.
	server := ServerTLS(orders, allowAll)
	server.MinVersion = tls.VersionTLS12
	if err, _ := shake(t, server, old); err == nil || !strings.Contains(err.Error(), "want TLS 1.3") {
		t.Errorf("TLS 1.2 against an opened server: %v, want it refused", err)
	}
}

func chainOf(leafOf, midOf *authority, now time.Time) *tls.Certificate {
	leaf, key := leafOf.leaf("orders", now, time.Hour, nil)
	return &tls.Certificate{Certificate: [][]byte{leaf.Raw, midOf.mid.Raw, midOf.root.Raw}, PrivateKey: key}
}

func selfSigned(t *testing.T, now time.Time) *tls.Certificate {
	key := testKey(t)
	tmpl := &x509.Certificate{
		NotBefore: now, NotAfter: now.Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature, Subject: pkix.Name{CommonName: "root of " + testZone},
		URIs: []*url.URL{{Scheme: "spiffe", Host: testZone, Path: "/orders"}},
	}
	return &tls.Certificate{Certificate: [][]byte{sign(t, tmpl, tmpl, &key.PublicKey, key).Raw}, PrivateKey: key}
}

// issuedByLeaf is what a workload could make of its own certificate.
func issuedByLeaf(t *testing.T, zone *authority, now time.Time) *tls.Certificate {
	stock, stockKey := zone.leaf("stock", now, time.Hour, nil)
	branch := *zone
	branch.mid, branch.midKey = stock, stockKey
	leaf, key := branch.leaf("orders", now, time.Hour, nil)
	return &tls.Certificate{Certificate: [][]byte{leaf.Raw, stock.Raw, zone.mid.Raw}, PrivateKey: key}
}

// leafless is a good chain without extended key usages.
func (a *authority) leafless(t *testing.T, now time.Time) *tls.Certificate {
	leaf, key := a.leaf("orders", now, time.Hour, func(c *x509.Certificate) { c.ExtKeyUsage = nil })
	return &tls.Certificate{Certificate: [][]byte{leaf.Raw, a.mid.Raw}, PrivateKey: key}
}

func repeat(b []byte, n int) [][]byte {
	var all [][]byte
	for range n {
		all = append(all, b)
	}
	return all
}
