package oauth_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"sallyport.dev/internal/flow"
	"sallyport.dev/internal/guess"
	"sallyport.dev/internal/keys"
	"sallyport.dev/internal/kv"
	"sallyport.dev/internal/oauth"
	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/page"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
	"sallyport.dev/internal/store/pgtest"
	"sallyport.dev/zone"
)

const (
	issuer   = "https://shop.example"
	mtlsBase = "https://partners.shop.example"
	callback = "https://client.example/cb"
	verifier = "0123456789012345678901234567890123456789012345"
	secret   = "a secret of the map, long enough"
	user     = "5f0c1d52-4b6e-4f0e-9f5e-0123456789ab"
)

// people stand for the accounts and sessions of a zone.
type people struct {
	mu    sync.Mutex
	gone  map[string]bool // users and sessions that have ended
	down  bool
	ended []string
}

func (u *people) Claims(_ context.Context, id string, scopes []string) (map[string]any, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.down {
		return nil, problem.New(problem.AuthUnavailable, nil)
	}
	claims := map[string]any{"sub": "nobody"}
	for _, s := range scopes {
		if s == "email" {
			claims["email"], claims["email_verified"] = id[:4]+"@shop.example", true
		}
	}
	return claims, nil
}

func (u *people) Active(_ context.Context, id, session string) (time.Time, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.down:
		return time.Time{}, problem.New(problem.AuthUnavailable, nil)
	case u.gone[id], session != "" && u.gone[session]:
		return time.Time{}, problem.New(problem.AuthRevoked, nil)
	}
	return time.Time{}, nil
}

func (u *people) EndSession(_ http.ResponseWriter, _ *http.Request, id, session string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.gone[session] = true
	u.ended = append(u.ended, id+" "+session)
	return nil
}

func (u *people) end(what string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.gone[what] = true
}

func (u *people) back(what string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.gone, what)
}

// world is a provider on a real database, with the clients of a map.
type world struct {
	*oauth.Provider
	t      testing.TB
	db     *store.DB
	path   string
	users  *people
	mux    *http.ServeMux
	zone   *zone.Zone
	cfg    oauth.Config
	key    *ecdsa.PrivateKey // of the client bank
	counts map[string]int
	mu     sync.Mutex
	nonce  string
}

func newWorld(t testing.TB, change ...func(*oauth.Config)) *world {
	t.Helper()
	w := &world{t: t, path: filepath.Join(t.TempDir(), "store.db"), users: &people{gone: map[string]bool{}}, counts: map[string]int{}}
	empty, err := emptyDatabase()
	must(t, err)
	must(t, os.WriteFile(w.path, empty, 0o600))
	w.db, err = pgtest.OpenAt(t, w.path)
	must(t, err)
	t.Cleanup(func() { _ = w.db.Close() })
	root, err := keys.OpenRoot(filepath.Join(t.TempDir(), "root"), true)
	must(t, err)
	ring, err := keys.NewRing(t.Context(), w.db, root, keys.RingConfig{Name: "openid", Rotate: 24 * time.Hour, Overlap: time.Hour})
	must(t, err)
	w.key = newKey(t)
	w.zone = testZone(t, w.key)
	pages, err := page.New(page.Config{Zone: w.zone})
	must(t, err)
	memory := kv.NewMemory(time.Now, 10_000)
	w.cfg = oauth.Config{
		Zone: w.zone, Issuer: issuer, MTLSBase: mtlsBase, DB: w.db, Values: memory, Root: root, Keys: ring, Users: w.users,
		Throttle: guess.New(memory, memory, make([]byte, 32), time.Now), Pages: pages, Flows: flow.New(w.db, root, time.Now),
		Secret: func(*zone.Secret) (string, error) { return secret, nil },
		Count:  w.count,
	}
	for _, c := range change {
		c(&w.cfg)
	}
	w.Provider, w.mux = w.open()
	return w
}

// open makes another provider on the same database, as another process would.
func (w *world) open() (*oauth.Provider, *http.ServeMux) {
	p, err := oauth.New(w.t.Context(), w.cfg)
	must(w.t, err)
	mux := http.NewServeMux()
	for _, r := range p.Routes() {
		mux.Handle(r.Method+" "+r.Path, r.Handler)
	}
	return p, mux
}

func (w *world) count(event string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts[event]++
}

func (w *world) counted(event string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.counts[event]
}

var emptyDatabase = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "oauth")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "store.db")
	db, err := store.OpenSQLite(context.Background(), path)
	if err != nil {
		return nil, err
	}
	if err := db.Close(); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

func testZone(t testing.TB, key *ecdsa.PrivateKey) *zone.Zone {
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "c1", Algorithm: "ES256", Use: "sig"}}})
	must(t, err)
	file := filepath.Join(t.TempDir(), "bank.json")
	must(t, os.WriteFile(file, set, 0o600))
	scopes := []string{"openid", "email", "offline_access", "orders.read", "orders.write"}
	userGrants := []string{"authorization_code", "device_code", "refresh_token"}
	return &zone.Zone{
		Name:     "shop.example",
		Services: []*zone.Service{{Routes: []*zone.Route{{Scopes: []string{"orders.read", "orders.write", "admin"}}}}},
		Identity: zone.Identity{Clients: []zone.Client{
			{ID: "web-app", Title: "The web", Kind: "confidential", RedirectURIs: []string{callback}, LogoutURIs: []string{"https://client.example/bye"}, Scopes: scopes, Grants: userGrants, Secret: &zone.Secret{}, BackchannelLogoutURI: "https://client.example/logout"},
			{ID: "spa", Kind: "public", RedirectURIs: []string{"https://spa.example/cb"}, Scopes: scopes, Consent: true},
			{ID: "cli", Kind: "public", RedirectURIs: []string{"http://127.0.0.1/cb"}, Scopes: scopes, Grants: userGrants, Consent: true},
			{ID: "bank", Kind: "confidential", RedirectURIs: []string{"https://bank.example/cb"}, Scopes: scopes, Grants: []string{"authorization_code", "client_credentials", "refresh_token"}, JWKS: file, PAR: true, DPoP: true, JWTTokens: true},
			{ID: "batch", Kind: "confidential", Scopes: []string{"orders.read", "orders.write"}, Grants: []string{"client_credentials", "token_exchange"}, Secret: &zone.Secret{}},
			{ID: "till", Kind: "confidential", Scopes: []string{"orders.read"}, Certificate: "CN=till"},
			{ID: "report", Kind: "confidential", RedirectURIs: []string{"https://report.example/cb"}, Scopes: scopes, Secret: &zone.Secret{}, JWTTokens: true},
		}},
	}
}

// browser is a browser of a user.
type browser struct {
	w      *world
	mux    *http.ServeMux
	cookie string
	who    *policy.Principal // nil: nobody is logged in
}

func (w *world) browser() *browser {
	return &browser{w: w, mux: w.mux, who: &policy.Principal{Kind: policy.User, Subject: user, Session: "session1", Level: 1, Method: "cookie", AuthTime: time.Now()}}
}

func (b *browser) do(r *http.Request) *httptest.ResponseRecorder {
	b.w.t.Helper()
	r.Header.Set("Accept", "text/html")
	r.Host = "shop.example"
	if b.cookie != "" {
		r.Header.Add("Cookie", "__Host-flow="+b.cookie)
	}
	ctx := obs.WithRequest(r.Context(), &obs.Request{Client: netip.MustParseAddr("192.0.2.7")})
	if b.who != nil {
		ctx = policy.WithPrincipal(ctx, b.who)
	}
	a := httptest.NewRecorder()
	b.mux.ServeHTTP(a, r.WithContext(ctx))
	for _, c := range a.Result().Cookies() {
		if c.Name == "__Host-flow" {
			b.cookie = c.Value
		}
	}
	return a
}

func (b *browser) get(path string) *httptest.ResponseRecorder {
	return b.do(httptest.NewRequest(http.MethodGet, issuer+path, nil))
}

func (b *browser) post(path string, form url.Values) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, issuer+path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", issuer)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	return b.do(r)
}

var flowField = regexp.MustCompile(`name="flow" value="([^"]+)"`)

// allow answers a consent page.
func (b *browser) decide(a *httptest.ResponseRecorder, decision string) *httptest.ResponseRecorder {
	b.w.t.Helper()
	found := flowField.FindStringSubmatch(a.Body.String())
	if found == nil {
		b.w.t.Fatalf("no consent page: %d %s %s", a.Code, a.Header().Get("Location"), a.Body)
	}
	return b.post("/oauth/consent", url.Values{"flow": {found[1]}, "decision": {decision}})
}

// leads is where an answer leads.
func leads(t testing.TB, a *httptest.ResponseRecorder) *url.URL {
	t.Helper()
	to := a.Header().Get("Location")
	if to == "" {
		_, to, _ = strings.Cut(a.Header().Get("Refresh"), "url=")
	}
	u, err := url.Parse(to)
	must(t, err)
	return u
}

func authorization(client, redirect, scope string, more ...string) url.Values {
	v := url.Values{
		"client_id": {client}, "response_type": {"code"}, "redirect_uri": {redirect}, "scope": {scope}, "state": {"st"}, "nonce": {"no"},
		"code_challenge": {challenge(verifier)}, "code_challenge_method": {"S256"},
	}
	for i := 0; i+1 < len(more); i += 2 {
		v.Set(more[i], more[i+1])
	}
	return v
}

// code has a user say yes, and returns the code.
func (b *browser) code(v url.Values) string {
	b.w.t.Helper()
	a := b.get("/oauth/authorize?" + v.Encode())
	if a.Code == http.StatusOK && a.Header().Get("Refresh") == "" {
		a = b.decide(a, "allow")
	}
	q := leads(b.w.t, a).Query()
	if q.Get("code") == "" || q.Get("iss") != issuer || q.Get("state") != v.Get("state") {
		b.w.t.Fatalf("no code: %d %s %s", a.Code, leads(b.w.t, a), a.Body)
	}
	return q.Get("code")
}

// answer is what a back-channel request got.
type answer struct {
	*httptest.ResponseRecorder
	body map[string]any
}

func (a *answer) decode() { _ = json.Unmarshal(a.Body.Bytes(), &a.body) }

func (a answer) text(name string) string { s, _ := a.body[name].(string); return s }

// request changes a back-channel request before it is sent.
type request func(*http.Request)

func basic(id, secret string) request {
	return func(r *http.Request) { r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret)) }
}

func header(name, value string) request { return func(r *http.Request) { r.Header.Add(name, value) } }

func (w *world) post(path string, form url.Values, change ...request) answer {
	w.t.Helper()
	return w.send(w.mux, path, form, change...)
}

func (w *world) send(mux *http.ServeMux, path string, form url.Values, change ...request) answer {
	w.t.Helper()
	r := httptest.NewRequest(http.MethodPost, issuer+path, strings.NewReader(form.Encode()))
	r.TLS = nil
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for _, c := range change {
		c(r)
	}
	a := answer{ResponseRecorder: httptest.NewRecorder()}
	mux.ServeHTTP(a, r.WithContext(obs.WithRequest(r.Context(), &obs.Request{Client: netip.MustParseAddr("192.0.2.9")})))
	a.decode()
	w.mu.Lock()
	w.nonce = a.Header().Get("DPoP-Nonce")
	w.mu.Unlock()
	return a
}

func redeem(code, redirect string, more ...string) url.Values {
	v := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirect}, "code_verifier": {verifier}}
	for i := 0; i+1 < len(more); i += 2 {
		v.Set(more[i], more[i+1])
	}
	return v
}

func refresh(token string, more ...string) url.Values {
	v := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
	for i := 0; i+1 < len(more); i += 2 {
		v.Set(more[i], more[i+1])
	}
	return v
}

// tokens has a user give the client web-app its tokens.
func (w *world) tokens(scope string) answer {
	w.t.Helper()
	a := w.post("/oauth/token", redeem(w.browser().code(authorization("web-app", callback, scope)), callback), basic("web-app", secret))
	if a.Code != http.StatusOK {
		w.t.Fatalf("tokens: %d %s", a.Code, a.Body)
	}
	return a
}

// good asserts that a token is one, or none.
func (w *world) good(token string, want bool) {
	w.t.Helper()
	_, err := w.Resolve(w.t.Context(), token)
	if (err == nil) != want {
		w.t.Errorf("the token resolves to %v, want good %v", err, want)
	}
}

func (a answer) want(t testing.TB, status int, code string) answer {
	t.Helper()
	if a.Code != status || a.text("error") != code {
		t.Errorf("got %d %s, want %d %s", a.Code, a.Body, status, code)
	}
	return a
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return k
}

// proof makes a DPoP proof.
func proof(t testing.TB, key *ecdsa.PrivateKey, method, address string, more map[string]any) string {
	t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{EmbedJWK: true}).WithType("dpop+jwt"))
	must(t, err)
	claims := map[string]any{"jti": rand.Text(), "htm": method, "htu": address, "iat": time.Now().Unix()}
	for name, value := range more {
		claims[name] = value
	}
	text, err := jwt.Signed(s).Claims(claims).Serialize()
	must(t, err)
	return text
}

// proves adds a proof with the nonce of now.
func (w *world) proves(key *ecdsa.PrivateKey, path string) request {
	return header("DPoP", proof(w.t, key, "POST", issuer+path, map[string]any{"nonce": w.Nonces().At(time.Now())}))
}

// asserts signs a client assertion of the client bank.
func (w *world) asserts(more map[string]any) url.Values {
	w.t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: w.key}, (&jose.SignerOptions{}).WithHeader("kid", "c1"))
	must(w.t, err)
	now := time.Now().Unix()
	claims := map[string]any{"iss": "bank", "sub": "bank", "aud": issuer, "jti": rand.Text(), "iat": now, "exp": now + 60}
	for name, value := range more {
		claims[name] = value
	}
	text, err := jwt.Signed(s).Claims(claims).Serialize()
	must(w.t, err)
	return url.Values{"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {text}}
}

func with(v url.Values, more url.Values) url.Values {
	out := url.Values{}
	for _, m := range []url.Values{v, more} {
		for name, values := range m {
			out[name] = values
		}
	}
	return out
}

func challenge(v string) string {
	sum := sha256.Sum256([]byte(v))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// transport answers the requests of a real client program.
type transport struct{ h http.Handler }

func (tr transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		r.Body = http.NoBody
	}
	in := r.Clone(r.Context())
	in.RequestURI = r.URL.RequestURI()
	in.Host = r.URL.Host
	a := httptest.NewRecorder()
	tr.h.ServeHTTP(a, in)
	out := a.Result()
	out.Request = r
	if out.Body == nil {
		out.Body = io.NopCloser(strings.NewReader(""))
	}
	return out, nil
}

// forgetPoll lets a device ask again at once.
func (w *world) forgetPoll(t testing.TB, code string) {
	t.Helper()
	sum := sha256.Sum256([]byte(code))
	must(t, w.cfg.Values.Delete(t.Context(), "oauth/poll/"+base64.RawURLEncoding.EncodeToString(sum[:])))
}
