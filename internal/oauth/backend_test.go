package oauth_test

import (
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// fapi walks the flow of the FAPI 2.0 security profile for the client bank: pushed
// request, assertion, bound tokens.
func (w *world) fapi(t *testing.T, b *browser) (a answer, key request) {
	k := newKey(t)
	v := with(authorization("bank", "https://bank.example/cb", "openid orders.read"), w.asserts(nil))
	uri := w.post("/oauth/par", v, w.proves(k, "/oauth/par")).want(t, 201, "").text("request_uri")
	a1 := b.get("/oauth/authorize?" + url.Values{"client_id": {"bank"}, "request_uri": {uri}}.Encode())
	code := leads(t, a1).Query().Get("code")
	if code == "" {
		t.Fatalf("no code: %d %s %s", a1.Code, leads(t, a1), a1.Body)
	}
	form := with(redeem(code, "https://bank.example/cb"), w.asserts(nil))
	return w.post("/oauth/token", form, w.proves(k, "/oauth/token")), func(r *http.Request) { w.proves(k, "/oauth/token")(r) }
}

func TestBank(t *testing.T) {
	w := newWorld(t)
	a, key := w.fapi(t, w.browser())
	a.want(t, 200, "")
	if a.text("token_type") != "DPoP" {
		t.Errorf("token_type %q", a.text("token_type"))
	}
	// A JWT by the client's choice, checked by the table all the same (RFC 9068).
	parsed, err := jwt.ParseSigned(a.text("access_token"), []jose.SignatureAlgorithm{jose.ES256})
	must(t, err)
	var claims struct {
		Iss      string            `json:"iss"`
		Sub      string            `json:"sub"`
		Aud      string            `json:"aud"`
		Acr      string            `json:"acr"`
		ClientID string            `json:"client_id"`
		Cnf      map[string]string `json:"cnf"`
	}
	public, err := w.cfg.Keys.PublicKeys(t.Context())
	must(t, err)
	must(t, parsed.Claims(public[0].Key, &claims))
	r, err := w.Resolve(t.Context(), a.text("access_token"))
	must(t, err)
	if parsed.Headers[0].ExtraHeaders["typ"] != "at+jwt" || claims.Iss != issuer || claims.Aud != issuer || claims.Sub != user || claims.ClientID != "bank" || claims.Acr != "1" || claims.Cnf["jkt"] != r.JKT || r.JKT == "" {
		t.Errorf("JWT %+v, resolved %+v", claims, r)
	}
	part := strings.Split(a.text("access_token"), ".")
	w.good(part[0]+"."+part[1]+"."+strings.Repeat("A", 86), false)

	refreshed := w.post("/oauth/token", with(refresh(a.text("refresh_token")), w.asserts(nil)), key).want(t, 200, "")
	w.post("/oauth/token", with(refresh(refreshed.text("refresh_token")), w.asserts(nil))).want(t, 400, "invalid_dpop_proof")
	w.post("/oauth/introspect", with(url.Values{"token": {refreshed.text("access_token")}}, w.asserts(nil))).want(t, 200, "")
	w.post("/oauth/revoke", with(url.Values{"token": {refreshed.text("access_token")}}, w.asserts(nil))).want(t, 200, "")
	w.good(a.text("access_token"), false)
	w.good(refreshed.text("access_token"), false)
}

// TestAssertions: an assertion is for the issuer, of the client, young, and once.
func TestAssertions(t *testing.T) {
	w := newWorld(t)
	now := time.Now().Unix()
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {"orders.read"}}
	for name, c := range map[string]struct {
		claims map[string]any
		good   bool
	}{
		"as it should be":          {nil, true},
		"a list of one":            {map[string]any{"aud": []string{issuer}}, true},
		"a clock ahead":            {map[string]any{"iat": now + 8, "exp": now + 68}, true},
		"the token endpoint":       {map[string]any{"aud": issuer + "/oauth/token"}, false},
		"two audiences":            {map[string]any{"aud": []string{issuer, "https://other.example"}}, false},
		"another audience":         {map[string]any{"aud": "https://other.example"}, false},
		"another issuer":           {map[string]any{"iss": "web-app"}, false},
		"another subject":          {map[string]any{"sub": "web-app"}, false},
		"expired":                  {map[string]any{"exp": now - 60}, false},
		"for a long time":          {map[string]any{"exp": now + 3600}, false},
		"of the future":            {map[string]any{"iat": now + 120, "nbf": now + 120, "exp": now + 180}, false},
		"no id":                    {map[string]any{"jti": ""}, false},
		"a huge id":                {map[string]any{"jti": strings.Repeat("x", 300)}, false},
		"no end":                   {map[string]any{"exp": nil}, false},
		"the id of the DPoP proof": {map[string]any{"jti": "same"}, true},
	} {
		key := newKey(t)
		assertion := w.asserts(c.claims)
		prove := func() request {
			more := map[string]any{"nonce": w.Nonces().At(time.Now())}
			if c.claims["jti"] == "same" {
				more["jti"] = "same"
			}
			return header("DPoP", proof(t, key, "POST", issuer+"/oauth/token", more))
		}
		a := w.post("/oauth/token", with(form, assertion), prove())
		if got := a.Code == 200; got != c.good {
			t.Errorf("%s: %d %s", name, a.Code, a.Body)
		}
		if !c.good && (a.Code != 401 || a.text("error") != "invalid_client") {
			t.Errorf("%s: %d %s", name, a.Code, a.Body)
		}
		key = newKey(t)
		w.post("/oauth/token", with(form, assertion), prove()).want(t, 401, "invalid_client") // once; T5
	}
	// Another key, no key that is known, and a signature that is none.
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: newKey(t)}, (&jose.SignerOptions{}).WithHeader("kid", "c1"))
	must(t, err)
	forged, err := jwt.Signed(s).Claims(map[string]any{"iss": "bank", "sub": "bank", "aud": issuer, "jti": "j", "exp": now + 60}).Serialize()
	must(t, err)
	valid := w.asserts(nil).Get("client_assertion")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + strings.Split(valid, ".")[1] + "."
	for _, text := range []string{forged, none, valid[:len(valid)-4] + "AAAA", "", "x"} {
		v := with(form, url.Values{"client_assertion": {text}, "client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}})
		if text == "" {
			v.Del("client_assertion")
		}
		w.post("/oauth/token", v, w.proves(newKey(t), "/oauth/token")).want(t, 401, "invalid_client")
	}
	w.post("/oauth/token", with(form, with(w.asserts(nil), url.Values{"client_secret": {"x"}}))).want(t, 400, "invalid_request")
	w.post("/oauth/token", with(form, w.asserts(nil)), basic("bank", "x")).want(t, 400, "invalid_request")
	// One that failed for another reason than the client is used up as well.
	used := with(with(form, w.asserts(nil)), url.Values{"scope": {"nothing"}})
	w.post("/oauth/token", used, w.proves(newKey(t), "/oauth/token")).want(t, 400, "invalid_scope")
	used.Set("scope", "orders.read")
	w.post("/oauth/token", used, w.proves(newKey(t), "/oauth/token")).want(t, 401, "invalid_client")
}

// TestDPoP holds proofs at the token endpoint and at userinfo.
func TestDPoP(t *testing.T) {
	w := newWorld(t)
	key := newKey(t)
	at := issuer + "/oauth/token"
	nonce := map[string]any{"nonce": w.Nonces().At(time.Now())}
	good := func() string { return proof(t, key, "POST", at, nonce) }
	b := w.browser()
	form := func() url.Values {
		return redeem(b.code(authorization("web-app", callback, "openid")), callback)
	}
	for name, c := range map[string]struct {
		proofs []string
		code   string
	}{
		"as it should be": {[]string{good()}, ""},
		"no nonce":        {[]string{proof(t, key, "POST", at, nil)}, "use_dpop_nonce"},
		"an old nonce":    {[]string{proof(t, key, "POST", at, map[string]any{"nonce": w.Nonces().At(time.Now().Add(-5 * time.Minute))})}, "use_dpop_nonce"},
		"another method":  {[]string{proof(t, key, "GET", at, nonce)}, "invalid_dpop_proof"},
		"another address": {[]string{proof(t, key, "POST", issuer+"/oauth/par", nonce)}, "invalid_dpop_proof"},
		"an old proof":    {[]string{proof(t, key, "POST", at, map[string]any{"nonce": nonce["nonce"], "iat": time.Now().Add(-2 * time.Minute).Unix()})}, "invalid_dpop_proof"},
		"of the future":   {[]string{proof(t, key, "POST", at, map[string]any{"nonce": nonce["nonce"], "iat": time.Now().Add(time.Minute).Unix()})}, "invalid_dpop_proof"},
		"two proofs":      {[]string{good(), good()}, "invalid_dpop_proof"},
		"two in one":      {[]string{good() + "," + good()}, "invalid_dpop_proof"},
		"not a proof":     {[]string{"x.y.z"}, "invalid_dpop_proof"},
		"with an ath":     {[]string{proof(t, key, "POST", at, map[string]any{"nonce": nonce["nonce"], "ath": challenge("x")})}, "invalid_dpop_proof"},
	} {
		v := form()
		change := []request{basic("web-app", secret)}
		for _, p := range c.proofs {
			change = append(change, header("DPoP", p))
		}
		status := 400
		if c.code == "" {
			status = 200
		}
		a := w.post("/oauth/token", v, change...)
		if a.Code != status || a.text("error") != c.code || a.Header().Get("DPoP-Nonce") == "" {
			t.Errorf("%s: %d %s", name, a.Code, a.Body)
		}
		if c.code != "" { // the code was not lost by it
			w.post("/oauth/token", v, basic("web-app", secret), header("DPoP", good())).want(t, 200, "")
		} else {
			w.post("/oauth/token", form(), basic("web-app", secret), header("DPoP", c.proofs[0])).want(t, 400, "invalid_dpop_proof") // once
		}
	}

	bound := w.post("/oauth/token", form(), basic("web-app", secret), header("DPoP", good())).want(t, 200, "")
	token := bound.text("access_token")
	info := func(scheme, token string, proofs ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", issuer+"/oauth/userinfo", nil)
		r.Header.Set("Authorization", scheme+" "+token)
		for _, p := range proofs {
			r.Header.Add("DPoP", p)
		}
		a := httptest.NewRecorder()
		w.mux.ServeHTTP(a, r)
		return a
	}
	prove := func(key0 int, ath string, n any) string {
		k := key
		if key0 != 0 {
			k = newKey(t)
		}
		return proof(t, k, "GET", issuer+"/oauth/userinfo", map[string]any{"ath": challenge(ath), "nonce": n})
	}
	plain := w.tokens("openid").text("access_token")
	once := prove(0, token, nonce["nonce"])
	for name, c := range map[string]struct {
		scheme, token string
		proofs        []string
		status        int
	}{
		"as it should be":     {"DPoP", token, []string{prove(0, token, nonce["nonce"])}, 200},
		"as a bearer":         {"Bearer", token, nil, 401},
		"a bearer with proof": {"Bearer", token, []string{prove(0, token, nonce["nonce"])}, 401},
		"no proof":            {"DPoP", token, nil, 401},
		"two proofs":          {"DPoP", token, []string{prove(0, token, nonce["nonce"]), prove(0, token, nonce["nonce"])}, 401},
		"another key":         {"DPoP", token, []string{prove(1, token, nonce["nonce"])}, 401},
		"of another token":    {"DPoP", token, []string{prove(0, plain, nonce["nonce"])}, 401},
		"no nonce":            {"DPoP", token, []string{prove(0, token, "")}, 401},
		"a plain one as DPoP": {"DPoP", plain, []string{prove(0, plain, nonce["nonce"])}, 401},
		"a plain one":         {"Bearer", plain, nil, 200},
		"any scheme":          {"Token", plain, nil, 401},
		"a refresh token":     {"Bearer", bound.text("refresh_token"), nil, 401}, // T1
	} {
		a := info(c.scheme, c.token, c.proofs...)
		if a.Code != c.status || a.Code == 401 && a.Header().Get("WWW-Authenticate") == "" {
			t.Errorf("%s: %d %s %v", name, a.Code, a.Body, a.Header())
		}
	}
	if a := info("DPoP", token, once); a.Code != 200 {
		t.Errorf("first use: %d %s", a.Code, a.Body)
	}
	if a := info("DPoP", token, once); a.Code != 401 {
		t.Errorf("second use: %d", a.Code)
	}
	if a := info("DPoP", token, prove(0, token, "")); !strings.Contains(a.Header().Get("WWW-Authenticate"), `error="use_dpop_nonce"`) {
		t.Errorf("challenge %q", a.Header())
	}

	// A code can be bound before it is made, and is then good for that key alone.
	jkt := thumbprint(t, key)
	code := b.code(authorization("web-app", callback, "openid", "dpop_jkt", jkt))
	w.post("/oauth/token", redeem(code, callback), basic("web-app", secret), w.proves(newKey(t), "/oauth/token")).want(t, 400, "invalid_dpop_proof")
	code = b.code(authorization("web-app", callback, "openid", "dpop_jkt", jkt))
	w.post("/oauth/token", redeem(code, callback), basic("web-app", secret), header("DPoP", good())).want(t, 200, "")
	// A public client's refresh token is bound to its key (RFC 9449 section 5).
	code = b.code(authorization("spa", "https://spa.example/cb", "openid"))
	public := w.post("/oauth/token", redeem(code, "https://spa.example/cb", "client_id", "spa"), header("DPoP", good())).want(t, 200, "")
	if a := w.post("/oauth/token", refresh(public.text("refresh_token"), "client_id", "spa"), w.proves(newKey(t), "/oauth/token")); a.Code == 200 {
		t.Error("refreshed with another key")
	}
	w.post("/oauth/token", refresh(public.text("refresh_token"), "client_id", "spa"), header("DPoP", good())).want(t, 200, "")
}

func thumbprint(t *testing.T, key any) string {
	t.Helper()
	jwk := jose.JSONWebKey{Key: key}
	public := jwk.Public()
	print, err := public.Thumbprint(crypto.SHA256)
	must(t, err)
	return base64.RawURLEncoding.EncodeToString(print)
}

// TestClientCredentials: clients that can keep a secret act for themselves, with
// what they are registered for.
func TestClientCredentials(t *testing.T) {
	w := newWorld(t)
	form := url.Values{"grant_type": {"client_credentials"}}
	a := w.post("/oauth/token", form, basic("batch", secret)).want(t, 200, "")
	r, err := w.Resolve(t.Context(), a.text("access_token"))
	must(t, err)
	if r.Kind != "client" || r.Subject != "batch" || strings.Join(r.Scopes, " ") != "orders.read orders.write" || a.body["refresh_token"] != nil || a.body["id_token"] != nil {
		t.Errorf("%+v %s", r, a.Body)
	}
	w.post("/oauth/token", with(form, url.Values{"scope": {"orders.read"}}), basic("batch", secret)).want(t, 200, "")
	w.post("/oauth/token", with(form, url.Values{"scope": {"admin"}}), basic("batch", secret)).want(t, 400, "invalid_scope")
	w.post("/oauth/token", with(form, url.Values{"client_id": {"batch"}, "client_secret": {secret}}), nobody()).want(t, 200, "")
	w.post("/oauth/token", with(form, url.Values{"client_id": {"spa"}})).want(t, 400, "unauthorized_client") // T7
	w.post("/oauth/token", form, basic("web-app", secret)).want(t, 400, "unauthorized_client")
	// Guesses of a secret are bounded; the client itself, from elsewhere, is not.
	for range 21 {
		w.post("/oauth/token", form, basic("batch", "wrong"))
	}
	if a := w.post("/oauth/token", form, basic("batch", secret)); a.Code != 429 || a.Header().Get("Retry-After") == "" {
		t.Errorf("after 21 guesses: %d", a.Code)
	}
}

// nobody shows nothing.
func nobody() request { return func(*http.Request) {} }

// TestIntrospection: a client learns of its own tokens, and nothing of others.
func TestIntrospection(t *testing.T) {
	w := newWorld(t)
	mine := w.tokens("openid orders.read")
	ask := func(token string, change ...request) answer {
		return w.post("/oauth/introspect", url.Values{"token": {token}}, change...)
	}
	a := ask(mine.text("access_token"), basic("web-app", secret)).want(t, 200, "")
	if a.body["active"] != true || a.text("sub") != user || a.text("scope") != "openid orders.read" || a.text("client_id") != "web-app" || a.text("token_type") != "Bearer" {
		t.Errorf("own: %s", a.Body)
	}
	for name, b := range map[string]answer{
		"another's":  ask(mine.text("access_token"), basic("report", secret)),
		"unknown":    ask("spa_"+strings.Repeat("A", 43), basic("web-app", secret)),
		"refresh":    ask(mine.text("refresh_token"), basic("web-app", secret)), // T1
		"ID token":   ask(mine.text("id_token"), basic("web-app", secret)),
		"not tokens": ask("x", basic("web-app", secret)),
	} {
		if b.Code != 200 || strings.TrimSpace(b.Body.String()) != `{"active":false}` {
			t.Errorf("%s: %d %s", name, b.Code, b.Body)
		}
	}
	w.post("/oauth/introspect", url.Values{"token": {mine.text("access_token")}, "client_id": {"spa"}}).want(t, 401, "invalid_client")
	ask(mine.text("access_token")).want(t, 401, "invalid_client")

	w.post("/oauth/revoke", url.Values{"token": {mine.text("refresh_token")}}, basic("report", secret)).want(t, 400, "access_denied")
	w.good(mine.text("access_token"), true)
	w.post("/oauth/revoke", url.Values{"token": {"unknown"}}, basic("web-app", secret)).want(t, 200, "")
	w.post("/oauth/revoke", url.Values{"token": {mine.text("refresh_token")}}, basic("web-app", secret)).want(t, 200, "")
	w.good(mine.text("access_token"), false)
	again := w.tokens("openid")
	w.post("/oauth/revoke", url.Values{"token": {again.text("access_token")}}, basic("web-app", secret)).want(t, 200, "")
	w.good(again.text("access_token"), false)
	w.post("/oauth/token", refresh(again.text("refresh_token")), basic("web-app", secret)).want(t, 400, "invalid_grant")
}

// TestExchange: fewer scopes, for another client, until the first token ends.
func TestExchange(t *testing.T) {
	w := newWorld(t)
	mine := w.tokens("openid email orders.read")
	form := func(more ...string) url.Values {
		v := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token": {mine.text("access_token")},
			"subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"}}
		for i := 0; i+1 < len(more); i += 2 {
			v.Set(more[i], more[i+1])
		}
		return v
	}
	a := w.post("/oauth/token", form(), basic("batch", secret)).want(t, 200, "")
	r, err := w.Resolve(t.Context(), a.text("access_token"))
	must(t, err)
	if r.Subject != user || r.Client != "batch" || strings.Join(r.Scopes, " ") != "orders.read" || a.body["refresh_token"] != nil || a.text("issued_token_type") == "" {
		t.Errorf("%+v %s", r, a.Body)
	}
	for name, c := range map[string]struct {
		form   url.Values
		client request
		code   string
	}{
		"a scope that the token lacks": {form("scope", "orders.write"), basic("batch", secret), "invalid_scope"},
		"an inside token":              {form("requested_token_type", "urn:ietf:params:oauth:token-type:txn_token"), basic("batch", secret), "invalid_request"},
		"an ID token":                  {form("requested_token_type", "urn:ietf:params:oauth:token-type:id_token"), basic("batch", secret), "invalid_request"},
		"a refresh token":              {form("requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token"), basic("batch", secret), "invalid_request"},
		"of a refresh token":           {form("subject_token", mine.text("refresh_token")), basic("batch", secret), "invalid_request"},
		"of an ID token":               {form("subject_token", mine.text("id_token"), "subject_token_type", "urn:ietf:params:oauth:token-type:id_token"), basic("batch", secret), "invalid_request"},
		"an actor":                     {form("actor_token", "x", "actor_token_type", "urn:ietf:params:oauth:token-type:access_token"), basic("batch", secret), "invalid_request"},
		"for another audience":         {form("audience", "https://other.example"), basic("batch", secret), "invalid_target"},
		"again":                        {form("subject_token", a.text("access_token")), basic("batch", secret), "invalid_request"},
		"a client that may not":        {form(), basic("web-app", secret), "unauthorized_client"},
		"a public client":              {form("client_id", "spa"), nobody(), "unauthorized_client"},
		"nobody":                       {form(), nobody(), "invalid_client"},
	} {
		t.Run(name, func(t *testing.T) {
			status := 400
			if c.code == "invalid_client" {
				status = 401
			}
			w.post("/oauth/token", c.form, c.client).want(t, status, c.code)
		})
	}
	w.post("/oauth/revoke", url.Values{"token": {mine.text("access_token")}}, basic("web-app", secret)).want(t, 200, "")
	w.good(a.text("access_token"), false)
	// A bound token is exchanged with its key only.
	k := newKey(t)
	code := w.browser().code(authorization("web-app", callback, "orders.read"))
	mine = w.post("/oauth/token", redeem(code, callback), basic("web-app", secret), w.proves(k, "/oauth/token")).want(t, 200, "")
	w.post("/oauth/token", form(), basic("batch", secret)).want(t, 400, "invalid_request")
	w.post("/oauth/token", form(), basic("batch", secret), w.proves(newKey(t), "/oauth/token")).want(t, 400, "invalid_request")
	w.post("/oauth/token", form(), basic("batch", secret), w.proves(k, "/oauth/token")).want(t, 200, "")
}

// TestMTLS: a certificate that the listener has verified says who the client is,
// and binds its tokens.
func TestMTLS(t *testing.T) {
	w := newWorld(t)
	certificate := func(name string, verified bool) request {
		k := newKey(t)
		tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}}
		der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &k.PublicKey, k)
		must(t, err)
		cert, err := x509.ParseCertificate(der)
		must(t, err)
		return func(r *http.Request) {
			r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}}
			if verified {
				r.TLS.VerifiedChains = [][]*x509.Certificate{{cert}}
			}
		}
	}
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {"till"}}
	a := w.post("/oauth/token", form, certificate("till", true)).want(t, 200, "")
	r, err := w.Resolve(t.Context(), a.text("access_token"))
	must(t, err)
	if len(r.X5T) != 43 {
		t.Errorf("not bound: %+v", r)
	}
	w.post("/oauth/token", form, certificate("till", false)).want(t, 401, "invalid_client")
	w.post("/oauth/token", form, certificate("other", true)).want(t, 401, "invalid_client")
	w.post("/oauth/token", form).want(t, 401, "invalid_client")
	// A proof for the other address counts there.
	same := certificate("till", true)
	k := newKey(t)
	w.post("/oauth/token", form, same, header("DPoP", proof(t, k, "POST", mtlsBase+"/oauth/token", map[string]any{"nonce": w.Nonces().At(time.Now())}))).want(t, 200, "")
}
