package broker

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"sallyport.dev/internal/broker/brokertest"
	"sallyport.dev/internal/outward"
	"sallyport.dev/internal/problem"
)

// TestDiscovery: a provider that answers badly is unavailable, and is not asked at
// addresses that are not its own to name.
func TestDiscovery(t *testing.T) {
	c := &clock{}
	i := brokertest.NewIssuer(t, c.now, false)
	set := func(name string, value any) brokertest.Fault {
		return brokertest.Fault{Discovery: func(d map[string]any) { d[name] = value }}
	}
	serve := func(path string, h http.HandlerFunc) brokertest.Fault {
		return brokertest.Fault{Serve: map[string]http.HandlerFunc{path: h}}
	}
	long := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"x":"` + strings.Repeat("a", outward.MaxBody) + `"}`))
	}
	away := func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, i.URL+"/jwks", http.StatusFound) }
	text := func(s string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(s)) }
	}
	const config = "/.well-known/openid-configuration"
	for _, k := range []struct {
		name  string
		fault brokertest.Fault
		want  problem.Reason
	}{
		{"good", brokertest.Fault{}, problem.OK},
		{"another issuer", set("issuer", "https://evil.example"), problem.ProviderUnavailable},
		{"template of many tenants", set("issuer", "https://login.example/{tenantid}/v2.0"), problem.ProviderUnavailable},
		{"token endpoint over http", set("token_endpoint", "http://127.0.0.1/token"), problem.ProviderUnavailable},
		{"no token endpoint", set("token_endpoint", nil), problem.ProviderUnavailable},
		{"script as authorization endpoint", set("authorization_endpoint", "javascript:alert(1)"), problem.ProviderUnavailable},
		{"userinfo over http", set("userinfo_endpoint", "http://127.0.0.1/u"), problem.ProviderUnavailable},
		{"keys of a file", set("jwks_uri", "file:///etc/passwd"), problem.ProviderUnavailable},
		{"keys inside", set("jwks_uri", "https://10.0.0.1/keys"), problem.ProviderUnavailable},
		{"keys of the cloud", set("jwks_uri", "https://169.254.169.254/keys"), problem.ProviderUnavailable},
		{"token endpoint inside", set("token_endpoint", "https://192.168.1.1/token"), problem.ProviderUnavailable},
		{"secret in the form", set("token_endpoint_auth_methods_supported", []string{"client_secret_post"}), problem.OK},
		{"no secret taken", set("token_endpoint_auth_methods_supported", []string{"private_key_jwt"}), problem.ProviderUnavailable},
		{"document redirects", serve(config, away), problem.ProviderUnavailable},
		{"document is missing", serve(config, http.NotFound), problem.ProviderUnavailable},
		{"document is long", serve(config, long), problem.ProviderUnavailable},
		{"document is no JSON", serve(config, text("<html>")), problem.ProviderUnavailable},
		{"document is null", serve(config, text("null")), problem.ProviderUnavailable},
		{"keys redirect", serve("/jwks", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://evil.example/", http.StatusFound)
		}), problem.ProviderUnavailable},
		{"keys are long", serve("/jwks", long), problem.ProviderUnavailable},
		{"keys are none", serve("/jwks", text("{}")), problem.ProviderUnavailable},
		{"no keys", serve("/jwks", text(`{"keys":[]}`)), problem.ProviderInvalid},
		{"token endpoint redirects", serve("/token", away), problem.ProviderUnavailable},
		{"token endpoint fails", serve("/token", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }), problem.ProviderUnavailable},
		{"token endpoint is long", serve("/token", long), problem.ProviderUnavailable},
		{"token endpoint is no JSON", serve("/token", text("no")), problem.ProviderUnavailable},
		{"wrong secret", serve("/token", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(401)
			_, _ = w.Write([]byte(`{"error":"invalid_client"}`))
		}), problem.ProviderUnavailable},
		{"userinfo fails", brokertest.Fault{User: map[string]any{}, Serve: map[string]http.HandlerFunc{"/userinfo": http.NotFound}}, problem.ProviderUnavailable},
		{"userinfo as JWT", brokertest.Fault{User: map[string]any{}, Serve: map[string]http.HandlerFunc{"/userinfo": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/jwt")
			_, _ = w.Write([]byte(brokertest.Sign(jose.ES256, i.Key, "one", []byte(`{"sub":"248289761001"}`))))
		}}}, problem.ProviderUnavailable},
		{"userinfo of another type of token", brokertest.Fault{User: map[string]any{}, Token: func(t map[string]any) { t["token_type"] = "DPoP" }}, problem.ProviderUnavailable},
	} {
		t.Run(k.name, func(t *testing.T) {
			w := newWorld(t, c, oidcOf(i))
			i.Set(k.fault)
			redirect, s, err := w.Begin(t.Context(), "sso", Ask{})
			if err == nil {
				_, err = w.Finish(t.Context(), "sso", s, brokertest.Browser(t, redirect, i.CA))
			}
			check(t, err, k.want)
			if len(w.log.String()) > 4000 {
				t.Errorf("a line of %d bytes", len(w.log.String()))
			}
		})
	}
}

// TestKeysOfUse: keys that are weak, private, symmetric or for another use sign nothing.
func TestKeysOfUse(t *testing.T) {
	c := &clock{}
	i := brokertest.NewIssuer(t, c.now, false)
	w := func() *world { return newWorld(t, c, oidcOf(i)) }
	change := func(name string, value any) func([]any) []any {
		return func(keys []any) []any {
			data, err := json.Marshal(keys[0])
			var m map[string]any
			if err != nil || json.Unmarshal(data, &m) != nil {
				panic("no key")
			}
			m[name] = value
			return []any{m}
		}
	}
	for _, k := range []struct {
		name string
		keys func([]any) []any
		want problem.Reason
	}{
		{"as it is", nil, problem.OK},
		{"for encryption", change("use", "enc"), problem.ProviderInvalid},
		{"for wrapping", change("key_ops", []string{"wrapKey"}), problem.ProviderInvalid},
		{"of another algorithm", change("alg", "ES384"), problem.ProviderInvalid},
		{"with its private part", change("d", "AAAA"), problem.ProviderInvalid},
		{"with a strange certificate", change("x5c", []string{"AAAA"}), problem.OK},
		{"among strange ones", func(keys []any) []any { return append(keys, map[string]any{"kty": "AKP"}, map[string]any{}) }, problem.OK},
		{"among too many", func(keys []any) []any {
			for range 100 {
				keys = append(keys, map[string]any{})
			}
			return keys
		}, problem.ProviderUnavailable},
	} {
		t.Run(k.name, func(t *testing.T) {
			i.Set(brokertest.Fault{Keys: k.keys})
			_, err := w().login("sso", i.CA)
			check(t, err, k.want)
		})
	}
}

// TestRotation: a new key is found, and who sends unknown kids cannot make the
// issuer be asked more often than each ten seconds.
func TestRotation(t *testing.T) {
	c := &clock{}
	i := brokertest.NewIssuer(t, c.now, false)
	w := newWorld(t, c, oidcOf(i))
	login := func(want problem.Reason, jwks int) {
		t.Helper()
		_, err := w.login("sso", i.CA)
		check(t, err, want)
		if n := i.Requests("/jwks"); n != jwks {
			t.Errorf("keys were asked for %d times, want %d", n, jwks)
		}
	}
	login(problem.OK, 1)
	login(problem.OK, 1)
	i.Set(brokertest.Fault{KeyID: "two"})
	login(problem.ProviderInvalid, 1) // a moment ago
	c.advance(outward.AskTime)
	login(problem.OK, 2)
	unknown := func(p []byte) string { return brokertest.Sign(jose.ES256, i.Key, "three", p) }
	i.Set(brokertest.Fault{KeyID: "two", Sign: unknown})
	login(problem.ProviderInvalid, 2)
	c.advance(outward.AskTime)
	login(problem.ProviderInvalid, 3)
	login(problem.ProviderInvalid, 3)
	i.Set(brokertest.Fault{KeyID: "two"})
	c.advance(keysTime) // a key that was taken back is not used for long
	login(problem.OK, 4)
	if n := i.Requests("/.well-known/openid-configuration"); n != 1 {
		t.Errorf("the discovery document was asked for %d times", n)
	}
	c.advance(discoveryTime)
	login(problem.OK, 5)
	if n := i.Requests("/.well-known/openid-configuration"); n != 2 {
		t.Errorf("the discovery document was asked for %d times, want 2", n)
	}
}

// TestOutage: documents are used for a while when they cannot be had again, and
// no longer.
func TestOutage(t *testing.T) {
	c := &clock{}
	i := brokertest.NewIssuer(t, c.now, false)
	w := newWorld(t, c, oidcOf(i))
	down := brokertest.Fault{Serve: map[string]http.HandlerFunc{"/jwks": http.NotFound, "/.well-known/openid-configuration": http.NotFound}}
	i.Set(down)
	_, _, err := w.Begin(t.Context(), "sso", Ask{})
	check(t, err, problem.ProviderUnavailable)
	i.Set(brokertest.Fault{})
	_, _, err = w.Begin(t.Context(), "sso", Ask{})
	check(t, err, problem.ProviderUnavailable) // asked a moment ago
	c.advance(outward.AskTime)
	_, err = w.login("sso", i.CA)
	check(t, err, problem.OK)
	i.Set(down)
	c.advance(keepTime - time.Second)
	_, err = w.login("sso", i.CA)
	check(t, err, problem.OK)
	c.advance(2 * outward.AskTime)
	_, _, err = w.Begin(t.Context(), "sso", Ask{})
	check(t, err, problem.ProviderUnavailable)
}

func TestSlow(t *testing.T) {
	c := &clock{}
	i := brokertest.NewIssuer(t, c.now, false)
	w := newWorld(t, c, oidcOf(i))
	i.Set(brokertest.Fault{Serve: map[string]http.HandlerFunc{"/.well-known/openid-configuration": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }}})
	cfg := w.cfg
	cfg.Timeout = 20 * time.Millisecond
	_, _, err := w.make(cfg).Begin(t.Context(), "sso", Ask{})
	check(t, err, problem.ProviderUnavailable)
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // the caller gave up: that is no fault of the provider
	_, _, err = w.make(cfg).Begin(ctx, "sso", Ask{})
	if err != context.Canceled {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

// TestNoKeyID: which of several keys is meant is not guessed.
func TestNoKeyID(t *testing.T) {
	c := &clock{}
	i := brokertest.NewIssuer(t, c.now, false)
	bare := func(p []byte) string { return brokertest.Sign(jose.ES256, i.Key, "", p) }
	second := func(keys []any) []any { return append(keys, brokertest.JWK(i.Key.Public(), "two")) }
	for _, k := range []struct {
		name  string
		fault brokertest.Fault
		want  problem.Reason
	}{
		{"one key", brokertest.Fault{Sign: bare}, problem.OK},
		{"two keys", brokertest.Fault{Sign: bare, Keys: second}, problem.ProviderInvalid},
		{"two keys, one named", brokertest.Fault{Keys: second}, problem.OK},
	} {
		i.Set(k.fault)
		_, err := newWorld(t, c, oidcOf(i)).login("sso", i.CA)
		t.Run(k.name, func(t *testing.T) { check(t, err, k.want) })
	}
}
