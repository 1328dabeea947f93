package broker

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"sallyport.dev/internal/broker/brokertest"
	"sallyport.dev/internal/problem"
)

func TestLogin(t *testing.T) {
	c := &clock{}
	for _, plain := range []bool{false, true} {
		i := brokertest.NewIssuer(t, c.now, plain)
		w := newWorld(t, c, oidcOf(i))
		got, err := w.login("sso", i.CA)
		if err != nil {
			t.Fatal(err)
		}
		want := Claims{
			Provider: "sso", Issuer: i.URL, Subject: "248289761001", Email: "jane@shop.example", EmailVerified: true,
			Name: "Jane Doe", AuthTime: start, ACR: "urn:mace:incommon:iap:silver",
		}
		if got != want {
			t.Errorf("plain %t: got %+v, want %+v", plain, got, want)
		}
		if n := i.Requests("/userinfo"); n != 0 {
			t.Errorf("userinfo was asked %d times for what the ID token says", n)
		}
	}
}

func TestRedirect(t *testing.T) {
	c := &clock{}
	i := brokertest.NewIssuer(t, c.now, false)
	w := newWorld(t, c, oidcOf(i))
	redirect, s := w.begin("sso", Ask{Handle: "flow-1_A", Fresh: true})
	u, err := url.Parse(redirect)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	for name, want := range map[string]string{
		"client_id": brokertest.ClientID, "response_type": "code", "state": "flow-1_A", "scope": "openid email", "code_challenge_method": "S256",
		"redirect_uri": base + "/auth/providers/sso/callback", "prompt": "login", "max_age": "0", "nonce": s.Nonce,
	} {
		if got := q.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if len(s.Nonce) < 26 || len(s.Verifier) < 43 || q.Get("code_challenge") == "" || q.Get("code_challenge") == s.Verifier {
		t.Errorf("nonce %q, verifier %q, challenge %q", s.Nonce, s.Verifier, q.Get("code_challenge"))
	}
	if text := fmt.Sprintf("%v %+v %#v %s", s, s, s, s.LogValue()); strings.Contains(text, s.Nonce) || strings.Contains(text, s.Verifier) {
		t.Errorf("a state is printed: %s", text)
	}
	_, other := w.begin("sso", Ask{})
	if other.Handle == s.Handle || other.Nonce == s.Nonce || other.Verifier == s.Verifier {
		t.Error("two flows share a secret")
	}
	kept, err := json.Marshal(s)
	var back State
	if err != nil || json.Unmarshal(kept, &back) != nil || back != s {
		t.Errorf("as JSON and back: %s", kept)
	}
	for _, handle := range []string{strings.Repeat("a", 81), "a b", "a&b", "ä"} {
		if _, _, err := w.Begin(t.Context(), "sso", Ask{Handle: handle}); err == nil {
			t.Errorf("handle %q was taken", handle)
		}
	}
}

func TestAddresses(t *testing.T) {
	c := &clock{}
	i := brokertest.NewIssuer(t, c.now, false)
	w := newWorld(t, c, oidcOf(i))
	for _, k := range []struct {
		name     string
		user     map[string]any
		info     func(map[string]any)
		email    string
		verified bool
		person   string
		want     problem.Reason
	}{
		{"verified", map[string]any{"email": "a@x.example", "email_verified": true, "name": "A"}, nil, "a@x.example", true, "A", problem.OK},
		{"not verified", map[string]any{"email": "a@x.example", "email_verified": false, "name": "A"}, nil, "a@x.example", false, "A", problem.OK},
		{"not told", map[string]any{"email": "a@x.example", "name": "A"}, nil, "a@x.example", false, "A", problem.OK},
		{"as a text", map[string]any{"email": "a@x.example", "email_verified": "true", "name": "A"}, nil, "a@x.example", true, "A", problem.OK},
		{"as a number", map[string]any{"email": "a@x.example", "email_verified": 1, "name": "A"}, nil, "a@x.example", false, "A", problem.OK},
		{"verified of nothing", map[string]any{"email_verified": true, "name": "A"}, func(u map[string]any) { delete(u, "email"); u["email_verified"] = true }, "", false, "A", problem.OK},
		{"of userinfo", map[string]any{}, nil, "info@shop.example", true, "Userinfo", problem.OK},
		{"of userinfo, not verified", map[string]any{"email_verified": true}, func(u map[string]any) { u["email_verified"] = false }, "info@shop.example", false, "Userinfo", problem.OK},
		{"name of userinfo", map[string]any{"email": "a@x.example", "email_verified": false}, nil, "a@x.example", false, "Userinfo", problem.OK},
		{"another's userinfo", map[string]any{}, func(u map[string]any) { u["sub"] = "another" }, "", false, "", problem.ProviderInvalid},
		{"nobody's userinfo", map[string]any{}, func(u map[string]any) { delete(u, "sub") }, "", false, "", problem.ProviderInvalid},
		{"no address", map[string]any{"email": "not an address", "email_verified": true, "name": "A\nB"}, func(u map[string]any) { u["email"] = "@"; u["name"] = strings.Repeat("a", 300) }, "", false, "", problem.OK},
		{"two addresses", map[string]any{"email": "a@x.example,b@x.example", "email_verified": true, "name": "A"}, nil, "", false, "A", problem.OK},
	} {
		t.Run(k.name, func(t *testing.T) {
			i.Set(brokertest.Fault{User: k.user, Userinfo: k.info})
			got, err := w.login("sso", i.CA)
			check(t, err, k.want)
			if got.Email != k.email || got.EmailVerified != k.verified || got.Name != k.person {
				t.Errorf("got %q, %t, %q, want %q, %t, %q", got.Email, got.EmailVerified, got.Name, k.email, k.verified, k.person)
			}
		})
	}
}

func TestPublicClient(t *testing.T) {
	c := &clock{}
	i := brokertest.NewIssuer(t, c.now, false)
	p := oidcOf(i)
	p.ClientSecret = nil
	w := newWorld(t, c, p)
	_, err := w.login("sso", i.CA)
	check(t, err, problem.ProviderUnavailable)
	i.Set(brokertest.Fault{Secretless: true})
	_, err = w.login("sso", i.CA)
	check(t, err, problem.OK)
}

// TestOwnRoots: a provider's TLS must come from its own roots when the map names some.
func TestOwnRoots(t *testing.T) {
	c := &clock{}
	i := brokertest.NewIssuer(t, c.now, false)
	for ca, fine := range map[string]bool{i.CA: true, "": false} {
		p := oidcOf(i)
		p.CA = ca
		w := newWorld(t, c, p)
		if _, _, err := w.Begin(t.Context(), "sso", Ask{}); (err == nil) != fine {
			t.Errorf("roots %q: %v", ca, err)
		}
	}
}
