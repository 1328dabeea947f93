package control

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/internal/join"
	"sallyport.dev/internal/journal"
	"sallyport.dev/internal/keys"
	"sallyport.dev/internal/kv"
	"sallyport.dev/internal/pki"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
	"sallyport.dev/internal/svid"
	"sallyport.dev/internal/token"
	"sallyport.dev/zone"
)

const testMap = `
zone: shop.example
services:
  catalog:
    upstream: https://127.0.0.1:9001
    embedded: true
    routes: {GET /products: anonymous}
    calls: {orders: [GET /orders]}
  orders:
    upstream: https://127.0.0.1:9002
    embedded: true
    routes: {GET /orders: user, GET /secret: user}
`

// records is a journal in memory that can be full.
type records struct {
	mu   sync.Mutex
	kept []journal.Record
	full error
}

func (j *records) Admit(bool) error { return j.full }

func (j *records) AppendSync(r *journal.Record) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.kept = append(j.kept, *r)
	return j.full
}

func (j *records) last() journal.Record {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.kept) == 0 {
		return journal.Record{}
	}
	return j.kept[len(j.kept)-1]
}

// bench is a control on loopback over real parts: store, CA, join tokens.
type bench struct {
	t       *testing.T
	ca      *pki.CA
	joins   *join.Tokens
	journal *records
	control *Control
	address string
	server  *http.Server
}

// stoodStill are counters whose windows do not go on, however slow the requests come.
type stoodStill struct {
	kv.Counters
	at time.Time
}

func (s stoodStill) Take(ctx context.Context, key string, rate zone.Rate, _ time.Time) (kv.Result, error) {
	return s.Counters.Take(ctx, key, rate, s.at)
}

func open(t *testing.T) *bench {
	t.Helper()
	z, err := zone.Parse("zone.yaml", []byte(testMap))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	db, err := store.OpenSQLite(t.Context(), filepath.Join(dir, "zone.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	root, err := keys.OpenRoot(filepath.Join(dir, "root"), true)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, journal: &records{}, joins: join.New(db, time.Now)}
	if b.ca, err = pki.OpenCA(t.Context(), db, root, z.Name, pki.Options{}); err != nil {
		t.Fatal(err)
	}
	ring, err := keys.NewRing(t.Context(), db, root, keys.RingConfig{Name: "txn-token"})
	if err != nil {
		t.Fatal(err)
	}
	minter, err := token.NewMinter(token.Config{Zone: z.Name, Issuer: z.Issuer(), Workload: "spiffe://shop.example/gateway", Signers: ring})
	if err != nil {
		t.Fatal(err)
	}
	b.control = New(Config{
		Zone: z, Source: b.source(svid.ControlName), CA: b.ca, ParseCSR: pki.ParseCSR, Tokens: b.joins, Minter: minter, Access: outside{}, Keys: ring,
		Journal: b.journal, Counters: stoodStill{kv.NewMemory(time.Now, 1000), time.Now()}, Nonces: func(string) kv.Values { return kv.NewMemory(time.Now, 1000) }, Clock: time.Now, Log: slog.New(slog.DiscardHandler), Patience: 2 * time.Minute,
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b.address = l.Addr().String()
	b.server = &http.Server{Handler: b.control.Handler(), ConnContext: svid.ConnContext, ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	b.server.RegisterOnShutdown(b.control.Release)
	go func() { _ = b.server.Serve(b.control.Listener(l)) }()
	t.Cleanup(func() { _ = b.server.Close(); _ = b.control.Close() })
	return b
}

func (b *bench) key() *ecdsa.PrivateKey {
	b.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.t.Fatal(err)
	}
	return key
}

// source is an identity of the zone, as a workload holds it.
func (b *bench) source(name string) *svid.Source {
	b.t.Helper()
	key := b.key()
	chain, _, err := b.ca.IssueSVID(b.t.Context(), name, key.Public())
	if err != nil {
		b.t.Fatal(err)
	}
	identity, err := svid.NewIdentity(chain, key, b.ca.Roots())
	if err != nil {
		b.t.Fatal(err)
	}
	s := svid.NewSource(nil)
	s.Set(identity)
	return s
}

// as returns a client with the identity of a workload; empty: without one.
func (b *bench) as(name string) *http.Client {
	b.t.Helper()
	var cfg *tls.Config
	if name == "" {
		cfg = &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true} // a test's: the names of SVIDs are not hosts
	} else {
		id, err := svid.ServiceID("shop.example", svid.ControlName)
		if err != nil {
			b.t.Fatal(err)
		}
		cfg = svid.ClientTLS(b.source(name), id)
	}
	tr := &http.Transport{TLSClientConfig: cfg}
	b.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 2 * time.Minute}
}

type answer struct {
	status int
	header http.Header
	body   []byte
}

// do sends a request; status 0 is a connection that was refused.
func (b *bench) do(c *http.Client, method, path string, body any, fields ...string) answer {
	b.t.Helper()
	var rd io.Reader = http.NoBody
	switch v := body.(type) {
	case nil:
	case string:
		rd = strings.NewReader(v)
	default:
		data, err := json.Marshal(v)
		if err != nil {
			b.t.Fatal(err)
		}
		rd = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(b.t.Context(), method, "https://"+b.address+path, rd)
	if err != nil {
		b.t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		req.Header.Set(fields[i], fields[i+1])
	}
	res, err := c.Do(req)
	if err != nil {
		return answer{}
	}
	defer res.Body.Close()
	data, _ := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, data}
}

func (b *bench) refused(what string, got answer, want problem.Reason) {
	b.t.Helper()
	if got.status != want.Status() || !strings.Contains(string(got.body), `"urn:sallyport:reason:`+want.Code()+`"`) {
		b.t.Errorf("%s: got %d %s, want %d %s", what, got.status, got.body, want.Status(), want.Code())
	}
}

func csr(t *testing.T, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// TestEachGetsItsOwn: a service reads its own slice and the keys, and nobody
// reads another's; the gateway has no slice, and who has no certificate has nothing.
func TestEachGetsItsOwn(t *testing.T) {
	b := open(t)
	for _, c := range []struct {
		who, path string
		want      problem.Reason
	}{
		{"catalog", "/v1/services/catalog", problem.OK},
		{"orders", "/v1/services/orders", problem.OK},
		{"orders", "/v1/services/catalog", problem.InsidePeer},
		{"catalog", "/v1/services/orders", problem.InsidePeer},
		{"catalog", "/v1/services/nobody", problem.InsidePeer},
		{svid.GatewayName, "/v1/services/catalog", problem.InsidePeer},
		{svid.GatewayName, "/v1/services/gateway", problem.RouteUnknown},
		{"", "/v1/services/catalog", problem.InsidePeer},
		{"catalog", "/.well-known/jwks.json", problem.OK},
		{svid.GatewayName, "/.well-known/jwks.json", problem.OK},
		{"", "/.well-known/jwks.json", problem.InsidePeer},
		{"catalog", "/v1/services/catalog/routes", problem.RouteUnknown},
		{"catalog", "/metrics", problem.RouteUnknown},
		{"", "/", problem.RouteUnknown},
	} {
		got := b.do(b.as(c.who), "GET", c.path, nil)
		if c.want != problem.OK {
			b.refused(c.who+" "+c.path, got, c.want)
			continue
		}
		if got.status != 200 || strings.Contains(c.path, "/catalog") && bytes.Contains(got.body, []byte("/secret")) {
			t.Errorf("%s %s: %d %s", c.who, c.path, got.status, got.body)
		}
	}
	if got := b.do(b.as("stranger"), "GET", "/.well-known/jwks.json", nil); got.status != 0 { // a good certificate, and not in the map
		t.Errorf("a service that is not in the map: %d", got.status)
	}
}

// TestHeldUntilItChanges: a guard that has the map's revision waits, and one that has not is answered.
func TestHeldUntilItChanges(t *testing.T) {
	b := open(t)
	c := b.as("catalog")
	first := b.do(c, "GET", "/v1/services/catalog", nil)
	tag := first.header.Get("ETag")
	if tag == "" {
		t.Fatalf("no revision in %v", first.header)
	}
	if got := b.do(c, "GET", "/v1/services/catalog", nil, "If-None-Match", tag); got.status != 304 {
		t.Errorf("without a wait: %d, want 304 at once", got.status)
	}
	if got := b.do(c, "GET", "/v1/services/catalog", nil, "If-None-Match", `"other"`, "Prefer", "wait=10"); got.status != 200 {
		t.Errorf("another revision: %d, want 200 at once", got.status)
	}
	held := make(chan answer)
	go func() {
		held <- b.do(c, "GET", "/v1/services/catalog", nil, "If-None-Match", tag, "Prefer", "respond-async, wait=9999")
	}()
	b.control.Release() // the server's shutdown does so
	if got := <-held; got.status != 304 {
		t.Errorf("held: %d, want 304 when the server ends", got.status)
	}
	for field, want := range map[string]time.Duration{"wait=3": 3 * time.Second, "wait=9999": maxWait * time.Second, "wait=-1": 0, "wait=x": 0, "": 0, "a, wait=2": 2 * time.Second} {
		if got := preferredWait([]string{field}); got != want {
			t.Errorf("Prefer: %s waits %v, want %v", field, got, want)
		}
	}
}

// TestJoin: a join token buys one identity of its service, and what is wrong
// with a request does not spend it.
func TestJoin(t *testing.T) {
	b := open(t)
	nobody := b.as("")
	made, secret, err := b.joins.Create(t.Context(), "orders")
	if err != nil {
		t.Fatal(err)
	}
	good := svid.JoinRequest{ID: made.ID[:], Secret: secret[:], CSR: csr(t, b.key())}
	wrong := good
	wrong.Secret = bytes.Repeat([]byte{7}, 32)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other := good
	other.CSR = csr(t, p384)
	for what, body := range map[string]any{
		"no JSON": "nonsense", "unknown member": `{"id":"","secret":"","csr":"","name":"gateway"}`, "data behind": `{} {}`,
		"no request": svid.JoinRequest{ID: good.ID, Secret: good.Secret}, "another curve": other,
		"a large one": `{"csr":"` + strings.Repeat("A", maxBody) + `"}`,
	} {
		b.refused(what, b.do(nobody, "POST", svid.JoinPath, body), problem.RequestMalformed)
	}
	b.refused("wrong secret", b.do(nobody, "POST", svid.JoinPath, wrong), problem.JoinRefused)

	got := b.do(nobody, "POST", svid.JoinPath, good)
	var issued svid.Issued
	if err := json.Unmarshal(got.body, &issued); err != nil || got.status != 200 {
		t.Fatalf("join: %d %s", got.status, got.body)
	}
	leaf, err := x509.ParseCertificate(issued.Certificates[0])
	if err != nil || len(leaf.URIs) != 1 || leaf.URIs[0].String() != "spiffe://shop.example/orders" {
		t.Errorf("the identity is %v, %v", leaf.URIs, err)
	}
	if rec := b.journal.last(); rec.Reason != "ok" || rec.Principal != "join:"+made.ID.String() || rec.Route != "POST /v1/join" || rec.Kind != journal.KindAdmin {
		t.Errorf("record %+v", rec)
	}
	b.refused("a second use", b.do(nobody, "POST", svid.JoinPath, good), problem.JoinRefused)
	if rec := b.journal.last(); rec.Reason != "join.refused" || rec.Status != 403 {
		t.Errorf("record of a refusal %+v", rec)
	}

	b.refused("join of a service that is gone", b.do(nobody, "POST", svid.JoinPath, func() any {
		made, secret, err := b.joins.Create(t.Context(), "gone")
		if err != nil {
			t.Fatal(err)
		}
		return svid.JoinRequest{ID: made.ID[:], Secret: secret[:], CSR: good.CSR}
	}()), problem.JoinRefused)

	refused := 0
	for range 2 * joinRate.Count {
		if b.do(nobody, "POST", svid.JoinPath, wrong).status == 429 {
			refused++
		}
	}
	if refused == 0 {
		t.Error("guesses are not bounded")
	}
}

// TestRenew: a workload gets its next identity, its own and no other's; a
// journal that takes no record lets nobody have one.
func TestRenew(t *testing.T) {
	b := open(t)
	orders := b.as("orders")
	request := svid.IdentityRequest{CSR: csr(t, b.key())}
	got := b.do(orders, "POST", svid.IdentityPath, request)
	var issued svid.Issued
	if err := json.Unmarshal(got.body, &issued); err != nil || got.status != 200 {
		t.Fatalf("renew: %d %s", got.status, got.body)
	}
	if leaf, err := x509.ParseCertificate(issued.Certificates[0]); err != nil || leaf.URIs[0].String() != "spiffe://shop.example/orders" {
		t.Errorf("identity %v, %v", leaf.URIs, err)
	}
	b.refused("nobody", b.do(b.as(""), "POST", svid.IdentityPath, request), problem.InsidePeer)
	b.journal.full = problem.New(problem.JournalFull, errors.New("full"))
	b.refused("no record", b.do(orders, "POST", svid.IdentityPath, request), problem.JournalFull)
}

// TestOwnToken: a service gets a token of itself; the gateway, which speaks for
// clients, and nobody get none.
func TestOwnToken(t *testing.T) {
	b := open(t)
	got := b.do(b.as("orders"), "POST", "/v1/token", nil)
	var out struct {
		Token   string    `json:"token"`
		Expires time.Time `json:"expires_at"`
	}
	if err := json.Unmarshal(got.body, &out); err != nil || got.status != 200 || time.Until(out.Expires) > time.Minute {
		t.Fatalf("token: %d %s", got.status, got.body)
	}
	set := b.do(b.as("orders"), "GET", "/.well-known/jwks.json", nil)
	keySet, err := token.ParseJWKS(set.body)
	if err != nil {
		t.Fatal(err)
	}
	v, err := token.NewVerifier(token.VerifierConfig{Zone: "shop.example", Issuer: "https://shop.example", Keys: keySet})
	if err != nil {
		t.Fatal(err)
	}
	claims, err := v.Verify(context.Background(), out.Token)
	if err != nil || claims.Subject != "spiffe://shop.example/orders" || claims.Requester.Listener != "" || claims.Workload != claims.Subject {
		t.Errorf("claims %+v, %v", claims, err)
	}
	b.refused("gateway", b.do(b.as(svid.GatewayName), "POST", "/v1/token", nil), problem.InsidePeer)
	b.refused("nobody", b.do(b.as(""), "POST", "/v1/token", nil), problem.InsidePeer)
}

// TestOnce: of the replicas of a service one is told that it was the first; the
// keys of two services never meet, and nobody without a certificate asks.
func TestOnce(t *testing.T) {
	b := open(t)
	ask := func(who, key string, life int64) answer {
		return b.do(b.as(who), "POST", "/v1/once", OnceRequest{Key: key, Life: life})
	}
	for _, c := range []struct {
		who, key, want string
	}{
		{"orders", "k1", `{"first":true}`}, {"orders", "k1", `{"first":false}`}, {"orders", "k2", `{"first":true}`},
		{"catalog", "k1", `{"first":true}`}, {"catalog", "k1", `{"first":false}`},
	} {
		if got := ask(c.who, c.key, 60); got.status != 200 || string(got.body) != c.want {
			t.Errorf("%s asks for %s: %d %s, want %s", c.who, c.key, got.status, got.body, c.want)
		}
	}
	b.refused("no key", ask("orders", "", 60), problem.RequestMalformed)
	b.refused("a long key", ask("orders", strings.Repeat("k", maxOnceKey+1), 60), problem.RequestMalformed)
	b.refused("no life", ask("orders", "k3", 0), problem.RequestMalformed)
	b.refused("a long life", ask("orders", "k3", 601), problem.RequestMalformed)
	b.refused("nobody", ask("", "k3", 60), problem.InsidePeer)
}
