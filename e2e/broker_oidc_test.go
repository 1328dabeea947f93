package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const brokerMap = head + `
identity:
  url: https://localhost:@public:port@
  registration: open
  providers:
    sso: {kind: oidc, title: Outside, issuer: "https://@idp@", client_id: zone, client_secret: {file: idp.secret}, ca: idp-ca.pem}
  clients:
    - {id: web, kind: confidential, secret: {file: idp.secret}, redirect_uris: ["https://web.example/cb"], scopes: [openid]}
services:
  plain:
    upstream: http://@plain@
    routes:
      GET /mine: user
`

// startBroker serves brokerMap with oidc-idp.mjs behind it, which begins as how says.
func startBroker(t *testing.T, how string) (z *zoned, world map[string]any) {
	t.Helper()
	nodePath(t)
	public, idp := freeAddress(t), freeAddress(t)
	base := "https://localhost:" + portOf(public)
	authority := newCA(t, "outside")
	z = newZone(t, brokerMap, map[string]string{"public": public, "idp": idp, "plain": startUpstream(t, nil).address})
	const secret = "zone-secret-that-is-long-enough-for-hs256" // #nosec G101 -- of tests
	z.write("idp.secret", secret)
	z.write("idp-ca.pem", authority.pem)
	cert, key := authority.server(t, "127.0.0.1")
	startNode(t, "", "oidc-idp.mjs", "--port", portOf(idp), "--cert", z.write("idp.crt", cert), "--key", z.write("idp.key", key),
		"--client-secret", secret, "--redirect", base+"/auth/providers/sso/callback", "--how", how)
	z.start()
	world = map[string]any{"issuer": base, "idp": "https://" + idp, "roots": z.trusting(authority.pem)}
	for _, name := range []string{"bob", "carol", "dave"} {
		a := z.addUser(name + "@shop.example")
		world[name] = map[string]string{"email": a.Email, "password": a.Password}
	}
	return z, world
}

// emails are those of all accounts.
func (z *zoned) emails() (list []string) {
	z.t.Helper()
	var users []struct{ Email string }
	if err := json.Unmarshal([]byte(z.must("user", "list", "--format", "json")), &users); err != nil {
		z.t.Fatal(err)
	}
	for _, u := range users {
		list = append(list, u.Email)
	}
	slices.Sort(list)
	return list
}

// The headings of pages that a login by a provider can end at.
const (
	notLoggedIn  = "The other provider did not log you in"
	notNow       = "This cannot be done now"
	connectFirst = "Connect Outside with your account"
)

// TestBrokerOIDC: users of an outside OpenID provider come in by its word, as far as
// it can speak for them: not for an account that is there already, and not for a
// second factor.
func TestBrokerOIDC(t *testing.T) {
	t.Parallel()
	z, world := startBroker(t, "right")
	found := []finding{
		{"first login", `{"email":"ann@outside.example","same":true,"way":["GET /auth/login 200","POST /auth/providers/sso 200","GET /auth 303","GET /auto/* 302","GET /auth/* 303","GET /auth/providers/sso/callback 303"]}`},
		{"account of the same address", `{"asked":"400 ` + connectFirst + `","refused":"401 ` + connectFirst + `","before":[401,401],"after":"bob@shop.example","again":"bob@shop.example","other":["401 ` + connectFirst + `",401]}`},
		{"account with a factor", `{"half":["401 One more step",401],"unconnected":"401 ` + connectFirst + `","linked":["/auth/account","carol@shop.example"],"asked":["401 One more step",401],"in":["/auth/account","carol@shop.example"]}`},
		{"from within", `{"inside":"dave@shop.example","after":["409 ` + notNow + `",401]}`},
		{"on to a client", `{"answer":"code iss state"}`},
		{"answers of others", `{"moved":["410 This step has ended",401],"in":"ann@outside.example","replayed":"410 This step has ended","state":"410 This step has ended","unlisted":404,"json":415,"crossSite":403}`},
	}
	world["cases"] = namesOf(found)
	compare(t, z.suite("broker-oidc.mjs", world), found)
	if got, want := strings.Join(z.emails(), " "), "ann@outside.example bob@shop.example carol@shop.example dave@shop.example"; got != want {
		t.Errorf("accounts %s, want %s", got, want)
	}
}

// TestBrokerMisbehaviour: what is not the provider's word, or not for this flow and
// this zone, lets nobody in and makes no account.
func TestBrokerMisbehaviour(t *testing.T) {
	t.Parallel()
	z, world := startBroker(t, "right")
	invalid := []string{"issuer", "audience", "audiences", "nonce", "no-nonce", "expired", "early", "subject", "other-key", "none", "hs256", "response-issuer", "no-response-issuer"}
	world["hows"] = append(invalid, "denied")
	want := `"denied":["403 ` + notLoggedIn + `",401],"right":["/auth/account","ann@outside.example"]`
	for _, how := range invalid {
		want += `,"` + how + `":["401 ` + notLoggedIn + `",401]`
	}
	const nobody = `["409 ` + notNow + `",401]`
	found := []finding{{"misbehaviour", `{` + want + `}`}, {"unverified", `{"nobody":` + nobody + `,"account":` + nobody + `,"empty":` + nobody + `}`}}
	world["cases"] = namesOf(found)
	compare(t, z.suite("broker-oidc.mjs", world), found)
	if got, want := strings.Join(z.emails(), " "), "ann@outside.example bob@shop.example carol@shop.example dave@shop.example"; got != want {
		t.Errorf("accounts %s, want %s", got, want)
	}
}

// TestBrokerDiscovery: a discovery document of another issuer is none.
func TestBrokerDiscovery(t *testing.T) {
	t.Parallel()
	z, _ := startBroker(t, "discovery")
	got := z.do(call{method: "POST", path: "/auth/providers/sso", body: "next=", header: http.Header{
		"Content-Type": {"application/x-www-form-urlencoded"}, "Accept": {"application/json"}, "Sec-Fetch-Site": {"same-origin"}}})
	if got.Status != 503 || got.reason() != "provider.unavailable" {
		t.Errorf("%d %s, want provider.unavailable", got.Status, got.Body)
	}
}

func namesOf(findings []finding) (names []string) {
	for _, f := range findings {
		names = append(names, f.name)
	}
	return names
}

// server makes a certificate for an address of loopback, as PEM.
func (c ca) server(t testing.TB, address string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: address}, KeyUsage: x509.KeyUsageDigitalSignature, IPAddresses: []net.IP{net.ParseIP(address)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, c.cert, private.Public(), c.key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}))
}

// trusting is a file of the zone's root and another.
func (z *zoned) trusting(more string) string {
	z.t.Helper()
	own, err := os.ReadFile(filepath.Join(z.data, "ca.pem"))
	if err != nil {
		z.t.Fatal(err)
	}
	return z.write("roots.pem", strings.Join([]string{string(own), more}, "\n"))
}
