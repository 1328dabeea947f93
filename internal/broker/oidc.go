package broker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"sallyport.dev/internal/outward"
	"sallyport.dev/zone"
)

// oidcProvider is an OpenID provider: code flow with PKCE, and no other.
type oidcProvider struct {
	zone.Provider
	secret    string // empty: a public client
	redirect  string
	client    *outward.Client
	clock     func() time.Time
	discovery *outward.Document[*discovered]
	keys      *outward.Keys
}

func newOIDC(p zone.Provider, secret string, cfg *Config) (protocol, error) {
	switch {
	case p.Issuer == "" || p.ClientID == "":
		return nil, errors.New("no issuer or client_id")
	case len(p.Algorithms) == 0:
		return nil, errors.New("no algorithms")
	case !slices.Contains(p.Scopes, oidc.ScopeOpenID):
		return nil, errors.New("scopes are without openid")
	}
	client, err := outward.NewClient(p.Issuer, cfg.outward(p))
	if err != nil {
		return nil, fmt.Errorf("issuer: %w", err)
	}
	o := &oidcProvider{
		Provider: p, secret: secret, redirect: callback(cfg.Base, p.Name, "callback"), client: client, clock: cfg.Clock,
	}
	o.discovery = &outward.Document[*discovered]{Fetch: o.discover, Clock: cfg.Clock, Refresh: discoveryTime, Keep: keepTime, Timeout: max(lookTime, cfg.Timeout)}
	o.keys = outward.NewKeys(outward.KeysConfig{
		Algorithms: p.Algorithms, Fetch: o.fetchKeys, Clock: cfg.Clock, Log: cfg.Log.With(slog.String("provider", p.Name)),
		Refresh: keysTime, Keep: keepTime, Timeout: max(lookTime, cfg.Timeout),
	})
	return o, nil
}

func (o *oidcProvider) takeOver(old protocol) {
	if before, ok := old.(*oidcProvider); ok {
		o.discovery.TakeOver(before.discovery)
		o.keys.TakeOver(before.keys.Document)
	}
}

func (o *oidcProvider) issuer(context.Context) (string, error) { return o.Issuer, nil }

func (o *oidcProvider) place() string {
	if d, has := o.discovery.Peek(); has {
		return d.authorization
	}
	return o.Issuer
}

// discovered is what a discovery document says (OpenID Connect Discovery 1.0
// section 3, RFC 8414, RFC 9207 section 3).
type discovered struct {
	authorization, token, userinfo, jwks string
	issuerInAnswer                       bool
	style                                oauth2.AuthStyle
}

// discover fetches the discovery document.
func (o *oidcProvider) discover(ctx context.Context) (*discovered, error) {
	c, place, err := o.client.Discover(ctx, o.Issuer)
	if err != nil {
		return nil, err
	}
	d := &discovered{issuerInAnswer: c["authorization_response_iss_parameter_supported"] == true}
	for _, endpoint := range []struct {
		name string
		into *string
		must bool
	}{
		{"authorization_endpoint", &d.authorization, true}, {"token_endpoint", &d.token, true},
		{"jwks_uri", &d.jwks, true}, {"userinfo_endpoint", &d.userinfo, false},
	} {
		if !endpoint.must && !c.Has(endpoint.name) {
			continue
		}
		if *endpoint.into, err = o.client.Endpoint(c, place, endpoint.name); err != nil {
			return nil, err
		}
	}
	if d.style, err = styleOf(c.Texts("token_endpoint_auth_methods_supported"), o.secret != ""); err != nil {
		return nil, fmt.Errorf("%s: %w", place, err)
	}
	return d, nil
}

func (o *oidcProvider) fetchKeys(ctx context.Context) ([]byte, error) {
	d, err := o.discovery.Get(ctx)
	if err != nil {
		return nil, err
	}
	data, _, err := o.client.Get(ctx, d.jwks, "Accept", "application/jwk-set+json, application/json")
	return data, err
}

// styleOf says how the zone shows its secret. client_secret_basic is what a
// provider takes that does not say what it takes.
func styleOf(methods []string, secret bool) (oauth2.AuthStyle, error) {
	switch {
	case !secret: // client_id in the form: RFC 6749 section 3.2.1
		return oauth2.AuthStyleInParams, nil
	case len(methods) == 0 || slices.Contains(methods, "client_secret_basic"):
		return oauth2.AuthStyleInHeader, nil
	case slices.Contains(methods, "client_secret_post"):
		return oauth2.AuthStyleInParams, nil
	default:
		return 0, fmt.Errorf("the token endpoint takes no client_secret, but %v", methods[:min(len(methods), 8)])
	}
}

func (o *oidcProvider) config(d *discovered) *oauth2.Config {
	return &oauth2.Config{
		ClientID: o.ClientID, ClientSecret: o.secret, RedirectURL: o.redirect, Scopes: o.Scopes,
		Endpoint: oauth2.Endpoint{AuthURL: d.authorization, TokenURL: d.token, AuthStyle: d.style},
	}
}

func (o *oidcProvider) begin(ctx context.Context, s *State) (string, error) {
	d, err := o.discovery.Get(ctx)
	if err != nil {
		return "", err
	}
	s.Nonce, s.Verifier = rand.Text(), oauth2.GenerateVerifier()
	options := []oauth2.AuthCodeOption{oidc.Nonce(s.Nonce), oauth2.S256ChallengeOption(s.Verifier)}
	if s.Fresh { // max_age makes auth_time required (OpenID Connect Core section 3.1.2.1)
		options = append(options, oauth2.SetAuthURLParam("prompt", "login"), oauth2.SetAuthURLParam("max_age", "0"))
	}
	return o.config(d).AuthCodeURL(s.Handle, options...), nil
}

func (o *oidcProvider) finish(ctx context.Context, s *State, r *http.Request) (Claims, error) {
	a, err := parseAnswer(r)
	if err != nil {
		return Claims{}, err
	}
	if err := a.of(s); err != nil {
		return Claims{}, err
	}
	d, err := o.discovery.Get(ctx)
	if err != nil {
		return Claims{}, err
	}
	// Also of an error: it could be of another issuer (RFC 9207 section 2.4).
	if a.hasIssuer && a.issuer != o.Issuer || !a.hasIssuer && d.issuerInAnswer {
		return Claims{}, invalid("iss of the answer is %q, want %q", outward.Clip(a.issuer), o.Issuer)
	}
	if err := a.refusal(); err != nil {
		return Claims{}, err
	}
	token, err := exchange(ctx, o.client, o.config(d), a.code, s.Verifier)
	if err != nil {
		return Claims{}, err
	}
	raw, _ := token.Extra("id_token").(string)
	id, err := o.verify(ctx, raw, token.AccessToken, s)
	if err != nil {
		return Claims{}, err
	}
	return o.claims(ctx, d, id, token)
}

// exchange sends the code to the provider that it is of.
func exchange(ctx context.Context, e *outward.Client, config *oauth2.Config, code, verifier string) (*oauth2.Token, error) {
	token, err := config.Exchange(oidc.ClientContext(ctx, e.HTTP()), code, oauth2.VerifierOption(verifier))
	refused := (*oauth2.RetrieveError)(nil)
	switch {
	case errors.As(err, &refused) && (refused.ErrorCode == "invalid_grant" || refused.ErrorCode == "bad_verification_code"): // GitHub's word for it
		return nil, invalid("the provider does not know the code: %q", outward.Clip(refused.ErrorDescription))
	case errors.As(err, &refused):
		status := 0
		if refused.Response != nil {
			status = refused.Response.StatusCode
		}
		return nil, fmt.Errorf("the token endpoint answered %d, %q: %q", status, outward.Clip(refused.ErrorCode), outward.Clip(refused.ErrorDescription))
	case err != nil:
		return nil, fmt.Errorf("the token endpoint: %s", clipLong(err.Error()))
	}
	return token, nil
}

// clipLong bounds an error of a library, which may hold what was answered.
func clipLong(s string) string {
	const most = 400
	return s[:min(len(s), most)]
}

// claims takes who it is from the ID token, and what it does not say of address
// and name from userinfo.
func (o *oidcProvider) claims(ctx context.Context, d *discovered, id outward.Object, token *oauth2.Token) (Claims, error) {
	c := Claims{Subject: id.Text("sub"), ACR: id.Text("acr")}
	c.AuthTime, _ = id.Moment("auth_time")
	info := id
	if (id.Text("email") == "" || id.Text("name") == "") && d.userinfo != "" {
		var err error
		if info, err = o.userinfo(ctx, d, c.Subject, token); err != nil {
			return Claims{}, err
		}
	}
	// An address and whether it is verified are of one document.
	for _, of := range []outward.Object{id, info} {
		if c.Email == "" {
			c.setEmail(of.Text("email"), truth(of, "email_verified"))
		}
		if c.Name == "" {
			c.setName(of.Text("name"))
		}
	}
	return c, nil
}

// truth is a boolean, or its name: there are providers that write "true".
func truth(c outward.Object, name string) bool { return c[name] == true || c[name] == "true" }

// userinfo asks who the access token is of. OpenID Connect Core section 5.3.2: the
// sub must be that of the ID token.
func (o *oidcProvider) userinfo(ctx context.Context, d *discovered, subject string, token *oauth2.Token) (outward.Object, error) {
	if !strings.EqualFold(token.Type(), "Bearer") {
		return nil, fmt.Errorf("the access token is of the type %q", outward.Clip(token.Type()))
	}
	data, media, err := o.client.Get(ctx, d.userinfo, "Accept", "application/json", "Authorization", "Bearer "+token.AccessToken)
	if err != nil {
		return nil, err
	}
	if media != "application/json" {
		return nil, fmt.Errorf("userinfo is of the type %q, want application/json", outward.Clip(media))
	}
	c, err := outward.ParseObject(data)
	if err != nil {
		return nil, fmt.Errorf("userinfo: %w", err)
	}
	if c.Text("sub") != subject {
		return nil, invalid("userinfo is of %q, the ID token of %q", outward.Clip(c.Text("sub")), subject)
	}
	return c, nil
}
