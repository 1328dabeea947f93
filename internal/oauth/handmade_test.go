package oauth_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"sallyport.dev/internal/es256"
	"sallyport.dev/internal/oauth"
	"sallyport.dev/zone"
)

const asJWT = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// handmade signs texts as they are written.
func handmade(t testing.TB, key *ecdsa.PrivateKey, header, payload string) string {
	t.Helper()
	e := base64.RawURLEncoding.EncodeToString
	input := e([]byte(header)) + "." + e([]byte(payload))
	sig, err := es256.Sign(key, []byte(input))
	must(t, err)
	return input + "." + e(sig[:])
}

func asserted(text string) url.Values {
	return url.Values{"client_assertion_type": {asJWT}, "client_assertion": {text}}
}

// TestHandmadeAssertions: what an attacker, or a careless program, writes into an
// assertion of its own hand.
func TestHandmadeAssertions(t *testing.T) {
	w := newWorld(t)
	n := 0
	claims := func(over, more string) string {
		n++
		now := time.Now().Unix()
		p := fmt.Sprintf(`{"iss":"bank","sub":"bank","aud":%q,"jti":"hand-%d","iat":%d,"exp":%d%s}`, issuer, n, now, now+60, more)
		if over != "" {
			from, to, _ := strings.Cut(over, "=>")
			if !strings.Contains(p, from) {
				t.Fatalf("%s has no %s", p, from)
			}
			p = strings.Replace(p, from, to, 1)
		}
		return p
	}
	now := time.Now().Unix()
	const plain = `{"alg":"ES256","kid":"c1"}`
	jwk, err := (&jose.JSONWebKey{Key: &newKey(t).PublicKey}).MarshalJSON()
	must(t, err)
	other := newKey(t)
	for name, c := range map[string]struct {
		header, payload string
		key             *ecdsa.PrivateKey
		good            bool
	}{
		"as it should be":        {plain, claims("", ""), w.key, true},
		"no kid":                 {`{"alg":"ES256"}`, claims("", ""), w.key, true},
		"a claim nobody knows":   {plain, claims("", `,"x":{"y":[1]}`), w.key, true},
		"another kid":            {`{"alg":"ES256","kid":"c2"}`, claims("", ""), w.key, false},
		"two kids":               {`{"alg":"ES256","kid":"c1","kid":"c1"}`, claims("", ""), w.key, false},
		"two algs":               {`{"alg":"none","alg":"ES256","kid":"c1"}`, claims("", ""), w.key, false},
		"its own key":            {`{"alg":"ES256","jwk":` + string(jwk) + `}`, claims("", ""), other, false},
		"an address of keys":     {`{"alg":"ES256","kid":"c1","jku":"https://evil.example/k"}`, claims("", ""), other, false},
		"something critical":     {`{"alg":"ES256","kid":"c1","crit":["x"],"x":1}`, claims("", ""), w.key, false},
		"HS256":                  {`{"alg":"HS256","kid":"c1"}`, claims("", ""), w.key, false},
		"lower case":             {`{"alg":"es256","kid":"c1"}`, claims("", ""), w.key, false},
		"two issuers":            {plain, claims("", `,"iss":"bank"`), w.key, false},
		"two subjects":           {plain, claims("", `,"sub":"web-app"`), w.key, false},
		"two audiences in two":   {plain, claims("", `,"aud":"https://evil.example"`), w.key, false},
		"two ids":                {plain, claims("", `,"jti":"z"`), w.key, false},
		"two ends":               {plain, claims("", fmt.Sprintf(`,"exp":%d`, now+60)), w.key, false},
		"the issuer in capitals": {plain, claims(`"iss"=>"ISS"`, ""), w.key, false},
		"the issuer is a list":   {plain, claims(`"iss":"bank"=>"iss":["bank"]`, ""), w.key, false},
		"no subject":             {plain, claims(`"sub":"bank",=>`, ""), w.key, false},
		"no issuer":              {plain, claims(`"iss":"bank",=>`, ""), w.key, false},
		"a slash more":           {plain, claims(issuer+"=>"+issuer+"/", ""), w.key, false},
		"an id that is a number": {plain, claims(`"jti":"hand=>"jti":1,"x":"hand`, ""), w.key, false},
		"an end beyond all":      {plain, claims(fmt.Sprintf(`"exp":%d=>"exp":1e300`, now+60), ""), w.key, false},
		"an end of 2^63":         {plain, claims(fmt.Sprintf(`"exp":%d=>"exp":9223372036854775807`, now+60), ""), w.key, false},
		"an end in text":         {plain, claims(fmt.Sprintf(`"exp":%d=>"exp":"%d"`, now+60, now+60), ""), w.key, false},
		"trailing":               {plain, claims("", "") + "{}", w.key, false},
		"a list":                 {plain, "[" + claims("", "") + "]", w.key, false},
	} {
		a := w.post("/oauth/token", with(url.Values{"grant_type": {"client_credentials"}}, asserted(handmade(t, c.key, c.header, c.payload))), w.proves(newKey(t), "/oauth/token"))
		if (a.Code == 200) != c.good || !c.good && (a.Code != 401 || a.text("error") != "invalid_client") {
			t.Errorf("%s: %d %s", name, a.Code, a.Body)
		}
	}
}

// TestAssertionEverywhere: one assertion is good once, wherever it is shown, in
// whatever process, and however many show it at a time.
func TestAssertionEverywhere(t *testing.T) {
	w := newWorld(t)
	_, second := w.open()
	places := map[string]url.Values{
		"/oauth/token":      {"grant_type": {"client_credentials"}},
		"/oauth/introspect": {"token": {"x"}},
		"/oauth/revoke":     {"token": {"x"}},
		"/oauth/par":        authorization("bank", "https://bank.example/cb", "openid"),
	}
	for first, form := range places {
		for again, other := range places {
			shown := w.asserts(nil)
			if a := w.post(first, with(form, shown), w.proves(newKey(t), first)); a.Code >= 300 {
				t.Errorf("%s: %d %s", first, a.Code, a.Body)
			}
			w.send(second, again, with(other, shown), w.proves(newKey(t), again)).want(t, 401, "invalid_client")
		}
	}
	shown := w.asserts(nil)
	form := with(places["/oauth/token"], shown)
	let := 0
	proofs := make([]request, 16)
	for i := range proofs {
		proofs[i] = w.proves(newKey(t), "/oauth/token")
	}
	for _, a := range race(len(proofs), func(i int) answer {
		mux := w.mux
		if i%2 == 1 {
			mux = second
		}
		return w.send(mux, "/oauth/token", form, proofs[i])
	}) {
		if a.Code == 200 {
			let++
		}
	}
	if let != 1 {
		t.Errorf("an assertion let %d in, want 1", let)
	}
}

// TestKeysAlone: a client with keys is let in by nothing else, least of all by what
// the library is told in the place of a secret.
func TestKeysAlone(t *testing.T) {
	w := newWorld(t)
	forged := func() url.Values {
		own := w.key
		w.key = newKey(t)
		defer func() { w.key = own }()
		return w.asserts(nil)
	}
	ways := map[string]struct {
		form   url.Values
		change request
	}{
		"the library's secret, as Basic": {nil, basic("bank", "its assertion")},
		"the stored one, as Basic":       {nil, basic("bank", "kept elsewhere")},
		"the library's, posted":          {url.Values{"client_id": {"bank"}, "client_secret": {"its assertion"}}, nobody()},
		"the stored one, posted":         {url.Values{"client_id": {"bank"}, "client_secret": {"kept elsewhere"}}, nobody()},
		"its id":                         {url.Values{"client_id": {"bank"}}, nobody()},
		"an empty secret":                {url.Values{"client_id": {"bank"}, "client_secret": {""}}, nobody()},
		"a forged assertion":             {forged(), nobody()},
		"a forged one and a secret":      {with(forged(), url.Values{"client_secret": {"its assertion"}}), nobody()},
		"no type":                        {url.Values{"client_assertion": w.asserts(nil)["client_assertion"]}, nobody()},
		"the type alone":                 {url.Values{"client_id": {"bank"}, "client_assertion_type": {asJWT}}, nobody()},
		"of another client":              {with(w.asserts(nil), url.Values{"client_id": {"web-app"}}), nobody()},
		"an attestation":                 {url.Values{"client_id": {"bank"}}, header("OAuth-Client-Attestation", w.asserts(nil).Get("client_assertion"))},
	}
	for path, form := range map[string]url.Values{
		"/oauth/token":      {"grant_type": {"client_credentials"}},
		"/oauth/introspect": {"token": {"x"}},
		"/oauth/revoke":     {"token": {"x"}},
		"/oauth/par":        authorization("bank", "https://bank.example/cb", "openid"),
	} {
		for name, c := range ways {
			if a := w.post(path, with(form, c.form), w.proves(newKey(t), path), c.change); a.Code != 401 && a.text("error") != "invalid_request" {
				t.Errorf("%s: %s: %d %s", path, name, a.Code, a.Body)
			}
		}
		if a := w.post(path, with(form, w.asserts(nil)), w.proves(newKey(t), path)); a.Code >= 300 {
			t.Errorf("positive control: %s: %d %s", path, a.Code, a.Body)
		}
	}
	// Nor is a client with a secret by an assertion.
	own := handmade(t, w.key, `{"alg":"ES256","kid":"c1"}`, fmt.Sprintf(`{"iss":"web-app","sub":"web-app","aud":%q,"jti":"w","exp":%d}`, issuer, time.Now().Unix()+60))
	w.post("/oauth/introspect", with(url.Values{"token": {"x"}}, asserted(own))).want(t, 401, "invalid_client")
	w.post("/oauth/introspect", with(url.Values{"token": {"x"}, "client_secret": {secret}}, asserted(own))).want(t, 400, "invalid_request")
}

// TestKeyOfAnotherUse: a key that its owner published for encryption signs nothing.
func TestKeyOfAnotherUse(t *testing.T) {
	w := newWorld(t)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	alone, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, Use: "enc"}}})
	must(t, err)
	if _, err := w.AddClient(t.Context(), oauth.NewClient{Client: zone.Client{ID: "alone", Kind: "confidential"}, Keys: alone}); err == nil {
		t.Error("a client with no key for signatures was taken")
	}
	for use, good := range map[string]bool{"": true, "sig": true, "enc": false} {
		id := "use" + use
		set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "r", Use: use}, {Key: &newKey(t).PublicKey, KeyID: "e", Use: "sig"}}})
		must(t, err)
		_, err = w.AddClient(t.Context(), oauth.NewClient{Client: zone.Client{ID: id, Kind: "confidential", Grants: []string{"client_credentials"}, Scopes: []string{"orders.read"}}, Keys: set})
		must(t, err)
		for _, kid := range []string{`,"kid":"r"`, ""} {
			e := base64.RawURLEncoding.EncodeToString
			input := e([]byte(`{"alg":"PS256"`+kid+`}`)) + "." + e(fmt.Appendf(nil, `{"iss":%q,"sub":%q,"aud":%q,"jti":%q,"exp":%d}`, id, id, issuer, rand.Text(), time.Now().Unix()+60))
			sum := sha256.Sum256([]byte(input))
			sig, err := rsa.SignPSS(rand.Reader, key, crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
			must(t, err)
			a := w.post("/oauth/token", with(url.Values{"grant_type": {"client_credentials"}}, asserted(input+"."+e(sig))))
			if (a.Code == 200) != good {
				t.Errorf("use %q, header%s: %d %s", use, kid, a.Code, a.Body)
			}
		}
	}
}
