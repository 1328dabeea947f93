package oauth

import (
	"encoding/json"
	"net/http"

	"sallyport.dev/internal/dpop"
	"sallyport.dev/internal/page"
	"sallyport.dev/internal/problem"
)

// metadata is the discovery document (OpenID Connect Discovery 1.0, RFC 8414).
func (p *Provider) metadata(st *state) ([]byte, error) {
	at := func(path string) string { return p.Issuer + path }
	methods := []string{"client_secret_basic", "client_secret_post", "private_key_jwt", "none"}
	confidential := []string{"client_secret_basic", "client_secret_post", "private_key_jwt"}
	if p.MTLSBase != "" {
		methods = append(methods, "tls_client_auth")
		confidential = append(confidential, "tls_client_auth")
	}
	signing := assertionNames()
	doc := map[string]any{
		"issuer":                                p.Issuer,
		"authorization_endpoint":                at("/oauth/authorize"),
		"token_endpoint":                        at("/oauth/token"),
		"userinfo_endpoint":                     at("/oauth/userinfo"),
		"jwks_uri":                              at("/.well-known/jwks.json"),
		"introspection_endpoint":                at("/oauth/introspect"),
		"revocation_endpoint":                   at("/oauth/revoke"),
		"pushed_authorization_request_endpoint": at("/oauth/par"),
		"device_authorization_endpoint":         at("/oauth/device_authorization"),
		"end_session_endpoint":                  at("/oauth/logout"),
		"scopes_supported":                      st.scopes,
		"response_types_supported":              []string{"code"},
		"response_modes_supported":              []string{"query"},
		"grant_types_supported": []string{
			"authorization_code", "refresh_token", "client_credentials",
			"urn:ietf:params:oauth:grant-type:device_code", "urn:ietf:params:oauth:grant-type:token-exchange",
		},
		"subject_types_supported":                                  []string{"public"},
		"id_token_signing_alg_values_supported":                    []string{"ES256"},
		"token_endpoint_auth_methods_supported":                    methods,
		"token_endpoint_auth_signing_alg_values_supported":         signing,
		"introspection_endpoint_auth_methods_supported":            confidential,
		"introspection_endpoint_auth_signing_alg_values_supported": signing,
		"revocation_endpoint_auth_methods_supported":               methods,
		"revocation_endpoint_auth_signing_alg_values_supported":    signing,
		"code_challenge_methods_supported":                         []string{"S256"},
		"prompt_values_supported":                                  []string{"none", "login", "consent", "select_account"},
		"acr_values_supported":                                     []string{"1", "2"},
		"claims_supported":                                         []string{"sub", "iss", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "sid", "email", "email_verified", "name", "locale"},
		"claims_parameter_supported":                               false,
		"request_parameter_supported":                              false,
		"request_uri_parameter_supported":                          false,
		"authorization_response_iss_parameter_supported":           true,
		"dpop_signing_alg_values_supported":                        dpop.Algorithms(),
		"backchannel_logout_supported":                             true,
		"backchannel_logout_session_supported":                     true,
	}
	if p.MTLSBase != "" {
		doc["tls_client_certificate_bound_access_tokens"] = true
		aliases := map[string]string{}
		for _, name := range []string{"token", "revocation", "introspection", "pushed_authorization_request", "device_authorization"} {
			paths := map[string]string{"revocation": "revoke", "introspection": "introspect", "pushed_authorization_request": "par"}
			path := name
			if short, ok := paths[name]; ok {
				path = short
			}
			aliases[name+"_endpoint"] = p.MTLSBase + prefix + "/" + path
		}
		aliases["userinfo_endpoint"] = p.MTLSBase + "/oauth/userinfo"
		doc["mtls_endpoint_aliases"] = aliases
	}
	return json.Marshal(doc)
}

// discover serves the discovery document.
func (p *Provider) discover(w http.ResponseWriter, r *http.Request) {
	p.crossOrigin(w, r, true)
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "public, max-age=300")
	h.Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(p.state.Load().discovery) // the client may be gone
}

// serveKeys serves the public keys of OpenID tokens, never those of inside tokens.
func (p *Provider) serveKeys(w http.ResponseWriter, r *http.Request) {
	p.crossOrigin(w, r, true)
	set, err := p.jwks(r.Context())
	if err != nil {
		problem.WriteError(w, problem.New(problem.TokenUnavailable, err), "")
		return
	}
	w.Header().Set("Cache-Control", "public, max-age=300")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if err := page.WriteJSON(w, http.StatusOK, set); err != nil {
		problem.WriteError(w, err, "")
	}
}
