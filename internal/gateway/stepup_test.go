package gateway

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// TestStepUp asks for two factors, and for a login that is not old.
func TestStepUp(t *testing.T) {
	d := openDoor(t, []*zone.Route{
		{Method: "DELETE", Path: "/orders", Allow: zone.AllowUser, MFA: true, MaxAge: 15 * time.Minute},
		{Method: "GET", Path: "/orders", Allow: zone.AllowUser},
	})
	now := time.Now()
	d.auth.set("sps_fresh", policy.Principal{Kind: policy.User, Subject: "ada", Level: 2, AuthTime: now.Add(-14 * time.Minute)})
	d.auth.set("sps_old", policy.Principal{Kind: policy.User, Subject: "ada", Level: 2, AuthTime: now.Add(-16 * time.Minute)})
	d.auth.set("sps_one", policy.Principal{Kind: policy.User, Subject: "ada", Level: 1, AuthTime: now})
	h := d.client(false)
	for _, c := range []struct {
		method, token string
		want          problem.Reason
	}{
		{"DELETE", "sps_fresh", problem.OK},
		{"DELETE", "sps_old", problem.AuthStepUp},
		{"DELETE", "sps_one", problem.AuthStepUp},
		{"GET", "sps_old", problem.OK},
		{"GET", "sps_one", problem.OK},
	} {
		got := d.do(h, c.method, "/orders", "", "Authorization: Bearer "+c.token)
		if last := d.last(); got.status != c.want.Status() || last.Reason != c.want.Code() {
			t.Errorf("%s with %s: %d, record %s; want %s", c.method, c.token, got.status, last.Reason, c.want.Code())
		}
		const want = `error="insufficient_user_authentication", acr_values="2", max_age="900"`
		if challenge := got.header.Get("WWW-Authenticate"); c.want == problem.AuthStepUp && !strings.Contains(challenge, want) {
			t.Errorf("challenge %q, want %s", challenge, want)
		}
	}
}

// TestRawLocal: the handler of a raw local route judges the caller itself, from
// whatever site; another's never sees a credential.
func TestRawLocal(t *testing.T) {
	var seen http.Header
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r.Header.Clone()
		if p := policy.PrincipalFrom(r.Context()); p.Kind != policy.Anonymous {
			t.Errorf("the principal is %+v", p)
		}
		w.Header().Set("WWW-Authenticate", "Basic")
		w.Header().Set(problem.ReasonHeader, problem.AuthInvalid.Code())
		w.WriteHeader(http.StatusUnauthorized)
	})
	d := openDoor(t, nil, func(c *Config) {
		c.Locals = []Local{
			{Listener: "public", Service: "oauth", Method: "POST", Path: "/oauth/token", Allow: zone.AllowAnonymous, Raw: true, Handler: handler},
			{Listener: "public", Service: "identity", Method: "POST", Path: "/auth/login", Allow: zone.AllowAnonymous, Handler: handler},
		}
	})
	h := d.client(false)
	fields := []string{"Authorization: Basic YTpi", "DPoP: proof", "Sec-Fetch-Site: cross-site", "Cookie: __Host-session=sps_alice; a=b", "X-Api-Key: spk_x"}
	got := d.do(h, "POST", "/oauth/token", "a=b", fields...)
	if got.status != http.StatusUnauthorized || got.header.Get("WWW-Authenticate") != "Basic" {
		t.Errorf("%d %v", got.status, got.header)
	}
	if seen.Get("Authorization") != "Basic YTpi" || seen.Get("DPoP") != "proof" || seen.Get("X-Api-Key") != "" || seen.Get("Cookie") != "a=b" {
		t.Errorf("the raw handler saw %v", seen)
	}
	seen = nil
	if got := d.do(h, "POST", "/auth/login", "a=b", fields...); got.status != http.StatusUnauthorized || seen != nil {
		t.Errorf("another local route: %d, its handler saw %v", got.status, seen)
	}
	if d.do(h, "POST", "/auth/login", "a=b", "DPoP: proof"); seen == nil || seen.Get("DPoP") != "" {
		t.Errorf("another local route saw %v", seen)
	}
}

// TestLackingFactor: a login that lacks a factor which the zone wants by now reaches
// local routes alone, which are the way to it; where strangers are taken it is one.
func TestLackingFactor(t *testing.T) {
	seen := make(chan *policy.Principal, 1)
	d := openDoor(t, []*zone.Route{
		{Method: "GET", Path: "/orders", Allow: zone.AllowUser},
		{Method: "GET", Path: "/shop", Allow: zone.AllowUser | zone.AllowAnonymous},
		{Method: "GET", Path: "/desk", Allow: zone.AllowUser | zone.AllowAnonymous, Roles: []string{"support"}},
	}, func(c *Config) {
		c.Locals = []Local{{Listener: "public", Service: "identity", Method: "GET", Path: "/auth/step-up", Allow: zone.AllowAnonymous | zone.AllowUser,
			Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- policy.PrincipalFrom(r.Context()) })}}
	})
	now := time.Now()
	d.auth.set("sps_one", policy.Principal{Kind: policy.User, Subject: "ada", Roles: []string{"support"}, Level: 1, AuthTime: now, StepUp: true})
	d.auth.set("sps_two", policy.Principal{Kind: policy.User, Subject: "ada", Roles: []string{"support"}, Level: 2, AuthTime: now})
	h := d.client(false)
	for _, c := range []struct {
		path, token string
		want        problem.Reason
		principal   string // in the record
	}{
		{"/orders", "sps_two", problem.OK, "ada"},
		{"/orders", "sps_one", problem.AuthStepUp, "ada"},
		{"/shop", "sps_two", problem.OK, "ada"},
		{"/shop", "sps_one", problem.OK, policy.AnonymousSubject},
		{"/desk", "sps_two", problem.OK, "ada"},
		{"/desk", "sps_one", problem.AuthMissing, policy.AnonymousSubject},
	} {
		got := d.do(h, "GET", c.path, "", "Authorization: Bearer "+c.token)
		if last := d.last(); got.status != c.want.Status() || last.Reason != c.want.Code() || last.Principal != c.principal {
			t.Errorf("%s with %s: %d, record %s of %q; want %s of %q", c.path, c.token, got.status, last.Reason, last.Principal, c.want.Code(), c.principal)
		}
		if challenge := got.header.Get("WWW-Authenticate"); c.want == problem.AuthStepUp && !strings.Contains(challenge, `acr_values="2"`) {
			t.Errorf("challenge %q, want two factors", challenge)
		}
	}
	if got := d.do(h, "GET", "/auth/step-up", "", "Authorization: Bearer sps_one"); got.status != 200 {
		t.Fatalf("the way to the second factor: %d", got.status)
	}
	if p := <-seen; p.Subject != "ada" || !p.StepUp {
		t.Errorf("the handler saw %+v", p)
	}
}
