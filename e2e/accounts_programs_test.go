package e2e

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"sallyport.dev/internal/mail/mailtest"
)

// programsMap is a zone with programs outside of it, and others that log its users in.
const programsMap = `
zone: shop.example
journal: {size: 64MiB}
listeners:
  public: {address: "@public@", hosts: [localhost], limits: {header_time: 1min}}
  admin: {address: "@admin@"}
  control: {address: "@control@"}
identity:
  url: https://localhost:@public:port@
  registration: open
  mail: {smtp: {file: smtp.url}, from: mail@shop.example}
  providers:
    sso: {kind: oidc, title: Outside, issuer: "https://@idp@", client_id: zone, client_secret: {file: idp.secret}, ca: idp-ca.pem}
    gone: {kind: oidc, title: The Lighthouse Keepers & Sons, issuer: "https://@gone@", client_id: zone, ca: idp-ca.pem}
  clients:
    - {id: reports, title: Quarterly Reports, kind: confidential, secret: {file: idp.secret}, redirect_uris: ["https://@program@/cb"], logout_uris: ["https://@program@/bye"], scopes: [openid, email, profile, offline_access, things.read]}
    - {id: tv, title: Shop on TV, kind: public, scopes: [openid, things.read], grants: [device_code, refresh_token]}
services:
  plain:
    upstream: http://@plain@
    routes:
      GET /mine: {allow: user, scopes: [things.read]}
`

const programsSecret = "zone-secret-that-is-long-enough-for-hs256" // #nosec G101 -- of tests

// programsSite is a site with a program's own page, and a provider.
type programsSite struct {
	*accountSite
	program string // origin of the program to which answers go
	idp     string // origin of the provider
	set     func(t *testing.T, how string, account map[string]any)
}

// TestAccountsPrograms walks the pages between the zone and others: those of
// programs that act for a user, of devices, and of providers that say who one is.
func TestAccountsPrograms(t *testing.T) {
	t.Parallel()
	c := startChrome(t)
	site := startProgramsSite(t)
	for _, walk := range []struct {
		name string
		do   func(*testing.T, *chrome, *programsSite)
	}{
		{"consent", walkConsent}, {"half way", walkHalfWay}, {"onward", walkOnward}, {"requests that are wrong", walkWrongRequests}, {"device", walkDevice}, {"device too late", walkLateDevice},
		{"provider", walkProvider}, {"provider for an account", walkLink}, {"provider that refuses", walkRefusingProvider}, {"provider from within", walkConnect},
		{"logout", walkLogout},
	} {
		t.Run(walk.name, func(t *testing.T) {
			sub := *site
			sub.accountSite = site.of(t)
			walk.do(t, c, &sub)
		})
	}
	t.Run("invitation", func(t *testing.T) { walkInvitation(t, c) })
}

func startProgramsSite(t *testing.T) *programsSite {
	t.Helper()
	nodePath(t)
	program := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("<!doctype html><html lang=en><title>The program</title><link rel=icon href=data:,><h1>The program</h1>"))
	}))
	t.Cleanup(program.Close)
	authority := newCA(t, "outside")
	s := &programsSite{accountSite: &accountSite{post: mailtest.Start(t)}, program: program.URL}
	public, idp := freeAddress(t), freeAddress(t)
	s.idp, s.url = "https://"+idp, "https://localhost:"+portOf(public)
	s.zoned = newZone(t, programsMap, map[string]string{
		"public": public, "idp": idp, "gone": freeAddress(t), "program": strings.TrimPrefix(program.URL, "https://"), "plain": startUpstream(t, nil).address,
	})
	s.write("smtp.url", s.post.URL()+"\n")
	s.write("idp.secret", programsSecret)
	s.write("idp-ca.pem", authority.pem)
	cert, key := authority.server(t, "127.0.0.1")
	startNode(t, "", "oidc-idp.mjs", "--port", portOf(idp), "--cert", s.write("idp.crt", cert), "--key", s.write("idp.key", key),
		"--client-secret", programsSecret, "--redirect", s.url+"/auth/providers/sso/callback")
	s.start()

	roots := x509.NewCertPool()
	roots.AddCert(authority.cert)
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots}}}
	t.Cleanup(client.CloseIdleConnections)
	s.set = func(t *testing.T, how string, account map[string]any) {
		t.Helper()
		body, err := json.Marshal(map[string]any{"how": how, "account": account})
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Post(s.idp+"/_set", "application/json", bytes.NewReader(body))
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("the provider was not told: %v", err)
		}
		_ = res.Body.Close()
	}
	return s
}

// tab is a browser that may be led to the program and the provider too.
func (s *programsSite) tab(t *testing.T, c *chrome) *tab {
	t.Helper()
	b := c.tab(t, s.url)
	b.beside = []string{s.program, s.idp}
	return b
}

// speaks has the browser ask for pages in a language.
func (b *tab) speaks(lang string) {
	b.t.Helper()
	b.lang = lang
	command(b, network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{Headers: network.Headers{"Accept-Language": lang}})
}

// request is where the program sends a browser, with a challenge of relyingVerifier.
func (s *programsSite) request(scope string, more ...string) string {
	sum := sha256.Sum256([]byte(relyingVerifier))
	query := url.Values{
		"client_id": {"reports"}, "response_type": {"code"}, "redirect_uri": {s.program + "/cb"}, "scope": {scope}, "state": {"st"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
	for i := 0; i < len(more); i += 2 {
		query.Set(more[i], more[i+1])
	}
	return "/oauth/authorize?" + query.Encode()
}

// answer is what the program was told, when the tab came to it.
func (s *programsSite) answer(b *tab) url.Values {
	b.t.Helper()
	u, err := url.Parse(b.where())
	if err != nil || u.Query().Get("state") != "st" || u.Query().Get("iss") != s.url {
		b.t.Fatalf("the program was told %s", b.where())
	}
	return u.Query()
}

// tokens are what the program gets for a code.
func (s *programsSite) tokens(form url.Values) (g given, idToken string) {
	s.t.Helper()
	a := s.do(call{method: "POST", path: "/oauth/token", body: form.Encode(), header: http.Header{
		"Content-Type":  {"application/x-www-form-urlencoded"},
		"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte("reports:"+programsSecret))},
	}})
	doc := struct {
		*given
		ID string `json:"id_token"`
	}{given: &g}
	if err := json.Unmarshal([]byte(a.Body), &doc); err != nil || a.Status != 200 {
		s.t.Fatalf("tokens: %d %s", a.Status, a.Body)
	}
	return g, doc.ID
}

func (s *programsSite) redeem(b *tab) (g given, idToken string) {
	b.t.Helper()
	return s.tokens(url.Values{"grant_type": {"authorization_code"}, "code": {s.answer(b).Get("code")}, "redirect_uri": {s.program + "/cb"}, "code_verifier": {relyingVerifier}})
}

// press clicks what leads to the program.
func (s *programsSite) press(b *tab, css string) {
	b.t.Helper()
	b.arrives(200, s.program, chromedp.Click(chromedp.CSS(css)))
}
