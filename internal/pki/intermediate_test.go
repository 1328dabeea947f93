package pki

import (
	"bytes"
	"context"
	"crypto/x509"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/store"
)

// verify builds a chain from leaf over the intermediates to the CA's root, as a
// verifier does that asks for a usage.
func verify(t testing.TB, ca *CA, at time.Time, usage x509.ExtKeyUsage, leaf *x509.Certificate, intermediates ...*x509.Certificate) error {
	t.Helper()
	pool := x509.NewCertPool()
	for _, c := range intermediates {
		pool.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: trusting(t, ca), Intermediates: pool, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{usage}})
	return err
}

// dropRootKey takes the root's private key away.
func dropRootKey(t testing.TB, g ground) {
	t.Helper()
	err := g.db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Exec(ctx, `DELETE FROM sealed WHERE name = ?`, rootKeyName)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// What a stolen intermediate can sign that a verifier believes: its own work
// and nothing else.
func TestIntermediatesAreConfined(t *testing.T) {
	const client, server = x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth
	ca := openCA(t, newGround(t), (&clock{start}).Now)
	uri := func(text string) func(*x509.Certificate) {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return func(c *x509.Certificate) { c.URIs = append(c.URIs, u) }
	}
	dns := func(name string) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.DNSNames = append(c.DNSNames, name) }
	}
	ip := func(text string) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.IPAddresses = append(c.IPAddresses, net.ParseIP(text)) }
	}
	for _, c := range []struct {
		name  string
		by    *intermediate
		as    x509.ExtKeyUsage
		names []func(*x509.Certificate)
		ok    bool
	}{
		{"web: a host", ca.web, server, []func(*x509.Certificate){dns("shop.example")}, true},
		{"web: an address", ca.web, server, []func(*x509.Certificate){ip("10.0.0.5")}, true},
		{"web: a client", ca.web, client, []func(*x509.Certificate){dns("shop.example")}, false},
		{"web: a workload", ca.web, server, []func(*x509.Certificate){uri("spiffe://shop.example/orders")}, false},
		{"web: a host and a workload", ca.web, server, []func(*x509.Certificate){dns("shop.example"), uri("spiffe://shop.example/orders")}, false},

		{"svid: a workload as a server", ca.svid, server, []func(*x509.Certificate){uri("spiffe://shop.example/orders")}, true},
		{"svid: a workload as a client", ca.svid, client, []func(*x509.Certificate){uri("spiffe://shop.example/orders")}, true},
		{"svid: a workload as anything else", ca.svid, x509.ExtKeyUsageCodeSigning, []func(*x509.Certificate){uri("spiffe://shop.example/orders")}, false},
		{"svid: another trust domain", ca.svid, server, []func(*x509.Certificate){uri("spiffe://bank.example/orders")}, false},
		{"svid: a trust domain below", ca.svid, server, []func(*x509.Certificate){uri("spiffe://eu.shop.example/orders")}, false},
		{"svid: a trust domain above", ca.svid, server, []func(*x509.Certificate){uri("spiffe://example/orders")}, false},
		{"svid: a trust domain that ends alike", ca.svid, server, []func(*x509.Certificate){uri("spiffe://myshop.example/orders")}, false},
		{"svid: ours and another", ca.svid, server, []func(*x509.Certificate){uri("spiffe://shop.example/orders"), uri("spiffe://bank.example/x")}, false},
		{"svid: a URI without a host", ca.svid, server, []func(*x509.Certificate){uri("urn:orders")}, false},
		{"svid: a host", ca.svid, server, []func(*x509.Certificate){dns("shop.example")}, false},
		{"svid: another host", ca.svid, server, []func(*x509.Certificate){dns("bank.example")}, false},
		{"svid: a workload and a host", ca.svid, server, []func(*x509.Certificate){uri("spiffe://shop.example/orders"), dns("shop.example")}, false},
		{"svid: an address", ca.svid, server, []func(*x509.Certificate){ip("10.0.0.5")}, false},
		{"svid: an IPv6 address", ca.svid, server, []func(*x509.Certificate){ip("2001:db8::1")}, false},
		{"svid: a mailbox", ca.svid, server, []func(*x509.Certificate){func(c *x509.Certificate) { c.EmailAddresses = []string{"a@shop.example"} }}, false},
	} {
		tmpl := template(subject("leaf", ""), start, time.Hour)
		tmpl.KeyUsage, tmpl.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{c.as}
		for _, name := range c.names {
			name(tmpl)
		}
		key, err := newKey()
		if err != nil {
			t.Fatal(err)
		}
		signer := c.by.inUse
		leaf, err := signer.sign(tmpl, &key.PublicKey, start)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if err := verify(t, ca, start, c.as, leaf, signer.cert); (err == nil) != c.ok {
			t.Errorf("%s: %v, want ok %v", c.name, err, c.ok)
		}
		if err := verify(t, ca, start, c.as, leaf); err == nil {
			t.Errorf("%s, without the intermediate: it verifies", c.name)
		}
		sub, err := signer.issueCA(c.by.purpose, "shop.example", start) // a CA under the intermediate
		if err != nil {
			t.Fatal(err)
		}
		if leaf, err = sub.sign(tmpl, &key.PublicKey, start); err != nil {
			t.Fatal(err)
		}
		if err := verify(t, ca, start, c.as, leaf, sub.cert, signer.cert); err == nil {
			t.Errorf("%s, of a CA below the intermediate: it verifies", c.name)
		}
	}
}

// An intermediate of another root or another purpose, sealed well, is not taken.
func TestForeignIntermediatesAreRefused(t *testing.T) {
	long := strings.Repeat("a.", 40) + "example" // too long for a subject
	for _, c := range []struct {
		name   string
		zone   string
		put    func(own, foreign *CA) (*certKey, error)
		place  purpose
		reason string // "": it is taken
	}{
		{"own web", "shop.example", func(own, _ *CA) (*certKey, error) { return own.web.inUse, nil }, webServers("shop.example"), ""},
		{"own svid", "shop.example", func(own, _ *CA) (*certKey, error) { return own.svid.inUse, nil }, workloads("shop.example"), ""},
		{"foreign web", "shop.example", func(_, foreign *CA) (*certKey, error) { return foreign.web.inUse, nil }, webServers("shop.example"), "not of this root"},
		{"foreign svid", "shop.example", func(_, foreign *CA) (*certKey, error) { return foreign.svid.inUse, nil }, workloads("shop.example"), "not of this root"},
		{"web as svid", "shop.example", func(own, _ *CA) (*certKey, error) { return own.web.inUse, nil }, workloads("shop.example"), "it is of zone"},
		{"svid as web", "shop.example", func(own, _ *CA) (*certKey, error) { return own.svid.inUse, nil }, webServers("shop.example"), "it is of zone"},
		{"another zone's", long, func(own, _ *CA) (*certKey, error) { return own.svid.inUse, nil }, workloads("shop.example"), ""},
		{"a leaf", "shop.example", func(own, _ *CA) (*certKey, error) { return own.web.inUse.issueLeaf(names{}, start) }, webServers("shop.example"), "not of this root"},
	} {
		g := newGround(t)
		at := &clock{start}
		open := func(g ground, zone string) (*CA, error) {
			return OpenCA(t.Context(), g.db, g.root, zone, Options{Clock: at.Now})
		}
		own, err := open(g, c.zone)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		foreign, err := open(newGround(t), c.zone)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		planted, err := c.put(own, foreign)
		if err != nil {
			t.Fatal(err)
		}
		bundle, err := planted.marshal()
		if err != nil {
			t.Fatal(err)
		}
		err = g.db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error { return g.root.Put(ctx, tx, c.place.name, 2, bundle) })
		if err != nil {
			t.Fatal(err)
		}
		if _, err = open(g, c.zone); c.reason == "" && err != nil || c.reason != "" && (err == nil || !strings.Contains(err.Error(), c.reason)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.reason)
		}
		if c.zone == long { // the root does not tell, the intermediate does
			if _, err := open(g, "b."+long); err == nil || !strings.Contains(err.Error(), "it is of zone") {
				t.Errorf("%s: %v, want an error that says it is of another zone", c.name, err)
			}
		}
	}
}

// Leaves of before and after a renewal verify against the same root, and
// another process takes over what the first has renewed.
func TestIntermediatesAreRenewedWithOverlap(t *testing.T) {
	for _, c := range []struct {
		name  string
		of    func(*CA) *intermediate
		early time.Duration // just before two thirds of its life
		late  time.Duration
	}{
		{"web", func(ca *CA) *intermediate { return ca.web }, 243 * day, 244 * day},
		{"svid", func(ca *CA) *intermediate { return ca.svid }, 60*day - time.Hour, 60 * day},
	} {
		at := &clock{start}
		g := newGround(t)
		ca := openCA(t, g, at.Now)
		other := openCA(t, ground{openDB(t, g.dir), g.root, g.dir}, at.Now) // another process
		issue := func(ca *CA) []*x509.Certificate {
			if c.name == "svid" {
				return issueSVID(t, ca, "orders")
			}
			return chain(t, serverCertificate(t, ca, "shop.example"))
		}
		first := c.of(ca).inUse
		at.now = start.Add(c.early)
		old := issue(ca)
		if !old[1].Equal(first.cert) {
			t.Fatalf("%s: the intermediate was renewed too early", c.name)
		}
		at.now = start.Add(c.late)
		renewed := issue(ca)
		if renewed[1].Equal(old[1]) {
			t.Errorf("%s: the intermediate was not renewed at two thirds of its life", c.name)
		}
		if c.of(ca).inUse.key.Equal(first.key) {
			t.Errorf("%s: the renewed intermediate has the key of the one before", c.name)
		}
		if c.name == "svid" {
			at.now = start.Add(c.early + 30*time.Minute) // while both live
		}
		for when, certs := range map[string][]*x509.Certificate{"before": old, "after": renewed} {
			moment := at.now
			if when == "after" {
				moment = start.Add(c.late)
			}
			if err := verify(t, ca, moment, x509.ExtKeyUsageServerAuth, certs[0], certs[1:]...); err != nil {
				t.Errorf("%s: leaf of the intermediate %s the renewal: %v", c.name, when, err)
			}
		}
		at.now = start.Add(c.late)
		if certs := issue(other); !certs[1].Equal(renewed[1]) {
			t.Errorf("%s: another process made an intermediate of its own", c.name)
		}
		g.db = openDB(t, g.dir)
		if again := openCA(t, g, at.Now); !c.of(again).inUse.cert.Equal(renewed[1]) {
			t.Errorf("%s: a restart lost the renewed intermediate", c.name)
		}
		if again := openCA(t, g, at.Now); !bytes.Equal(again.RootPEM(), ca.RootPEM()) {
			t.Errorf("%s: the root changed", c.name)
		}
	}
}

// The root's key may be taken away: the zone is opened and signs while its
// intermediates live, and says what it lacks.
func TestRunsWithoutTheRootKey(t *testing.T) {
	const lacks = "private key of the root CA is not in this data folder"
	at := &clock{start}
	g := newGround(t)
	openCA(t, g, at.Now)
	dropRootKey(t, g)
	var log bytes.Buffer
	reopen := func() (*CA, error) {
		log.Reset()
		return OpenCA(t.Context(), g.db, g.root, "shop.example", Options{Clock: at.Now, Log: logTo(&log)})
	}
	var running *CA
	for _, c := range []struct {
		after time.Duration
		due   bool
	}{{0, false}, {59 * day, false}, {61 * day, true}, {90*day - 30*time.Minute, true}} {
		at.now = start.Add(c.after)
		ca, err := reopen()
		if err != nil {
			t.Fatalf("after %s: %v", c.after, err)
		}
		svid := issueSVID(t, ca, "orders")
		if end := start.Add(workloadsLife); svid[0].NotAfter.After(end) {
			t.Errorf("after %s: an SVID until %s outlives its intermediate's %s", c.after, svid[0].NotAfter, end)
		}
		if err := verify(t, ca, at.now, x509.ExtKeyUsageClientAuth, svid[0], svid[1:]...); err != nil {
			t.Errorf("after %s: SVID: %v", c.after, err)
		}
		web := chain(t, serverCertificate(t, ca, "shop.example"))
		if err := verify(t, ca, at.now, x509.ExtKeyUsageServerAuth, web[0], web[1:]...); err != nil {
			t.Errorf("after %s: leaf: %v", c.after, err)
		}
		for range 10 {
			issueSVID(t, ca, "orders")
		}
		want := 0
		if c.due {
			want = 1 // not once for every SVID
		}
		if said := strings.Count(log.String(), lacks); said != want {
			t.Errorf("after %s the log says so %d times, want %d: %s", c.after, said, want, &log)
		}
		running = ca
	}
	at.now = at.now.Add(renewEvery) // and it is tried again
	log.Reset()
	if issueSVID(t, running, "orders"); !strings.Contains(log.String(), lacks) {
		t.Errorf("a minute later the log says %s", &log)
	}

	// What runs goes on with the web intermediate after the other has ended.
	at.now = start.Add(300 * day)
	log.Reset()
	s := serverCertificate(t, running, "shop.example")
	if end := start.Add(webLife); s.Leaf().NotAfter.After(end) || !strings.Contains(log.String(), lacks) {
		t.Errorf("a leaf until %s, its intermediate's end %s; the log says %s", s.Leaf().NotAfter, end, &log)
	}
	if _, _, err := running.IssueSVID(t.Context(), "orders", publicKey(t)); err == nil || !strings.Contains(err.Error(), "bring it back") {
		t.Errorf("SVID of an expired intermediate: %v, want an error with the mend", err)
	}
	at.now = start.Add(webLife)
	if err := s.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "bring it back") {
		t.Errorf("leaf of an expired intermediate: %v, want an error with the mend", err)
	}
	if _, err := reopen(); err == nil || !strings.Contains(err.Error(), "bring it back") {
		t.Errorf("OpenCA with expired intermediates: %v, want an error with the mend", err)
	}
}

// A caller who gives up does not keep the next from renewing.
func TestRenewalIsTriedAgainAfterACallerGaveUp(t *testing.T) {
	at := &clock{start}
	ca := openCA(t, newGround(t), at.Now)
	first := ca.svid.inUse
	at.now = start.Add(61 * day)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if c, err := ca.svid.use(gone, at.now); err != nil || c != first {
		t.Errorf("with a cancelled context: %v, want the intermediate in use", err)
	}
	if c, err := ca.svid.use(t.Context(), at.now); err != nil || c == first {
		t.Errorf("the next caller: %v, want a renewed intermediate", err)
	}
}

func TestNothingOutlivesItsIssuer(t *testing.T) {
	at := &clock{start}
	g := newGround(t)
	openCA(t, g, at.Now)
	end := start.Add(rootLife)
	at.now = end.Add(-30 * time.Minute)
	var log bytes.Buffer
	ca, err := OpenCA(t.Context(), g.db, g.root, "shop.example", Options{Clock: at.Now, Log: logTo(&log)})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range append(chain(t, serverCertificate(t, ca, "shop.example")), issueSVID(t, ca, "orders")...) {
		if !c.NotAfter.Equal(end) {
			t.Errorf("%s lives until %s, want the root's end %s", c.Subject.CommonName, c.NotAfter, end)
		}
	}
	if !strings.Contains(log.String(), "nears its end") {
		t.Errorf("no warning in the log: %s", &log)
	}
	at.now = end
	if _, _, err := ca.IssueSVID(t.Context(), "orders", publicKey(t)); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("SVID at the root's end: %v, want an error that says it expired", err)
	}
}
