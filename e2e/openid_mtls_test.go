package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/url"
	"testing"
	"time"
)

const mtlsMap = `
zone: shop.example
journal: {size: 64MiB}
listeners:
  public: {address: "@public@", limits: {header_time: 1min}}
  partner: {address: "@partner@", hosts: [partners.shop.example], client_ca: partners.pem, limits: {header_time: 1min}}
  admin: {address: "@admin@"}
  control: {address: "@control@"}
identity:
  listener: public
  url: https://localhost:@public:port@
  clients:
    - {id: partner, kind: confidential, certificate: "CN=partner", scopes: [things.read]}
    - {id: stranger, kind: confidential, certificate: "CN=stranger", scopes: [things.read]}
services:
  plain:
    upstream: http://@plain@
    routes:
      GET /machine: {allow: client, scopes: [things.read], listener: partner}
      GET /public: {allow: client, scopes: [things.read]}
`

// TestOpenIDCertificates: a client shows who it is by its certificate, and its token
// is good on connections with that very certificate only (RFC 8705).
func TestOpenIDCertificates(t *testing.T) {
	t.Parallel()
	partners := newCA(t, "partners")
	z := newZone(t, mtlsMap, map[string]string{"plain": startUpstream(t, nil).address})
	z.write("partners.pem", partners.pem)
	z.start()
	with := func(certs ...tls.Certificate) *http.Client {
		return z.client(func(tr *http.Transport) { tr.TLSClientConfig.Certificates = certs })
	}
	until := time.Now().Add(time.Hour)
	own, other := with(partners.client(t, until, x509.ExtKeyUsageClientAuth)), with(partners.client(t, until, x509.ExtKeyUsageClientAuth)) // of one name
	ask := func(client *http.Client, listener, id string) answer {
		host := map[string]string{"partner": "partners.shop.example"}[listener]
		return z.do(call{
			listener: listener, host: host, client: client, method: "POST", path: "/oauth/token", header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
			body: url.Values{"grant_type": {"client_credentials"}, "client_id": {id}, "scope": {"things.read"}}.Encode(),
		})
	}
	got := ask(own, "partner", "partner")
	token, _ := fieldsOf(t, got.Body)["access_token"].(string)
	if got.Status != 200 || token == "" {
		t.Fatalf("token: %d %s", got.Status, got.Body)
	}
	for name, refused := range map[string]answer{"a certificate of another name": ask(own, "partner", "stranger"), "none": ask(z.client(), "public", "partner")} {
		if refused.Status != 401 || fieldsOf(t, refused.Body)["error"] != "invalid_client" {
			t.Errorf("%s: %d %s, want invalid_client", name, refused.Status, refused.Body)
		}
	}
	for _, s := range []struct {
		name   string
		call   call
		status int
		reason string
	}{
		{"its certificate", call{listener: "partner", host: "partners.shop.example", client: own, path: "/machine"}, 200, ""},
		{"another of its name", call{listener: "partner", host: "partners.shop.example", client: other, path: "/machine"}, 401, "auth.proof"},
		{"none", call{path: "/public"}, 401, "auth.proof"},
	} {
		s.call.bearer = token
		if got := z.do(s.call); got.Status != s.status || got.reason() != s.reason {
			t.Errorf("%s: %d %s, want %d %s", s.name, got.Status, got.Body, s.status, s.reason)
		}
	}
	doc := fieldsOf(t, z.do(call{path: "/.well-known/openid-configuration"}).Body)
	aliases, _ := doc["mtls_endpoint_aliases"].(map[string]any)
	if want := "https://partners.shop.example:" + portOf(z.address["partner"]) + "/oauth/token"; aliases["token_endpoint"] != want || doc["tls_client_certificate_bound_access_tokens"] != true {
		t.Errorf("discovery says %v, want %s", aliases["token_endpoint"], want)
	}
}
