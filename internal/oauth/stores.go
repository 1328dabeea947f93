package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/luikyv/go-oidc/pkg/goidc"

	"sallyport.dev/internal/store"
)

// stores are what the library reads and writes. Reading is done at once, writing
// goes into the unit of the call. What cannot be read fails the whole call: the
// library would make a refusal of it. goidc.ErrNotFound is the only other error.
type stores struct{ p *Provider }

// The kinds of requests.
const (
	kindCode   = "code"
	kindDevice = "device"
)

const grantColumns = `id, kind, sub, client_id, session_id, sid, offline, scopes, code_expires_at, code_used_at, device_expires_at,
	device_used_at, refresh_wanted, jkt, x5t, level, authenticated_at, version, created_at, expires_at, revoked_at, parent_id, data`

// grantRow is a grant as it is kept.
type grantRow struct {
	id, kind, sub, client, session, sid, scopes, jkt, x5t, parent      string
	offline, wanted                                                    int
	codeEnd, codeUsed, deviceEnd, deviceUsed, auth, created, end, gone int64
	level                                                              int
	version                                                            int64
	data                                                               redemption
}

func scanGrant(row interface{ Scan(...any) error }) (*grantRow, error) {
	var g grantRow
	var data string
	err := row.Scan(&g.id, &g.kind, &g.sub, &g.client, &g.session, &g.sid, &g.offline, &g.scopes, &g.codeEnd, &g.codeUsed, &g.deviceEnd,
		&g.deviceUsed, &g.wanted, &g.jkt, &g.x5t, &g.level, &g.auth, &g.version, &g.created, &g.end, &g.gone, &g.parent, &data)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(data), &g.data); err != nil {
		return nil, fmt.Errorf("oauth: grant %s: %w", g.id, err)
	}
	return &g, nil
}

// library is the grant as the library knows it, which knows of no DPoP.
func (g *grantRow) library(issuer string) *goidc.Grant {
	out := &goidc.Grant{
		ID: g.id, CreatedAt: secondsOf(g.created), RevokedAt: secondsOf(g.gone), Subject: g.sub, ClientID: g.client, Scopes: g.scopes,
		Resources: goidc.Resources{issuer}, AuthCodeExpiresAt: secondsOf(g.codeEnd), AuthCodeConsumedAt: secondsOf(g.codeUsed),
		DeviceCodeExpiresAt: secondsOf(g.deviceEnd), DeviceCodeConsumedAt: secondsOf(g.deviceUsed), CertThumbprint: g.x5t,
		Store: map[string]any{grantVersion: g.version},
	}
	out.AuthParams.RedirectURI, out.AuthParams.Nonce, out.AuthParams.CodeChallenge = g.data.RedirectURI, g.data.Nonce, g.data.Challenge
	out.AuthParams.CodeChallengeMethod = goidc.CodeChallengeMethodSHA256
	g.facts().put(out.Store)
	return out
}

func (g *grantRow) facts() facts {
	return facts{Kind: g.kind, Session: g.session, SID: g.sid, Level: g.level, Auth: g.auth, Offline: g.offline != 0, Parent: g.parent}
}

// grant reads the grant that a condition finds.
func (s *stores) grant(ctx context.Context, condition string, args ...any) (*grantRow, error) {
	var g *grantRow
	err := s.p.db.View(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		g, err = scanGrant(tx.QueryRow(ctx, "SELECT "+grantColumns+" FROM oauth_grants WHERE "+condition, args...))
		return err
	})
	return g, s.missing(ctx, err)
}

// missing makes the library's error of one that means that there is none, and
// fails the call for all others.
func (s *stores) missing(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrNotFound):
		return goidc.ErrNotFound
	}
	return callOf(ctx).fail(err)
}

// SaveGrant implements goidc.GrantManager.
func (s *stores) SaveGrant(ctx context.Context, g *goidc.Grant) error {
	c := callOf(ctx)
	c.bind(g)
	c.unit.saveGrant(g)
	return nil
}

// Grant implements goidc.GrantManager.
func (s *stores) Grant(ctx context.Context, id string) (*goidc.Grant, error) {
	g, err := s.grant(ctx, "id = ?", id)
	if err != nil {
		return nil, err
	}
	return g.library(s.p.Issuer), nil
}

// redeemed is a grant that is asked for by its code: the refresh token that goes
// with it is made now, so that it never rests anywhere.
func (s *stores) redeemed(ctx context.Context, g *grantRow, used bool) *goidc.Grant {
	out := g.library(s.p.Issuer)
	if used {
		callOf(ctx).unit.replay = g.id
		s.p.Count(EventCodeReplay)
	} else if g.wanted != 0 {
		out.RefreshToken = RefreshPrefix + newSecret()
	}
	return out
}

func (s *stores) grantByAuthCode(ctx context.Context, code string) (*goidc.Grant, error) {
	if !wellFormed(code, "") {
		return nil, goidc.ErrNotFound
	}
	g, err := s.grant(ctx, "code_hash = ?", hashOf(code))
	if err != nil {
		return nil, err
	}
	c := callOf(ctx)
	if g.narrow(c.client) != nil {
		return nil, goidc.ErrNotFound
	}
	if c.client != nil && g.client == c.client.ID && g.codeUsed == 0 && !c.holds(g.jkt, false) { // one that came again ends its grant by any key
		c.unheld = true
		return nil, goidc.ErrNotFound
	}
	out := s.redeemed(ctx, g, g.codeUsed != 0)
	out.AuthCode = code
	return out, nil
}

func (s *stores) grantByDeviceCode(ctx context.Context, code string) (*goidc.Grant, error) {
	if !wellFormed(code, "") {
		return nil, goidc.ErrNotFound
	}
	c := callOf(ctx)
	first, err := s.p.Values.SetNX(ctx, "oauth/poll/"+b64(hashOf(code)), pollEvery)
	if err != nil {
		return nil, c.fail(err)
	}
	if !first {
		c.slow = true
		return nil, goidc.ErrNotFound
	}
	g, err := s.grant(ctx, "device_hash = ?", hashOf(code))
	if err != nil {
		return nil, err
	}
	if g.narrow(c.client) != nil {
		return nil, goidc.ErrNotFound
	}
	out := s.redeemed(ctx, g, g.deviceUsed != 0)
	out.DeviceCode = code
	return out, nil
}

// pollEvery is how often a device may ask: a little under the interval that it is
// told, five seconds.
const pollEvery = 4 * time.Second

// SaveToken implements goidc.OpaqueTokenManager. Tokens of both forms are taken
// from the answer instead, see onToken.
func (s *stores) SaveToken(context.Context, *goidc.Token) error { return nil }

// Token implements goidc.OpaqueTokenManager, for revocation.
func (s *stores) Token(ctx context.Context, value string) (*goidc.Token, error) {
	if !wellFormed(value, AccessPrefix) {
		return nil, goidc.ErrNotFound
	}
	t := &goidc.Token{ID: value, Format: goidc.TokenFormatOpaque}
	var expires int64
	err := s.p.db.View(ctx, func(ctx context.Context, tx *store.Tx) error {
		return tx.QueryRow(ctx, `SELECT t.grant_id, t.expires_at, g.client_id FROM oauth_tokens t JOIN oauth_grants g ON g.id = t.grant_id WHERE t.hash = ?`,
			hashOf(value)).Scan(&t.GrantID, &expires, &t.ClientID)
	})
	if err != nil {
		return nil, s.missing(ctx, err)
	}
	t.ExpiresAt = secondsOf(expires)
	return t, nil
}

// SaveClient implements goidc.DCRManager: nobody registers here.
func (s *stores) SaveClient(context.Context, *goidc.Client) error { return errUnknown }

// DeleteClient implements goidc.DCRManager.
func (s *stores) DeleteClient(context.Context, string) error { return errUnknown }

// Client implements goidc.DCRManager. What the door has seen of the request is
// part of it.
func (s *stores) Client(ctx context.Context, id string) (*goidc.Client, error) {
	c := callOf(ctx)
	if c.client == nil || c.client.ID != id {
		known, err := s.p.client(ctx, c.st, id)
		if err != nil {
			return nil, s.missing(ctx, err)
		}
		c.client = known
	}
	c.library = c.forLibrary()
	return c.library, nil
}
