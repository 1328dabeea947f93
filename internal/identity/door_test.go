package identity

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
)

// door serves the routes as the gateway does: it finds the principal of a
// cookie or bearer token, tells the handler, and takes the recorded reason off.
type door struct {
	w   *world
	mux *http.ServeMux
}

func (w *world) door() *door {
	d := &door{w: w, mux: http.NewServeMux()}
	for _, route := range w.id.Routes() {
		d.mux.Handle(route.Method+" "+route.Path, route.Handler)
	}
	return d
}

func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	client, _ := netip.ParseAddr(d.w.client)
	ctx := obs.WithRequest(r.Context(), &obs.Request{CorrelationID: "5f0c9b3e-9d4a-4c7b-8e21-5a6f7b8c9d0e", Client: client, Listener: "public"})
	token, method := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), "session"
	if c, err := r.Cookie(CookieName); err == nil && token == "" {
		token, method = c.Value, "cookie"
	}
	if token == apiKey {
		ctx = policy.WithPrincipal(ctx, &policy.Principal{Kind: policy.Key, Subject: "key_partner", Client: "partner", Roles: []string{"admin"}, Scopes: []string{"all"}, Level: 1, Method: "key"})
	} else if s, ok := d.w.sessions.lookup(token); ok {
		if p, err := d.w.id.Entering(ctx, s.User, s.Reached); err == nil {
			p.Session, p.Method, p.Level, p.AuthTime = s.ID, method, s.Level, s.AuthTime
			ctx = policy.WithPrincipal(ctx, &p)
		}
	}
	r = r.WithContext(ctx)
	r.Header = r.Header.Clone()
	kept := []string{}
	for _, c := range r.Cookies() {
		if c.Name != CookieName {
			kept = append(kept, c.Name+"="+c.Value)
		}
	}
	r.Header.Del("Cookie")
	if len(kept) > 0 {
		r.Header.Set("Cookie", strings.Join(kept, "; "))
	}
	r.Header.Del("Authorization") // handlers never see the credential
	d.mux.ServeHTTP(w, r)
}

// apiKey stands for the key of a program with every right there is.
const apiKey = "spk_partner"

// ask sends one request to the door.
type ask struct {
	method, path, body string
	header             map[string]string
	token, cookie      string
	more               []*http.Cookie // further cookies
}

const (
	jsonType = "application/json"
	formType = "application/x-www-form-urlencoded"
	browser  = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
)

func (w *world) do(a ask) *httptest.ResponseRecorder {
	w.t.Helper()
	r := httptest.NewRequestWithContext(w.t.Context(), a.method, "https://shop.example"+a.path, strings.NewReader(a.body))
	for k, v := range a.header {
		r.Header.Set(k, v)
	}
	if a.token != "" {
		r.Header.Set("Authorization", "Bearer "+a.token)
	}
	if a.cookie != "" {
		r.AddCookie(&http.Cookie{Name: CookieName, Value: a.cookie})
	}
	for _, c := range a.more {
		r.AddCookie(c)
	}
	rec := httptest.NewRecorder()
	w.door().ServeHTTP(rec, r)
	return rec
}

func (w *world) post(path, body string) *httptest.ResponseRecorder {
	w.t.Helper()
	return w.do(ask{method: "POST", path: path, body: body, header: map[string]string{"Content-Type": jsonType}})
}

func (w *world) postForm(path, body string) *httptest.ResponseRecorder {
	w.t.Helper()
	return w.do(ask{method: "POST", path: path, body: body, header: map[string]string{"Content-Type": formType, "Accept": browser}})
}

func credentialsJSON(email, password string) string {
	return fmt.Sprintf(`{"email":%q,"password":%q}`, email, password)
}

// reason returns the reason of an answer.
func reason(rec *httptest.ResponseRecorder) string { return rec.Header().Get(problem.ReasonHeader) }

// wantReason fails unless err has the reason.
func wantReason(t testing.TB, what string, err error, want problem.Reason) {
	t.Helper()
	if got := problem.ReasonOf(err); got != want {
		t.Errorf("%s: reason %v (%v), want %v", what, got, err, want)
	}
}
