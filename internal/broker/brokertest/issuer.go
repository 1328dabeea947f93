package brokertest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// The zone's login at each fake.
const (
	ClientID     = "zone"
	ClientSecret = "a secret & more"
)

// Issuer is an OpenID provider. Whoever comes is logged in at once.
type Issuer struct {
	URL   string
	CA    string // PEM file of its roots; empty for plain http
	Key   *ecdsa.PrivateKey
	clock func() time.Time

	mu       sync.Mutex
	fault    Fault             // guarded by mu
	codes    map[string]asked  // guarded by mu
	requests map[string]int    // guarded by mu; by path
	tokens   map[string]string // guarded by mu; sub by access token
}

// asked is what a code was asked with.
type asked struct{ nonce, challenge, redirect string }

// Fault is how an Issuer misbehaves. The zero value is one that does not.
type Fault struct {
	Claims     func(c map[string]any)      // of the ID token
	Sign       func(claims []byte) string  // nil: with Key, ES256
	KeyID      string                      // of Key; empty: one
	Discovery  func(d map[string]any)      //
	Keys       func(keys []any) []any      //
	Answer     func(q url.Values)          // what goes back with the browser
	Token      func(t map[string]any)      // of the token endpoint
	Userinfo   func(u map[string]any)      //
	Serve      map[string]http.HandlerFunc // instead of what is at a path
	User       map[string]any              // claims of the user beside sub; nil: an address and a name
	Secretless bool                        // it takes a public client
}

// NewIssuer starts an OpenID provider on loopback, with TLS unless plain.
func NewIssuer(t testing.TB, clock func() time.Time, plain bool) *Issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i := &Issuer{Key: key, clock: clock, codes: map[string]asked{}, requests: map[string]int{}, tokens: map[string]string{}}
	i.URL, i.CA = serve(t, i, plain)
	return i
}

// serve starts a server, and writes the roots for it.
func serve(t testing.TB, h http.Handler, plain bool) (address, ca string) {
	t.Helper()
	if plain {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		return s.URL, ""
	}
	s := httptest.NewTLSServer(h)
	t.Cleanup(s.Close)
	ca = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return s.URL, ca
}

// Set makes it misbehave from now on.
func (i *Issuer) Set(f Fault) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.fault = f
}

// Requests returns how often a path was asked for.
func (i *Issuer) Requests(path string) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.requests[path]
}

// ServeHTTP implements http.Handler.
func (i *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	f := i.fault
	i.requests[r.URL.Path]++
	i.mu.Unlock()
	if h := f.Serve[r.URL.Path]; h != nil {
		h(w, r)
		return
	}
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		d := map[string]any{
			"issuer": i.URL, "authorization_endpoint": i.URL + "/authorize", "token_endpoint": i.URL + "/token", "jwks_uri": i.URL + "/jwks",
			"userinfo_endpoint": i.URL + "/userinfo", "authorization_response_iss_parameter_supported": true,
			"id_token_signing_alg_values_supported": []string{"ES256", "none", "HS256"},
		}
		if f.Discovery != nil {
			f.Discovery(d)
		}
		writeJSON(w, http.StatusOK, d)
	case "/jwks":
		keys := []any{JWK(i.Key.Public(), keyID(f))}
		if f.Keys != nil {
			keys = f.Keys(keys)
		}
		writeJSON(w, http.StatusOK, map[string]any{"keys": keys})
	case "/authorize":
		i.authorize(w, r, f)
	case "/token":
		i.token(w, r, f)
	case "/userinfo":
		i.userinfo(w, r, f)
	default:
		http.NotFound(w, r)
	}
}

func (i *Issuer) authorize(w http.ResponseWriter, r *http.Request, f Fault) {
	q := r.URL.Query()
	back, err := url.Parse(q.Get("redirect_uri"))
	if err != nil || q.Get("response_type") != "code" || q.Get("client_id") != ClientID || q.Get("code_challenge_method") != "S256" ||
		q.Get("code_challenge") == "" || q.Get("nonce") == "" || q.Get("state") == "" {
		http.Error(w, "not asked as it should be: "+r.URL.RawQuery, http.StatusBadRequest)
		return
	}
	code := rand.Text()
	i.mu.Lock()
	i.codes[code] = asked{q.Get("nonce"), q.Get("code_challenge"), q.Get("redirect_uri")}
	i.mu.Unlock()
	answer := url.Values{"code": {code}, "state": {q.Get("state")}, "iss": {i.URL}}
	if f.Answer != nil {
		f.Answer(answer)
	}
	back.RawQuery = answer.Encode()
	http.Redirect(w, r, back.String(), http.StatusFound)
}

func (i *Issuer) token(w http.ResponseWriter, r *http.Request, f Fault) {
	id, secret, basic := r.BasicAuth()
	if basic { // RFC 6749 section 2.3.1
		secret, _ = url.QueryUnescape(secret)
	} else {
		id, secret = r.PostFormValue("client_id"), r.PostFormValue("client_secret")
	}
	if id != ClientID || !f.Secretless && secret != ClientSecret || f.Secretless && secret != "" {
		writeJSON(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client"})
		return
	}
	code := r.PostFormValue("code")
	i.mu.Lock()
	a, known := i.codes[code]
	delete(i.codes, code)
	i.mu.Unlock()
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	if !known || r.PostFormValue("redirect_uri") != a.redirect || r.PostFormValue("grant_type") != "authorization_code" ||
		subtle.ConstantTimeCompare([]byte(base64.RawURLEncoding.EncodeToString(sum[:])), []byte(a.challenge)) != 1 {
		writeJSON(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant"})
		return
	}
	access, now := rand.Text(), i.clock()
	hash := sha256.Sum256([]byte(access))
	c := map[string]any{
		"iss": i.URL, "sub": "248289761001", "aud": ClientID, "nonce": a.nonce, "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
		"auth_time": now.Unix(), "acr": "urn:mace:incommon:iap:silver", "at_hash": base64.RawURLEncoding.EncodeToString(hash[:16]),
	}
	for name, value := range user(f) {
		c[name] = value
	}
	if f.Claims != nil {
		f.Claims(c)
	}
	payload, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	sub, _ := c["sub"].(string)
	i.mu.Lock()
	i.tokens[access] = sub
	i.mu.Unlock()
	sign := f.Sign
	if sign == nil {
		sign = func(p []byte) string { return Sign(jose.ES256, i.Key, keyID(f), p) }
	}
	answer := map[string]any{"access_token": access, "token_type": "Bearer", "expires_in": 300, "id_token": sign(payload)}
	if f.Token != nil {
		f.Token(answer)
	}
	writeJSON(w, http.StatusOK, answer)
}

func (i *Issuer) userinfo(w http.ResponseWriter, r *http.Request, f Fault) {
	token := r.Header.Get("Authorization")
	i.mu.Lock()
	sub, known := i.tokens[token[min(len("Bearer "), len(token)):]]
	i.mu.Unlock()
	if !known {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	u := map[string]any{"sub": sub, "email": "info@shop.example", "email_verified": true, "name": "Userinfo"}
	if f.Userinfo != nil {
		f.Userinfo(u)
	}
	writeJSON(w, http.StatusOK, u)
}

func user(f Fault) map[string]any {
	if f.User != nil {
		return f.User
	}
	return map[string]any{"email": "jane@shop.example", "email_verified": true, "name": "Jane Doe"}
}

func keyID(f Fault) string {
	if f.KeyID != "" {
		return f.KeyID
	}
	return "one"
}

// Sign makes a JWS in compact serialization. Symmetric keys are []byte.
func Sign(algorithm jose.SignatureAlgorithm, key any, id string, payload []byte) string {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: jose.JSONWebKey{Key: key, KeyID: id}}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		panic(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		panic(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		panic(err)
	}
	return text
}

// JWK is a public key as it is published.
func JWK(public crypto.PublicKey, id string) jose.JSONWebKey {
	return jose.JSONWebKey{Key: public, KeyID: id, Use: "sig"}
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
