package oauth

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/luikyv/go-oidc/pkg/goidc"
	"github.com/luikyv/go-oidc/pkg/provider"

	"sallyport.dev/internal/store"
)

// newLibrary builds the protocol for one state. Each option is one that the
// library's defaults have otherwise, or leave open.
func (p *Provider) newLibrary(st *state) (http.Handler, error) {
	s := &stores{p}
	scopes := make([]goidc.Scope, len(st.scopes))
	for i, scope := range st.scopes {
		scopes[i] = goidc.NewScope(scope)
	}
	options := []provider.Option{
		// The profile without its validation: assertions name the issuer alone as
		// audience, a pushed request is whole, and nothing but `code` is a response.
		provider.WithProfile(goidc.ProfileFAPI2),
		provider.WithPathPrefix(prefix),
		provider.WithTokenEndpoint("/token"), provider.WithAuthorizeEndpoint("/authorize"), provider.WithPAREndpoint("/par"),
		provider.WithTokenIntrospectionEndpoint("/introspect"), provider.WithTokenRevocationEndpoint("/revoke"),

		provider.WithAuthCodeGrant(&requests{s, kindCode}, goidc.ResponseTypeCode),
		provider.WithAuthCodeFunc(func(context.Context) string { return newSecret() }),
		provider.WithAuthCodeLifetime(seconds(p.Life.Code)), provider.WithAuthSessionLifetime(seconds(p.Life.Request)),
		provider.WithAuthnSessionIDFunc(func(context.Context) string { return newSecret() }),
		provider.WithGrantIDFunc(func(context.Context) string { return newID() }),
		provider.WithPKCERequired(goidc.CodeChallengeMethodSHA256),
		provider.WithIssuerResponseParameter(),
		provider.WithPAR(&requests{s, kindCode}), provider.WithPARLifetime(seconds(p.Life.Pushed)),
		provider.WithPARIDFunc(func(context.Context) string { return newSecret() }),

		// Proofs and assertions are the door's: see proof.go and assertion.go. The library
		// is asked to verify none, and could take none.
		provider.WithJTIConsumer(func(context.Context, string) error { return errors.New("no JWT is taken here") }),
		provider.WithSecretBasicAuthn(), provider.WithSecretPostAuthn(), provider.WithNoneAuthn(),
		provider.WithClientSecretVerifier(p.verifySecret),

		provider.WithClientCredentialsGrant(),
		provider.WithRefreshTokenGrant(s), provider.WithRefreshTokenRotation(), provider.WithRefreshTokenLifetime(seconds(p.Life.RefreshIdle)),
		provider.WithRefreshTokenFunc(refreshToken), provider.WithRefreshTokenShouldIssue(shouldRefresh),
		provider.WithDeviceGrant(&requests{s, kindDevice}, p.noPrompt, p.deviceConfirmed),
		provider.WithDeviceCodeFunc(func(context.Context) string { return newSecret() }),
		provider.WithTokenExchangeGrant(p.exchange), provider.WithTokenExchangeClientAuthnRequired(),

		provider.WithTokenIntrospection(func(context.Context, *goidc.Client, goidc.TokenInfo) bool { return true }), // the door says who may
		provider.WithTokenRevocation(func(context.Context, *goidc.Client) bool { return true }), provider.WithTokenRevocationRevokeGrantOnAccessToken(),

		provider.WithOpaqueTokens(s), provider.WithOpaqueTokenFunc(func(context.Context, *goidc.Grant) string { return AccessPrefix + newSecret() }),
		provider.WithTokenOptions(p.tokenOptions),
		provider.WithSigner(p.signer), provider.WithIDTokenSignatureAlgs(goidc.ES256), provider.WithIDTokenLifetime(seconds(p.Life.ID)),
		provider.WithIDTokenClaims(idTokenClaims), provider.WithTokenClaims(accessTokenClaims),
		provider.WithGrantHandler(p.onGrant), provider.WithTokenHandler(p.onToken),
		provider.WithScopes(scopes...), provider.WithACRs("1", "2"), provider.WithDisplayValues("page", "popup", "touch", "wap"),
		provider.WithPolicies(goidc.NewPolicy("user", func(*http.Request, *goidc.AuthnSession, *goidc.Client) bool { return true }, p.authenticate)),

		// The only way to clients of our own; its routes are not let through the door.
		provider.WithDCR(s), provider.WithDCRInitialTokenValidator(func(context.Context, string) error { return errors.New("closed") }),
		provider.WithHTTPClientFunc(func(context.Context) *http.Client { return &http.Client{Transport: noTransport{}} }),
		provider.WithErrorHandler(p.onError), provider.WithErrorRenderer(keepError),
	}
	if p.MTLSBase != "" {
		options = append(options, provider.WithMTLS(p.MTLSBase, clientCertificate), provider.WithTLSTokenBinding(), provider.WithTLSAuthn())
	}
	op, err := provider.New(p.Issuer, s, p.jwks, options...)
	if err != nil {
		return nil, err
	}
	return op.Handler(), nil
}

func seconds(d time.Duration) int { return int(d / time.Second) }

// noTransport refuses all that the library would fetch by itself: it chooses
// hosts by what clients write.
type noTransport struct{}

func (noTransport) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("oauth: nothing is fetched")
}

// clientCertificate is the verified certificate of the call.
func clientCertificate(ctx context.Context) (*x509.Certificate, error) {
	if c := callOf(ctx); c.cert != nil {
		return c.cert, nil
	}
	return nil, errors.New("no certificate")
}

// shown are the parameters as the library is told them. A client whose assertion
// holds shows it in the place of a secret: it knows no other way that is ours.
func (c *call) shown() url.Values {
	if !c.assertion.held {
		return c.form
	}
	form := maps.Clone(c.form)
	form.Del("client_assertion")
	form.Del("client_assertion_type")
	form.Set("client_id", c.client.ID)
	form.Set("client_secret", "its assertion")
	return form
}

// verifySecret compares hashes. What is stored of the client came with the call.
func (p *Provider) verifySecret(ctx context.Context, _, presented string) error {
	c := callOf(ctx)
	if c.client != nil && c.client.keys != nil && c.assertion.held {
		return nil
	}
	if c.client != nil && c.client.secret(presented) {
		return nil
	}
	return errors.New("the secret is not the client's")
}

// tokenOptions are the form and life of an access token.
func (p *Provider) tokenOptions(ctx context.Context, g *goidc.Grant, _ *goidc.Client) goidc.TokenOptions {
	life := p.Life.Access
	if until := factsOf(g.Store).Until; until != 0 {
		life = min(life, store.FromMicros(until).Sub(p.now()))
	}
	if c := callOf(ctx); c.client != nil && c.client.JWTTokens {
		return goidc.NewJWTTokenOptions(goidc.ES256, seconds(life))
	}
	return goidc.NewOpaqueTokenOptions(seconds(life))
}

// onError writes down why the library refused. Causes hold what clients wrote.
func (p *Provider) onError(ctx context.Context, err error) {
	c := callOf(ctx)
	p.Log.DebugContext(ctx, "oauth request refused", slog.String("endpoint", c.endpoint), slog.String("client", c.claimed), slog.String("error", strconv.Quote(err.Error())))
}

// keepError leaves the page about a refusal to the door.
func keepError(_ http.ResponseWriter, r *http.Request, err error) error {
	callOf(r.Context()).refused = err
	return nil
}
