package gateway

import (
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
	"sync"
	"time"

	"sallyport.dev/internal/journal"
	"sallyport.dev/internal/kv"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// fakeAuth knows credentials by heart. Before, when set, runs in every look-up.
type fakeAuth struct {
	mu     sync.Mutex
	known  map[string]policy.Principal
	until  time.Time // of every answer; zero: an hour from the test's clock
	err    error     // instead of an answer
	asked  int
	before func(Credential)
}

func (f *fakeAuth) Authenticate(_ context.Context, c Credential) (policy.Principal, time.Time, error) {
	if f.before != nil {
		f.before(c)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	p, ok := f.known[string(c.Value)]
	switch {
	case f.err != nil:
		return policy.Principal{}, time.Time{}, f.err
	case !ok:
		return policy.Principal{}, time.Time{}, problem.New(problem.AuthInvalid, nil)
	case f.until.IsZero():
		return p, time.Now().Add(time.Hour), nil
	}
	return p, f.until, nil
}

func (f *fakeAuth) set(credential string, p policy.Principal) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.known[credential] = p
}

func (f *fakeAuth) count() int { f.mu.Lock(); defer f.mu.Unlock(); return f.asked }

// fakeTokens mints tokens that say what they were made of.
type fakeTokens struct {
	mu     sync.Mutex
	minted int
	life   time.Duration
	now    func() time.Time // default time.Now
	err    error
	before func()
}

func (f *fakeTokens) Exchange(_ context.Context, c Credential, p *policy.Principal, listener, _ string) (string, time.Time, error) {
	if f.before != nil {
		f.before()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.minted++
	now := time.Now
	if f.now != nil {
		now = f.now
	}
	return fmt.Sprintf("inside.%s.%s.%d", p.Subject, listener, f.minted), now().Add(f.life), f.err
}

// fail makes the token service answer with err from now on.
func (f *fakeTokens) fail(err error) { f.mu.Lock(); defer f.mu.Unlock(); f.err = err }

func (f *fakeTokens) count() int { f.mu.Lock(); defer f.mu.Unlock(); return f.minted }

// fakeJournal keeps records in memory.
type fakeJournal struct {
	mu      sync.Mutex
	records []journal.Record
	synced  int
	admit   error
	err     error
	quiet   bool // of benchmarks: keep nothing
}

func (f *fakeJournal) Admit(bool) error { f.mu.Lock(); defer f.mu.Unlock(); return f.admit }

func (f *fakeJournal) Append(r *journal.Record) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil || f.quiet {
		return f.err
	}
	kept := *r
	kept.Stages = append([]uint32(nil), r.Stages...) // the journal keeps nothing of the caller's
	kept.Tags = append([]string(nil), r.Tags...)
	f.records = append(f.records, kept)
	return nil
}

func (f *fakeJournal) AppendSync(r *journal.Record) error {
	f.mu.Lock()
	f.synced++
	f.mu.Unlock()
	return f.Append(r)
}

func (f *fakeJournal) all() []journal.Record {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]journal.Record(nil), f.records...)
}

// fakeLimiter counts and never forgets.
type fakeLimiter struct {
	mu    sync.Mutex
	taken map[string]int
	err   error
}

func (f *fakeLimiter) Take(_ context.Context, key string, rate zone.Rate, _ time.Time) (kv.Result, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.taken[key] >= rate.Count {
		return kv.Result{Reset: rate.Window}, f.err
	}
	f.taken[key]++
	return kv.Result{Allowed: true, Remaining: rate.Count - f.taken[key], Reset: rate.Window}, f.err
}

// testCA issues the certificates of a test process.
type testCA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

// issue makes a certificate for hosts; none makes a client's.
func (ca *testCA) issue(name string, hosts ...string) *tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Unix(0, 0), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, h)
		}
	}
	parent, signer := ca.cert, ca.key
	if parent == nil {
		tmpl.IsCA, tmpl.BasicConstraintsValid, tmpl.KeyUsage = true, true, x509.KeyUsageCertSign
		parent, signer = tmpl, key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, signer)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// theCA is one for all tests: keys take time to make.
var theCA = sync.OnceValue(func() *testCA {
	root := (&testCA{}).issue("test root")
	ca := &testCA{cert: root.Leaf, key: root.PrivateKey.(*ecdsa.PrivateKey), pool: x509.NewCertPool()}
	ca.pool.AddCert(root.Leaf)
	return ca
})

type oneCertificate struct{ cert *tls.Certificate }

func (c oneCertificate) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.cert, nil
}

var testHosts = []string{"shop.example", "localhost", "127.0.0.1"}

var theCertificate = sync.OnceValue(func() Certificates { return oneCertificate{theCA().issue("door", testHosts...)} })
