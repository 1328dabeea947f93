package broker

import (
	"net/http"
	"net/url"
	"testing"

	"sallyport.dev/internal/broker/brokertest"
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

func gitHubOf(g *brokertest.GitHub) zone.Provider {
	return zone.Provider{Name: "github", Kind: KindGitHub, Issuer: g.URL, CA: g.CA, ClientID: brokertest.ClientID, ClientSecret: &zone.Secret{Env: "SECRET"}}
}

func TestGitHub(t *testing.T) {
	g := brokertest.NewGitHub(t)
	w := newWorld(t, &clock{}, gitHubOf(g))
	got, err := w.login("github", g.CA)
	want := Claims{Provider: "github", Issuer: g.URL, Subject: "583231", Email: "octocat@shop.example", EmailVerified: true, Name: "The Octocat"}
	if err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	user := map[string]any{"id": 7, "login": "jane", "email": "shown@shop.example"}
	none := []any{}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	for _, k := range []struct {
		name         string
		user, emails any
		serve        map[string]http.HandlerFunc
		email        string
		want         problem.Reason
	}{
		{"primary and verified", user, []any{map[string]any{"email": "a@x.example", "primary": true, "verified": true}}, nil, "a@x.example", problem.OK},
		{"primary, not verified", user, []any{map[string]any{"email": "a@x.example", "primary": true, "verified": false}}, nil, "", problem.OK},
		{"verified, not primary", user, []any{map[string]any{"email": "a@x.example", "primary": false, "verified": true}}, nil, "", problem.OK},
		{"no addresses", user, none, nil, "", problem.OK},
		{"addresses not granted", user, none, map[string]http.HandlerFunc{"/api/v3/user/emails": status(http.StatusNotFound)}, "", problem.OK},
		{"addresses forbidden", user, none, map[string]http.HandlerFunc{"/api/v3/user/emails": status(http.StatusForbidden)}, "", problem.OK},
		{"addresses fail", user, none, map[string]http.HandlerFunc{"/api/v3/user/emails": status(http.StatusInternalServerError)}, "", problem.ProviderUnavailable},
		{"user fails", user, none, map[string]http.HandlerFunc{"/api/v3/user": status(http.StatusInternalServerError)}, "", problem.ProviderUnavailable},
		{"no id", map[string]any{"login": "jane"}, none, nil, "", problem.ProviderUnavailable},
		{"id is a text", map[string]any{"id": "583231"}, none, nil, "", problem.ProviderUnavailable},
		{"negative id", map[string]any{"id": -1}, none, nil, "", problem.ProviderUnavailable},
		{"user is a list", none, none, nil, "", problem.ProviderUnavailable},
	} {
		t.Run(k.name, func(t *testing.T) {
			g.Set(k.user, k.emails, k.serve)
			got, err := w.login("github", g.CA)
			check(t, err, k.want)
			if got.Email != k.email || got.EmailVerified != (k.email != "") {
				t.Errorf("got %+v, want %q", got, k.email)
			}
			if err == nil && (got.Subject != "7" || got.Name != "jane") {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestGitHubCallback(t *testing.T) {
	g := brokertest.NewGitHub(t)
	w := newWorld(t, &clock{}, gitHubOf(g))
	for _, k := range []struct {
		name   string
		change func(*http.Request, *State)
		want   problem.Reason
	}{
		{"good", func(*http.Request, *State) {}, problem.OK},
		{"another state", func(r *http.Request, _ *State) { withQuery(r, "state", "another") }, problem.ProviderInvalid},
		{"another code", func(r *http.Request, _ *State) { withQuery(r, "code", "another") }, problem.ProviderInvalid},
		{"another verifier", func(_ *http.Request, s *State) { s.Verifier = "another" }, problem.ProviderInvalid},
		{"cancelled", func(r *http.Request, s *State) {
			r.URL.RawQuery = url.Values{"error": {"access_denied"}, "state": {s.Handle}}.Encode()
		}, problem.ProviderDenied},
	} {
		t.Run(k.name, func(t *testing.T) {
			redirect, s := w.begin("github", Ask{})
			r := brokertest.Browser(t, redirect, g.CA)
			k.change(r, &s)
			_, err := w.Finish(t.Context(), "github", s, r)
			check(t, err, k.want)
		})
	}
	cfg := w.cfg
	cfg.Secret = func(*zone.Secret) (string, error) { return "another", nil }
	w.Broker = w.make(cfg)
	_, err := w.login("github", g.CA)
	check(t, err, problem.ProviderUnavailable)
	_, _, err = w.Begin(t.Context(), "github", Ask{Fresh: true}) // it cannot tell
	check(t, err, problem.ProviderInvalid)
}

// TestGitHubItself: without an issuer in the map it is github.com.
func TestGitHubItself(t *testing.T) {
	p := gitHubOf(&brokertest.GitHub{})
	w := newWorld(t, &clock{}, p)
	redirect, s := w.begin("github", Ask{Handle: "flow"})
	u, err := url.Parse(redirect)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	if got := u.Scheme + "://" + u.Host + u.Path; got != "https://github.com/login/oauth/authorize" || s.Issuer != "https://github.com" {
		t.Errorf("got %s, issuer %s", got, s.Issuer)
	}
	if q.Get("scope") != "read:user user:email" || q.Get("code_challenge_method") != "S256" || q.Get("state") != "flow" {
		t.Errorf("query %v", q)
	}
	made := w.entry("github").protocol.(*github)
	if made.config.Endpoint.TokenURL != "https://github.com/login/oauth/access_token" || made.api != "https://api.github.com" {
		t.Errorf("token %s, api %s", made.config.Endpoint.TokenURL, made.api)
	}
}
