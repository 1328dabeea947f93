package e2e

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"
)

const samlMap = head + `
identity:
  url: https://localhost:@public:port@
  registration: open
  providers:
    corp: {kind: saml, title: Corp, metadata: corp.xml}
services:
  plain:
    upstream: http://@plain@
    routes:
      GET /mine: user
`

// startSAML serves samlMap with saml-idp.mjs behind it.
func startSAML(t *testing.T) (z *zoned, world map[string]any) {
	t.Helper()
	nodePath(t)
	public := freeAddress(t)
	base := "https://localhost:" + portOf(public)
	z = newZone(t, samlMap, map[string]string{"public": public, "plain": startUpstream(t, nil).address})
	cert, key := samlKey(t)
	_, other := samlKey(t)
	const subject = "ann@example.com"
	idp := startNode(t, "", "saml-idp.mjs", "--cert", z.write("idp.crt", cert), "--key", z.write("idp.key", key), "--other-key", z.write("other.key", other),
		"--sp", base+"/auth/providers/corp/metadata", "--acs", base+"/auth/providers/corp/acs", "--user", subject, "--victim", "victim@shop.example")
	at, _ := idp.ready["metadata"].(string)
	z.write("corp.xml", fetched(t, at))
	z.start()
	world = map[string]any{"issuer": base, "idp": strings.TrimSuffix(at, "/metadata"), "subject": subject}
	for _, name := range []string{"dave", "victim"} {
		a := z.addUser(name + "@shop.example")
		world[name] = map[string]string{"email": a.Email, "password": a.Password}
	}
	return z, world
}

const samlConnected = `{"in":"dave@shop.example","acs":["POST /auth/providers/corp/acs 303"]}`

// TestBrokerSAML: users of an outside SAML provider come in by an assertion that
// answers this flow, once and in the browser that asked; SAML cannot say that an
// address is verified, so it opens only what was connected from within.
func TestBrokerSAML(t *testing.T) {
	t.Parallel()
	z, world := startSAML(t)
	found := []finding{
		{"metadata", `{"status":200,"type":"application/samlmetadata+xml","acs":true,"signed":true,"signs":true,"by":true}`},
		{"requests are signed", `{"sent":200,"same":200,"relay":400,"request":400,"signature":400,"unsigned":400}`},
		{"not connected", `{"end":["409 ` + notNow + `",401],"victim":["409 ` + notNow + `",401]}`},
		{"connect", samlConnected},
		{"names with a comment", `{"end":["401 ` + notLoggedIn + `",401]}`},
		{"answers once, and where they were asked for", `{"first":"/auth/account","me":"dave@shop.example","again":410,"used":401,"moved":"410 This step has ended","theirs":401}`},
		{"nobody asked", `{"end":"410 This step has ended","made":410,"get":405,"me":401}`},
	}
	world["cases"] = namesOf(found)
	compare(t, z.suite("broker-saml.mjs", world), found)
	if got := strings.Join(z.emails(), " "); got != "dave@shop.example victim@shop.example" {
		t.Errorf("accounts %s: SAML made some", got)
	}
}

// TestBrokerSAMLMisbehaviour: an answer that is not signed for what it says, or not
// for this zone and flow and time, lets nobody in.
func TestBrokerSAMLMisbehaviour(t *testing.T) {
	t.Parallel()
	z, world := startSAML(t)
	invalid := []string{
		"unsigned", "tampered", "expired", "early", "audience", "recipient", "destination", "issuer", "request", "other-key",
		"wrapped-before", "wrapped-after", "wrapped-around", "wrapped-object", "wrapped-extensions", "doctype",
		"no-audience", "no-confirmation", "no-conditions", "no-subject", "replay",
	}
	want := `"denied":["503 The other provider cannot be reached",401],"right":["/auth/account","dave@shop.example"]`
	for _, how := range invalid {
		want += `,"` + how + `":["401 ` + notLoggedIn + `",401]`
	}
	found := []finding{{"connect", samlConnected}, {"misbehaviour", `{` + want + `}`}}
	world["hows"], world["cases"] = append(invalid, "denied"), namesOf(found)
	compare(t, z.suite("broker-saml.mjs", world), found)
}

// samlKey makes a key of RSA with a certificate of its own, as PEM.
func samlKey(t testing.TB) (cert, key string) {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "idp"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}))
}

func fetched(t testing.TB, address string) string {
	t.Helper()
	res, err := (&http.Client{Timeout: patience}).Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %v", address, res.StatusCode, err)
	}
	return string(body)
}
