package oauth

import (
	"context"
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/go-jose/go-jose/v4"
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

		provider.WithDPoP(goidc.ES256, goidc.PS256, goidc.RS256, jose.EdDSA),
		provider.WithJTIConsumer(consumeJTI), provider.WithJWTLifetime(assertionLife), provider.WithJWTLeewayTime(leeway),
		provider.WithSecretBasicAuthn(), provider.WithSecretPostAuthn(), provider.WithNoneAuthn(),
		provider.WithPrivateKeyJWTAuthn(goidc.ES256, goidc.PS256, jose.EdDSA),
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

// The bounds of client assertions and proofs, in seconds: how far ahead `exp` may
// lie, and how much clocks may differ.
const (
	assertionLife = 300
	leeway        = 10
)

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

// verifySecret compares hashes. What is stored of the client came with the call.
func (p *Provider) verifySecret(ctx context.Context, _, presented string) error {
	c := callOf(ctx)
	if c.client != nil && presented != "" {
		sum := hashOf(presented)
		for _, secret := range c.client.secrets {
			if subtle.ConstantTimeCompare(secret, sum) == 1 {
				return nil
			}
		}
	}
	return errors.New("the secret is not the client's")
}

// consumeJTI takes no id but those that the door has read from this call's own
// assertion and proof: each is stored under what it belongs to.
func consumeJTI(ctx context.Context, jti string) error {
	c := callOf(ctx)
	switch {
	case jti == "":
	case jti == c.assertion.id:
		c.assertion.held = true // it is asked for after the signature
		return nil
	case c.proof != nil && jti == c.proof.ID:
		return nil
	}
	return errors.New("the id was not taken")
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
	c.cause = err
	p.Log.DebugContext(ctx, "oauth request refused", slog.String("endpoint", c.endpoint), slog.String("client", c.claimed), slog.String("error", strconv.Quote(err.Error())))
}

// keepError leaves the page about a refusal to the door.
func keepError(_ http.ResponseWriter, r *http.Request, err error) error {
	callOf(r.Context()).refused = err
	return nil
}
