package broker

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"sallyport.dev/internal/broker/brokertest"
	"sallyport.dev/internal/outward"
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

func TestReload(t *testing.T) {
	c := &clock{}
	i := brokertest.NewIssuer(t, c.now, false)
	w := newWorld(t, c, oidcOf(i))
	_, err := w.login("sso", i.CA)
	check(t, err, problem.OK)
	redirect, s := w.begin("sso", Ask{})
	r := brokertest.Browser(t, redirect, i.CA)
	cfg := w.cfg
	cfg.Before = w.Broker
	titled := oidcOf(i)
	titled.Title = "Single sign-on"
	cfg.Providers = []zone.Provider{titled}
	w.Broker = w.make(cfg)
	_, err = w.Finish(t.Context(), "sso", s, r) // a flow outlives a reload
	check(t, err, problem.OK)
	if a, b := i.Requests("/jwks"), i.Requests("/.well-known/openid-configuration"); a != 1 || b != 1 {
		t.Errorf("after a reload: keys %d, discovery %d, want 1, 1", a, b)
	}
	if got := w.List(); len(got) != 1 || got[0] != (Provider{"sso", KindOIDC, "Single sign-on", true, i.URL}) {
		t.Errorf("list %+v", got)
	}
	other := oidcOf(i)
	other.Algorithms = []string{"ES256"}
	cfg.Providers, cfg.Before = []zone.Provider{other}, w.Broker
	w.Broker = w.make(cfg)
	_, err = w.login("sso", i.CA)
	check(t, err, problem.OK)
	if n := i.Requests("/jwks"); n != 2 {
		t.Errorf("keys of other algorithms were taken over")
	}
}

func TestNew(t *testing.T) {
	c := &clock{}
	i := brokertest.NewIssuer(t, c.now, false)
	idp := brokertest.NewIdP(t, entity, 0, c.now)
	w := newWorld(t, c, oidcOf(i), samlOf(t, idp))
	for _, k := range []struct {
		name   string
		change func(*Config, *zone.Provider)
		fine   bool
	}{
		{"as it is", func(*Config, *zone.Provider) {}, true},
		{"base with a path", func(c *Config, _ *zone.Provider) { c.Base += "/" }, false},
		{"no base", func(c *Config, _ *zone.Provider) { c.Base = "" }, false},
		{"nobody reads secrets", func(c *Config, _ *zone.Provider) { c.Secret = nil }, false},
		{"no secret", func(c *Config, _ *zone.Provider) {
			c.Secret = func(*zone.Secret) (string, error) { return "", fmt.Errorf("it is not there") }
		}, false},
		{"no scope openid", func(_ *Config, p *zone.Provider) { p.Scopes = []string{"email"} }, false},
		{"no algorithms", func(_ *Config, p *zone.Provider) { p.Algorithms = nil }, false},
		{"no client", func(_ *Config, p *zone.Provider) { p.ClientID = "" }, false},
		{"issuer over http", func(_ *Config, p *zone.Provider) { p.Issuer = "http://sso.example" }, false},
		{"no roots", func(_ *Config, p *zone.Provider) { p.CA = "/nowhere.pem" }, false},
		{"github without a secret", func(_ *Config, p *zone.Provider) { p.Kind, p.ClientSecret = KindGitHub, nil }, false},
		{"saml", func(_ *Config, p *zone.Provider) { *p = samlOf(t, idp) }, true},
		{"saml without a root key", func(c *Config, p *zone.Provider) { *p, c.Root = samlOf(t, idp), nil }, false},
		{"saml without a database", func(c *Config, p *zone.Provider) { *p, c.DB = samlOf(t, idp), nil }, false},
		{"saml without metadata", func(_ *Config, p *zone.Provider) { p.Kind = KindSAML }, false},
		{"saml with any metadata", func(_ *Config, p *zone.Provider) { p.Kind, p.Metadata = KindSAML, "https://idp.example/" }, false},
		{"bearer", func(_ *Config, p *zone.Provider) { p.Kind = "bearer" }, true},
	} {
		p, cfg := oidcOf(i), w.cfg
		k.change(&cfg, &p)
		cfg.Providers = []zone.Provider{p}
		if _, err := New(t.Context(), cfg); (err == nil) != k.fine {
			t.Errorf("%s: %v", k.name, err)
		}
	}
}

// TestTold: that a provider is down is said seldom, and how often it was not said.
func TestTold(t *testing.T) {
	c := &clock{}
	i := brokertest.NewIssuer(t, c.now, false)
	w := newWorld(t, c, oidcOf(i))
	i.Set(brokertest.Fault{Serve: map[string]http.HandlerFunc{"/.well-known/openid-configuration": http.NotFound}})
	for range 5 {
		_, _, err := w.Begin(t.Context(), "sso", Ask{})
		check(t, err, problem.ProviderUnavailable)
	}
	if n := strings.Count(w.log.String(), "provider.unavailable"); n != 1 {
		t.Errorf("%d lines, want 1: %s", n, w.log)
	}
	c.advance(outward.AskTime)
	_, _, err := w.Begin(t.Context(), "sso", Ask{})
	check(t, err, problem.ProviderUnavailable)
	if text := w.log.String(); strings.Count(text, "provider.unavailable") != 2 || !strings.Contains(text, `"untold":4`) {
		t.Errorf("lines: %s", text)
	}
	if n := i.Requests("/.well-known/openid-configuration"); n != 2 {
		t.Errorf("it was asked %d times, want 2", n)
	}
}

func TestOrigin(t *testing.T) {
	c := &clock{}
	i := brokertest.NewIssuer(t, c.now, false)
	hub := zone.Provider{Name: "github", Kind: KindGitHub, ClientID: brokertest.ClientID, ClientSecret: &zone.Secret{Env: "SECRET"}}
	p := brokertest.NewIdP(t, entity, 0, c.now)
	w := newWorld(t, c, oidcOf(i), hub, samlOf(t, p))
	i.Set(brokertest.Fault{Discovery: func(d map[string]any) { d["authorization_endpoint"] = "https://login.example/authorize" }})
	origins := func() (list []string) {
		for _, p := range w.List() {
			list = append(list, p.Origin)
		}
		return list
	}
	if got, want := origins(), []string{i.URL, "https://github.com", "https://idp.example"}; !slices.Equal(got, want) {
		t.Errorf("before it was asked: got %q, want %q", got, want)
	}
	w.begin("sso", Ask{})
	if got := origins()[0]; got != "https://login.example" {
		t.Errorf("after it was asked: got %q", got)
	}
	if n := i.Requests("/.well-known/openid-configuration"); n != 1 {
		t.Errorf("it was asked %d times, want 1", n)
	}
}

func TestOriginOf(t *testing.T) {
	for address, want := range map[string]string{
		"https://sso.example/authorize?a=b": "https://sso.example", "https://[::1]:8443/": "https://[::1]:8443", "http://127.0.0.1:1": "http://127.0.0.1:1",
		"https://sso.example;script-src": "", "https://a,b/": "", "https://*/": "", "https://a'b/": "", "": "", "x": "", "https:///a": "",
	} {
		if got := originOf(address); got != want {
			t.Errorf("%q: got %q, want %q", address, got, want)
		}
	}
}
