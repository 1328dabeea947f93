package oauth

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/luikyv/go-oidc/pkg/goidc"

	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
	"sallyport.dev/zone"
)

// identify reads which client a request names and by what it would show that, of
// which there is one at most (RFC 6749 section 2.3). That it holds the library
// says.
func (c *call) identify(r *http.Request) error {
	ways := 0
	authorization := r.Header.Values("Authorization")
	if len(authorization) > 1 {
		return invalid("more than one Authorization header")
	}
	if len(authorization) == 1 {
		id, secret, err := parseBasic(authorization[0])
		if err != nil {
			return &fault{code: "invalid_client", text: "the Authorization header is malformed", status: http.StatusUnauthorized}
		}
		if named := c.form.Get("client_id"); named != "" && named != id {
			return invalid("two clients are named")
		}
		c.claimed, c.method = id, goidc.AuthnMethodSecretBasic
		r.SetBasicAuth(id, secret)
		ways++
	} else {
		c.claimed = c.form.Get("client_id")
	}
	if c.form.Has("client_secret") {
		c.method = goidc.AuthnMethodSecretPost
		ways++
	}
	if c.form.Has("client_assertion") || c.form.Has("client_assertion_type") {
		ways++
		if err := c.readAssertion(); err != nil {
			return err
		}
	}
	if ways > 1 {
		return invalid("the client shows who it is in more than one way")
	}
	return nil
}

// parseBasic reads credentials that were form-encoded before they were joined
// (RFC 6749 section 2.3.1).
func parseBasic(header string) (id, secret string, err error) {
	scheme, rest, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Basic") || len(rest) > 2048 {
		return "", "", errUnknown
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(rest)
	if err != nil {
		return "", "", errUnknown
	}
	id, secret, ok := strings.Cut(string(raw), ":")
	if !ok {
		return "", "", errUnknown
	}
	if id, err = url.QueryUnescape(id); err != nil || id == "" || len(id) > longest["client_id"] || strings.ContainsFunc(id, control) || strings.Contains(id, ":") {
		return "", "", errUnknown
	}
	if secret, err = url.QueryUnescape(secret); err != nil || strings.ContainsFunc(secret, control) {
		return "", "", errUnknown
	}
	return id, secret, nil
}

// lookUp finds the client that the request names. One that is unknown is left to
// the library.
func (p *Provider) lookUp(ctx context.Context, c *call) error {
	if c.claimed == "" {
		return nil
	}
	found, err := p.client(ctx, c.st, c.claimed)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil
	case err != nil:
		return err
	}
	c.client = found
	return nil
}

// failures of one client from one address, before it is not listened to for a while.
var (
	failures = zone.Rate{Count: 20, Window: 10 * time.Minute}
	pause    = 10 * time.Minute
)

func (c *call) source(r *http.Request) string {
	return c.claimed + " " + obs.RequestFrom(r.Context()).Client.String()
}

// paused says whether secrets of this client are not looked at: too many were wrong.
func (p *Provider) paused(r *http.Request, c *call) error {
	if c.method == "" {
		return nil // no secret: nothing to guess
	}
	_, yes, err := p.Values.Get(r.Context(), "oauth/paused/"+b64(hashOf(c.source(r))))
	if err != nil {
		return err
	}
	if yes {
		return &fault{code: "temporarily_unavailable", text: "too many wrong secrets; try again later", status: http.StatusTooManyRequests}
	}
	return nil
}

// wrong counts a client that could not show who it is.
func (p *Provider) wrong(r *http.Request, c *call) {
	p.Count(EventClient)
	if c.method == "" {
		return
	}
	err := p.Throttle.Take(r.Context(), "oauth client", c.source(r), failures)
	if problem.ReasonOf(err) == problem.LimitRate {
		_ = p.Values.Set(r.Context(), "oauth/paused/"+b64(hashOf(c.source(r))), nil, pause) // the bound itself still counts
	}
}

// forLibrary is the client as the library knows it in this call.
func (c *call) forLibrary() *goidc.Client {
	known := c.client
	out := &goidc.Client{ID: known.ID, Secret: "kept elsewhere"}
	out.TokenAuthnMethod = c.authMethod()
	out.ApplicationType = goidc.ApplicationTypeWeb
	out.ScopeIDs = strings.Join(known.scopes(), " ")
	out.RedirectURIs = append(out.RedirectURIs, known.RedirectURIs...)
	if c.redirect != "" {
		out.RedirectURIs = append(out.RedirectURIs, c.redirect)
	}
	out.TLSSubjectDistinguishedName = known.Certificate
	out.PARIsRequired = known.PAR
	for _, g := range []struct {
		name string
		kind goidc.GrantType
	}{
		{"authorization_code", goidc.GrantAuthorizationCode}, {"refresh_token", goidc.GrantRefreshToken}, {"client_credentials", goidc.GrantClientCredentials},
		{"device_code", goidc.GrantDeviceCode}, {"token_exchange", goidc.GrantTokenExchange},
	} {
		if known.Allows(g.name) {
			out.GrantTypes = append(out.GrantTypes, g.kind)
		}
	}
	out.ResponseTypes = []goidc.ResponseType{goidc.ResponseTypeCode}
	return out
}

// authMethod is the one way in which the client may show who it is in this call;
// empty: none, and it is refused.
func (c *call) authMethod() goidc.AuthnMethod {
	known := c.client
	switch {
	case known.public():
		if c.method != "" || c.assertion.id != "" || c.endpoint == endpointIntrospect {
			return ""
		}
		return goidc.AuthnMethodNone
	case known.keys != nil:
		if !c.assertion.held {
			return ""
		}
		return goidc.AuthnMethodSecretPost // see shown
	case known.Certificate != "":
		return goidc.AuthnMethodTLS
	case c.method == "":
		return goidc.AuthnMethodSecretBasic
	}
	return c.method
}
