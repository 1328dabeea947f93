package brokertest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"sync"
	"testing"
)

// GitHub is a server that speaks GitHub's dialect, as one's own server does: its
// API is below /api/v3.
type GitHub struct {
	URL string
	CA  string

	mu     sync.Mutex
	user   any                         // guarded by mu
	emails any                         // guarded by mu
	serve  map[string]http.HandlerFunc // guarded by mu
	codes  map[string]string           // guarded by mu; challenges
	tokens map[string]bool             // guarded by mu
}

// NewGitHub starts one with a user of two addresses.
func NewGitHub(t testing.TB) *GitHub {
	t.Helper()
	g := &GitHub{codes: map[string]string{}, tokens: map[string]bool{}}
	g.Set(map[string]any{"id": 583231, "login": "octocat", "name": "The Octocat", "email": "shown@shop.example"}, []map[string]any{
		{"email": "other@shop.example", "primary": false, "verified": true}, {"email": "octocat@shop.example", "primary": true, "verified": true},
	}, nil)
	g.URL, g.CA = serve(t, g, false)
	return g
}

// Set says who logs in. serve is what is done instead at a path.
func (g *GitHub) Set(user, emails any, serve map[string]http.HandlerFunc) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.user, g.emails, g.serve = user, emails, serve
}

// ServeHTTP implements http.Handler.
func (g *GitHub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if h := g.serve[r.URL.Path]; h != nil {
		h(w, r)
		return
	}
	token := r.Header.Get("Authorization")
	if known := g.tokens[token[min(len(token), len("Bearer ")):]]; !known && len(r.URL.Path) > 4 && r.URL.Path[:5] == "/api/" {
		writeJSON(w, http.StatusUnauthorized, map[string]any{"message": "Bad credentials"})
		return
	}
	switch r.URL.Path {
	case "/login/oauth/authorize":
		q := r.URL.Query()
		back, err := url.Parse(q.Get("redirect_uri"))
		if err != nil || q.Get("client_id") != ClientID || q.Get("code_challenge") == "" || q.Get("code_challenge_method") != "S256" {
			http.Error(w, "not asked as it should be", http.StatusBadRequest)
			return
		}
		code := rand.Text()
		g.codes[code] = q.Get("code_challenge")
		back.RawQuery = url.Values{"code": {code}, "state": {q.Get("state")}}.Encode()
		http.Redirect(w, r, back.String(), http.StatusFound)
	case "/login/oauth/access_token":
		sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
		answer := url.Values{}
		if challenge, known := g.codes[r.PostFormValue("code")]; !known || challenge != base64.RawURLEncoding.EncodeToString(sum[:]) {
			answer.Set("error", "bad_verification_code") // with 200, as GitHub does
		} else if r.PostFormValue("client_id") != ClientID || r.PostFormValue("client_secret") != ClientSecret {
			answer.Set("error", "incorrect_client_credentials")
		} else {
			delete(g.codes, r.PostFormValue("code"))
			access := "gho_" + rand.Text()
			g.tokens[access] = true
			answer = url.Values{"access_token": {access}, "token_type": {"bearer"}, "scope": {"read:user,user:email"}}
		}
		w.Header().Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
		_, _ = w.Write([]byte(answer.Encode()))
	case "/api/v3/user":
		writeJSON(w, http.StatusOK, g.user)
	case "/api/v3/user/emails":
		writeJSON(w, http.StatusOK, g.emails)
	default:
		http.NotFound(w, r)
	}
}
