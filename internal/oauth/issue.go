package oauth

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/luikyv/go-oidc/pkg/goidc"

	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
)

// The kinds of grants, and of who their tokens act for. It is a column, never
// guessed from the subject.
const (
	kindUser   = "user"
	kindClient = "client"
)

// onGrant is asked before a grant is kept, and at each refresh.
func (p *Provider) onGrant(ctx context.Context, kind goidc.GrantType, g *goidc.Grant) error {
	c := callOf(ctx)
	g.Resources = goidc.Resources{p.Issuer} // the audience of JWT access tokens: this zone
	switch kind {
	case goidc.GrantAuthorizationCode, goidc.GrantDeviceCode:
		if g.Scopes == "" || g.Subject == "" {
			return errors.New("a grant without scopes or subject")
		}
		kept := g.AuthParams
		g.JWKThumbprint = cmp.Or(factsOf(g.Store).JKT, kept.DPoPJKT)
		g.AuthParams = goidc.AuthorizationParameters{
			RedirectURI: kept.RedirectURI, Nonce: kept.Nonce, CodeChallenge: kept.CodeChallenge, CodeChallengeMethod: goidc.CodeChallengeMethodSHA256,
		}
		return nil
	case goidc.GrantClientCredentials:
		if c.client == nil || c.client.public() {
			return goidc.NewError(goidc.ErrorCodeUnauthorizedClient, "the client can keep no secret")
		}
		g.Scopes = ownScopes(c.client, g.Scopes)
		g.Store = map[string]any{}
		facts{Kind: kindClient}.put(g.Store)
		return nil
	case goidc.GrantTokenExchange:
		return p.exchanged(ctx, c, g)
	case goidc.GrantRefreshToken:
		end := int(time.Unix(int64(g.CreatedAt), 0).Add(p.Life.Refresh).Unix())
		if int(p.now().Unix()) >= end {
			return goidc.NewError(goidc.ErrorCodeInvalidGrant, "the grant has come to its end")
		}
		g.RefreshTokenExpiresAt = min(g.RefreshTokenExpiresAt, end)
		return nil
	}
	return goidc.NewError(goidc.ErrorCodeUnsupportedGrantType, "unsupported grant type")
}

// ownScopes are those that a client has by itself: what it asked for, else all
// but those that tell of users.
func ownScopes(c *client, asked string) string {
	about := []string{scopeOpenID, "profile", "email", scopeOffline}
	if asked != "" {
		return strings.Join(slices.DeleteFunc(fields(asked), func(s string) bool { return slices.Contains(about, s) }), " ")
	}
	return strings.Join(slices.DeleteFunc(slices.Clone(c.Scopes), func(s string) bool { return slices.Contains(about, s) }), " ")
}

// onToken is asked whenever an access token is about to be given out: for the last
// time here whether its user, session and client still are.
func (p *Provider) onToken(ctx context.Context, t *goidc.Token, g *goidc.Grant) error {
	c := callOf(ctx)
	f := factsOf(g.Store)
	if f.Kind == kindUser {
		session := f.Session
		if f.Offline && c.unit.refresh.grant != "" { // its first token is given out under the session in which the user said yes
			session = ""
		}
		if _, err := p.Users.Active(ctx, g.Subject, session); err != nil {
			if problem.ReasonOf(err).Status() >= 500 {
				return c.fail(err)
			}
			return goidc.WrapError(goidc.ErrorCodeInvalidGrant, "the user or session has ended", err)
		}
	}
	kept := *t
	kept.Resources = nil
	c.unit.token = &kept
	return nil
}

// idTokenClaims are what an ID token says of the login.
func idTokenClaims(_ context.Context, g *goidc.Grant) map[string]any {
	claims := loginClaims(factsOf(g.Store))
	if sid := factsOf(g.Store).SID; sid != "" {
		claims["sid"] = sid
	}
	return claims
}

// accessTokenClaims are the same of a JWT access token (RFC 9068 section 2.2.1).
func accessTokenClaims(_ context.Context, _ *goidc.Token, g *goidc.Grant) map[string]any {
	return loginClaims(factsOf(g.Store))
}

func loginClaims(f facts) map[string]any {
	claims := map[string]any{}
	if f.Kind != kindUser {
		return claims
	}
	if f.Auth != 0 {
		claims["auth_time"] = f.Auth / int64(time.Second/time.Microsecond)
	}
	claims["acr"] = acrOf(f.Level)
	if f.Level >= policy.TwoFactors {
		claims["amr"] = []string{"mfa"}
	}
	return claims
}

// acrOf is the authentication level as OpenID tells it.
func acrOf(level int) string {
	if level >= policy.TwoFactors {
		return "2"
	}
	return "1"
}

// sid is what one client knows a session by: another client's is another.
func (p *Provider) sid(session, client string) string {
	return p.mac("sid", session+"\x00"+client)
}

func (p *Provider) mac(use, text string) string {
	return b64(p.macBytes(use, text)[:18])
}

func (p *Provider) macBytes(use, text string) []byte {
	mac := hmac.New(sha256.New, p.secret)
	mac.Write([]byte(use + "\x00" + text))
	return mac.Sum(nil)
}

// userCode is what is kept of a device's user code, however it was written.
func (p *Provider) userCode(code string) []byte {
	var b strings.Builder
	for _, r := range strings.ToUpper(code) {
		if r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			b.WriteRune(r)
		}
	}
	return p.macBytes("user code", b.String())
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
