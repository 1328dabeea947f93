package identity

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/apikey"
	"sallyport.dev/internal/broker"
	"sallyport.dev/internal/mail"
	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
	"sallyport.dev/zone"
)

// mailZone is a zone with mail, open registration and three providers.
func mailZone() *zone.Zone {
	z := openZone()
	z.Identity.Mail = &zone.Mail{From: "no-reply@shop.example"}
	z.Identity.Providers = []zone.Provider{
		{Name: "hub", Kind: broker.KindGitHub, Title: "Hub"},
		{Name: "school", Kind: broker.KindSAML, Title: "School"},
		{Name: "search", Kind: broker.KindOIDC, Title: "Search", Issuer: "https://search.example"},
	}
	return z
}

func newMailWorld(t testing.TB) *world {
	t.Helper()
	return newWorld(t, mailZone())
}

// Compose writes letters with the templates that ship.
func (l *letters) Compose(kind, language string, data map[string]string) (mail.Letter, error) {
	all, err := mail.OpenLetters(openZone(), "https://shop.example")
	if err != nil {
		return mail.Letter{}, err
	}
	return all.Compose(kind, language, data)
}

// sent has the letters written that were asked for since the last time, as the
// outbox does after the answer.
func (w *world) sent() []mail.Letter {
	w.t.Helper()
	w.letters.mu.Lock()
	jobs := w.letters.jobs
	w.letters.jobs = nil
	w.letters.mu.Unlock()
	var list []mail.Letter
	for _, j := range jobs {
		err := w.db.Tx(w.t.Context(), func(ctx context.Context, t *store.Tx) error {
			l, err := w.id.Letter(ctx, t, j)
			if l != nil {
				list = append(list, *l)
			}
			return err
		})
		if err != nil {
			w.t.Fatalf("letter %s: %v", j.Kind, err)
		}
	}
	return list
}

// oneLetter is sent, where one letter to an address is expected.
func (w *world) oneLetter(to, subject string) mail.Letter {
	w.t.Helper()
	list := w.sent()
	if len(list) != 1 || list[0].To != to || !strings.Contains(list[0].Subject, subject) {
		var got []string
		for _, l := range list {
			got = append(got, l.To+": "+l.Subject)
		}
		w.t.Fatalf("letters %q, want one to %s about %q", got, to, subject)
	}
	return list[0]
}

// tokenIn returns the token of the letter's link to a path.
func (w *world) tokenIn(l mail.Letter, path string) string {
	w.t.Helper()
	for _, word := range strings.Fields(l.Text) {
		if u, err := url.Parse(word); err == nil && u.Path == path && strings.HasPrefix(word, "https://shop.example/") {
			return u.Query().Get("token")
		}
	}
	w.t.Fatalf("no link to %s in %s", path, l.Text)
	return ""
}

// own returns the token of a fresh session of a user.
func (w *world) own(user string) string {
	w.t.Helper()
	token, _ := w.sessions.create(w.t, user, 1)
	return token
}

func (w *world) postAs(token, path, body string) *httptest.ResponseRecorder {
	w.t.Helper()
	return w.do(ask{method: "POST", path: path, body: body, token: token, header: map[string]string{"Content-Type": jsonType}})
}

func (w *world) getAs(token, path string) *httptest.ResponseRecorder {
	w.t.Helper()
	return w.do(ask{method: "GET", path: path, token: token})
}

// expect fails unless an answer has a status and reason.
func (w *world) expect(what string, rec *httptest.ResponseRecorder, status int, want problem.Reason) {
	w.t.Helper()
	code := ""
	if want != problem.OK {
		code = want.Code()
	}
	if rec.Code != status || reason(rec) != code {
		w.t.Errorf("%s: %d %q, want %d %q; body %s", what, rec.Code, reason(rec), status, code, rec.Body)
	}
}

// logsIn says whether address and password let in.
func (w *world) logsIn(email, password string) bool {
	w.t.Helper()
	w.now.advance(time.Hour) // guesses are counted elsewhere
	in := w.post("/auth/login", credentialsJSON(email, password)).Code == http.StatusOK
	w.letters.take() // of the new device
	return in
}

// pageBrowser is a browser with its cookies.
type pageBrowser struct {
	w       *world
	cookies map[string]string
}

func (w *world) browser() *pageBrowser { return &pageBrowser{w, map[string]string{}} }

func (b *pageBrowser) do(method, path, body string, header ...string) *httptest.ResponseRecorder {
	b.w.t.Helper()
	r := httptest.NewRequestWithContext(b.w.t.Context(), method, "https://shop.example"+path, strings.NewReader(body))
	r.Header.Set("Accept", browser)
	if method == "POST" {
		r.Header.Set("Content-Type", formType)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	if r.Header.Get("Sec-Fetch-Site") != "cross-site" || method == "GET" { // SameSite=Lax
		for name, value := range b.cookies {
			r.AddCookie(&http.Cookie{Name: name, Value: value})
		}
	}
	rec := httptest.NewRecorder()
	b.w.door().ServeHTTP(rec, r)
	for _, c := range rec.Result().Cookies() {
		if b.cookies[c.Name] = c.Value; c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		}
	}
	return rec
}

func (b *pageBrowser) get(path string) *httptest.ResponseRecorder {
	b.w.t.Helper()
	return b.do("GET", path, "")
}

// post sends a form of names and values.
func (b *pageBrowser) post(path string, pairs ...string) *httptest.ResponseRecorder {
	b.w.t.Helper()
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	return b.do("POST", path, form.Encode())
}

// loginAs puts a fresh session of a user into the browser.
func (b *pageBrowser) loginAs(user string, level int) {
	b.w.t.Helper()
	b.cookies[CookieName], _ = b.w.sessions.create(b.w.t, user, level)
}

// loggedIn returns the user of the browser's session; empty: none.
func (b *pageBrowser) loggedIn() string {
	s, ok := b.w.sessions.lookup(b.cookies[CookieName])
	if !ok {
		return ""
	}
	return s.User
}

// claimsBroker answers with the claims that a test gives it: what providers say on
// the wire is package broker's.
type claimsBroker struct {
	claims broker.Claims
	err    error
	asked  []broker.Ask
}

func (b *claimsBroker) List() []broker.Provider {
	return []broker.Provider{
		{Name: "hub", Kind: broker.KindGitHub, Title: "Hub"},
		{Name: "school", Kind: broker.KindSAML, Title: "School"},
		{Name: "search", Kind: broker.KindOIDC, Title: "Search", Fresh: true},
	}
}

func (b *claimsBroker) Begin(_ context.Context, name string, a broker.Ask) (string, broker.State, error) {
	b.asked = append(b.asked, a)
	return "https://" + name + ".example/authorize?state=" + a.Handle, broker.State{Provider: name, Handle: a.Handle, Nonce: "n-" + a.Handle}, nil
}

func (b *claimsBroker) Finish(_ context.Context, name string, s broker.State, r *http.Request) (broker.Claims, error) {
	if s.Provider != name || s.Handle != broker.HandleOf(r) || s.Nonce != "n-"+s.Handle {
		return broker.Claims{}, problem.New(problem.ProviderInvalid, nil)
	}
	c := b.claims
	c.Provider = name
	return c, b.err
}

func (b *claimsBroker) Metadata(string) ([]byte, error) { return []byte("<EntityDescriptor/>"), nil }

func (w *world) useBroker(c broker.Claims) *claimsBroker {
	b := &claimsBroker{claims: c}
	w.id.broker = b
	return b
}

// realKeys are API keys as app hands them over.
type realKeys struct{ *apikey.Keys }

func (w *world) useKeys() {
	w.t.Helper()
	k, err := apikey.New(apikey.Config{DB: w.db, Root: w.root, Clock: w.now.time, Offered: func() []string { return []string{"orders.read", "orders.write"} }})
	if err != nil {
		w.t.Fatal(err)
	}
	w.id.keys = realKeys{k}
}

func keyOf(from apikey.Key) Key {
	to := Key{ID: from.ID, Name: from.Name, Scopes: from.Scopes, Created: from.Created, Expires: from.Expires, Used: from.Used}
	for _, p := range from.Addresses {
		to.Addresses = append(to.Addresses, p.String())
	}
	return to
}

func (k realKeys) key(ctx context.Context, from apikey.Key) (Key, error) {
	to := keyOf(from)
	list, err := k.Signing(ctx, from)
	for _, s := range list {
		to.Signing = append(to.Signing, SigningKey{ID: s.ID, Algorithm: string(s.Algorithm), Created: s.Created, Expires: s.Expires})
	}
	return to, err
}

func (k realKeys) ListKeys(ctx context.Context, user string) ([]Key, error) {
	list, err := k.ListOwned(ctx, user)
	var out []Key
	for _, from := range list {
		to, err := k.key(ctx, from)
		if err != nil {
			return nil, err
		}
		out = append(out, to)
	}
	return out, err
}

func (k realKeys) CreateKey(ctx context.Context, t *store.Tx, user string, n NewKey) (Key, obs.Secret, error) {
	made, secret, err := k.CreateOwned(ctx, t, user, apikey.NewOwned{Name: n.Name, Scopes: n.Scopes, Addresses: n.Addresses, Life: n.Life})
	return keyOf(made), secret, err
}

func (k realKeys) RotateKey(ctx context.Context, t *store.Tx, user, id string) (Key, obs.Secret, error) {
	made, secret, err := k.RotateOwned(ctx, t, user, id, 24*time.Hour, 0)
	return keyOf(made), secret, err
}

func (k realKeys) RevokeKey(ctx context.Context, user, id string) error {
	return k.RevokeOwned(ctx, user, id)
}

func (k realKeys) AddSigningKey(ctx context.Context, t *store.Tx, user, id, algorithm, public string) (Key, SigningKey, obs.Secret, error) {
	var s apikey.SigningKey
	var secret obs.Secret
	var err error
	if algorithm == string(apikey.HMACSHA256) {
		s, secret, err = k.NewOwnedHMAC(ctx, t, user, id, time.Time{})
	} else {
		pub, parseErr := apikey.ParsePublicKey(public)
		if parseErr != nil {
			return Key{}, SigningKey{}, "", problem.WithDetail(problem.AccountInvalid, parseErr.Error())
		}
		s, err = k.AddOwnedSigning(ctx, t, user, id, pub, time.Time{})
	}
	return keyOf(s.Key), SigningKey{ID: s.ID, Algorithm: string(s.Algorithm), Created: s.Created, Expires: s.Expires}, secret, err
}

func (k realKeys) RemoveSigningKey(ctx context.Context, user, id, signing string) error {
	return k.RemoveOwnedSigning(ctx, user, id, signing)
}

func (k realKeys) EndKeys(ctx context.Context, t *store.Tx, user string) (int, error) {
	return k.EndOwned(ctx, t, user)
}

func (k realKeys) DeleteKeys(ctx context.Context, t *store.Tx, user string) error {
	return k.DeleteOwned(ctx, t, user)
}

// scriptedGrants are grants of one client.
type scriptedGrants struct{ ended []string }

func (g *scriptedGrants) Grants(_ context.Context, user string) ([]Grant, error) {
	return []Grant{{Client: "app", Title: "The app of " + user, Scopes: []string{"openid"}, Since: time.Unix(1700000000, 0)}}, nil
}

func (g *scriptedGrants) RevokeGrant(_ context.Context, user, client string) error {
	if client != "app" {
		return problem.New(problem.AccountUnknown, nil)
	}
	g.ended = append(g.ended, user+" "+client)
	return nil
}

func (g *scriptedGrants) EndGrants(_ context.Context, _ *store.Tx, user string) (int, error) {
	g.ended = append(g.ended, user)
	return 1, nil
}
