package broker

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/broker/brokertest"
	"sallyport.dev/internal/problem"
)

// TestCallback: an answer counts for the flow that it is of, and for the provider.
func TestCallback(t *testing.T) {
	c := &clock{}
	i := brokertest.NewIssuer(t, c.now, false)
	provider, second := oidcOf(i), oidcOf(i)
	second.Name = "other"
	w := newWorld(t, c, provider, second)
	for _, k := range []struct {
		name   string
		change func(r *http.Request, s *State) *http.Request
		want   problem.Reason
	}{
		{"good", func(r *http.Request, _ *State) *http.Request { return r }, problem.OK},
		{"another state", func(r *http.Request, _ *State) *http.Request { return withQuery(r, "state", "another") }, problem.ProviderInvalid},
		{"no state", func(r *http.Request, s *State) *http.Request { s.Handle = ""; return withQuery(r, "state", "") }, problem.ProviderInvalid},
		{"another iss", func(r *http.Request, _ *State) *http.Request { return withQuery(r, "iss", "https://evil.example") }, problem.ProviderInvalid},
		{"empty iss", func(r *http.Request, _ *State) *http.Request { return withQuery(r, "iss", "") }, problem.ProviderInvalid},
		{"no iss, though announced", func(r *http.Request, _ *State) *http.Request {
			q := r.URL.Query()
			q.Del("iss")
			r.URL.RawQuery = q.Encode()
			return r
		}, problem.ProviderInvalid},
		{"two states", func(r *http.Request, _ *State) *http.Request { r.URL.RawQuery += "&state=another"; return r }, problem.ProviderInvalid},
		{"two codes", func(r *http.Request, _ *State) *http.Request { r.URL.RawQuery += "&code=another"; return r }, problem.ProviderInvalid},
		{"another code", func(r *http.Request, _ *State) *http.Request { return withQuery(r, "code", "another") }, problem.ProviderInvalid},
		{"no code", func(r *http.Request, _ *State) *http.Request { return withQuery(r, "code", "") }, problem.ProviderInvalid},
		{"code and error", func(r *http.Request, _ *State) *http.Request { return withQuery(r, "error", "access_denied") }, problem.ProviderInvalid},
		{"long code", func(r *http.Request, _ *State) *http.Request { return withQuery(r, "code", strings.Repeat("a", 9000)) }, problem.ProviderInvalid},
		{"long query", func(r *http.Request, _ *State) *http.Request {
			r.URL.RawQuery += strings.Repeat("&a=b", 9000)
			return r
		}, problem.ProviderInvalid},
		{"bad query", func(r *http.Request, _ *State) *http.Request { r.URL.RawQuery += "&a=%zz"; return r }, problem.ProviderInvalid},
		{"as JWT", func(r *http.Request, _ *State) *http.Request { return withQuery(r, "response", "a.b.c") }, problem.ProviderInvalid},
		{"by POST", func(r *http.Request, _ *State) *http.Request { r.Method = http.MethodPost; return r }, problem.ProviderInvalid},
		{"another verifier", func(r *http.Request, s *State) *http.Request { s.Verifier = "another"; return r }, problem.ProviderInvalid},
		{"nonce of another flow", func(r *http.Request, s *State) *http.Request { s.Nonce = "another"; return r }, problem.ProviderInvalid},
		{"flow with another provider", func(r *http.Request, s *State) *http.Request { s.Provider = "other"; return r }, problem.ProviderInvalid},
		{"flow with another issuer", func(r *http.Request, s *State) *http.Request { s.Issuer = "https://evil.example"; return r }, problem.ProviderInvalid},
		{"flow of another kind", func(r *http.Request, s *State) *http.Request { s.Kind = KindGitHub; return r }, problem.ProviderInvalid},
		{"no flow", func(r *http.Request, s *State) *http.Request { *s = State{}; return r }, problem.ProviderInvalid},
		{"cancelled", func(r *http.Request, s *State) *http.Request {
			r.URL.RawQuery = url.Values{"error": {"access_denied"}, "state": {s.Handle}, "iss": {i.URL}}.Encode()
			return r
		}, problem.ProviderDenied},
		{"cancelled by another", func(r *http.Request, _ *State) *http.Request {
			r.URL.RawQuery = url.Values{"error": {"access_denied"}, "state": {"guess"}, "iss": {i.URL}}.Encode()
			return r
		}, problem.ProviderInvalid},
		{"provider in trouble", func(r *http.Request, s *State) *http.Request {
			r.URL.RawQuery = url.Values{"error": {"server_error"}, "state": {s.Handle}, "iss": {i.URL}}.Encode()
			return r
		}, problem.ProviderUnavailable},
	} {
		t.Run(k.name, func(t *testing.T) {
			redirect, s := w.begin("sso", Ask{})
			r := brokertest.Browser(t, redirect, i.CA)
			if r.URL.Path != "/auth/providers/sso/callback" || HandleOf(r) != s.Handle {
				t.Fatalf("came back to %s with the handle %q, want %q", r.URL, HandleOf(r), s.Handle)
			}
			r = k.change(r, &s)
			_, err := w.Finish(t.Context(), "sso", s, r)
			check(t, err, k.want)
		})
	}
	t.Run("code twice", func(t *testing.T) {
		redirect, s := w.begin("sso", Ask{})
		r := brokertest.Browser(t, redirect, i.CA)
		_, err := w.Finish(t.Context(), "sso", s, r)
		check(t, err, problem.OK)
		_, err = w.Finish(t.Context(), "sso", s, r)
		check(t, err, problem.ProviderInvalid)
	})
	t.Run("unknown", func(t *testing.T) {
		_, _, err := w.Begin(t.Context(), "nobody", Ask{})
		check(t, err, problem.ProviderUnknown)
		_, err = w.Finish(t.Context(), "nobody", State{}, nil)
		check(t, err, problem.ProviderUnknown)
		_, err = w.Metadata("sso")
		check(t, err, problem.ProviderUnknown)
	})
}

// TestMixUp: the answer of an honest provider, brought to the callback of one that
// is not, tells that one nothing (RFC 9700 section 4.4).
func TestMixUp(t *testing.T) {
	c := &clock{}
	honest, evil := brokertest.NewIssuer(t, c.now, false), brokertest.NewIssuer(t, c.now, false)
	a, b := oidcOf(honest), oidcOf(evil)
	a.Name, b.Name = "honest", "evil"
	w := newWorld(t, c, a, b)
	// The user begins with evil, which sends them on to honest under its own flow.
	redirect, s := w.begin("evil", Ask{})
	u, err := url.Parse(redirect)
	if err != nil {
		t.Fatal(err)
	}
	sent := brokertest.Browser(t, honest.URL+"/authorize?"+u.RawQuery, honest.CA)
	if sent.URL.Path != "/auth/providers/evil/callback" {
		t.Fatalf("path %s", sent.URL.Path)
	}
	_, err = w.Finish(t.Context(), "evil", s, sent)
	check(t, err, problem.ProviderInvalid)
	if n := evil.Requests("/token"); n != 0 {
		t.Errorf("evil was told a code of honest %d times", n)
	}
	_, err = w.Finish(t.Context(), "honest", s, sent)
	check(t, err, problem.ProviderInvalid)
	if n := honest.Requests("/token"); n != 0 {
		t.Errorf("honest was asked %d times", n)
	}
	got, err := w.login("honest", honest.CA) // positive control
	if err != nil || got.Issuer != honest.URL {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestFresh(t *testing.T) {
	c := &clock{}
	i := brokertest.NewIssuer(t, c.now, false)
	w := newWorld(t, c, oidcOf(i))
	for _, k := range []struct {
		name  string
		at    any
		fresh bool
		want  problem.Reason
	}{
		{"just now", start.Unix(), true, problem.OK},
		{"within the skew", start.Add(-time.Minute).Unix(), true, problem.OK},
		{"before", start.Add(-61 * time.Second).Unix(), true, problem.ProviderInvalid},
		{"not told", nil, true, problem.ProviderInvalid},
		{"no time", "now", true, problem.ProviderInvalid},
		{"before, and not asked for", start.Add(-time.Hour).Unix(), false, problem.OK},
		{"not told, and not asked for", nil, false, problem.OK},
	} {
		i.Set(brokertest.Fault{Claims: func(c map[string]any) { c["auth_time"] = k.at }})
		redirect, s := w.begin("sso", Ask{Fresh: k.fresh})
		_, err := w.Finish(t.Context(), "sso", s, brokertest.Browser(t, redirect, i.CA))
		t.Run(k.name, func(t *testing.T) { check(t, err, k.want) })
	}
}
