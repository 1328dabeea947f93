package oauth

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"sallyport.dev/internal/store"
)

// take counts an assertion as used (RFC 7523 section 3).
func (a *assertion) take(ctx context.Context, tx *store.Tx, client string, now time.Time) error {
	until := now.Add(assertionLife + 3*leeway)
	n, err := tx.Exec(ctx, "INSERT INTO oauth_assertions (hash, expires_at) VALUES (?, ?) ON CONFLICT (hash) DO NOTHING",
		hashOf(client+"\x00"+a.id), store.Micros(until))
	if err == nil && n == 0 {
		err = errAssertion
	}
	return err
}

func (u *unit) writeRequest(ctx context.Context, tx *store.Tx, c *call) error {
	as := u.request
	version, known := as.Store[requestVersion].(int64)
	bare := *as
	bare.Store = map[string]any{factsName: as.Store[factsName]}
	bare.PushedAuthReqID, bare.DeviceCode, bare.UserCode, bare.IDTokenHint, bare.LoginHintToken = "", "", "", "", ""
	data, err := json.Marshal(bare)
	if err != nil {
		return fmt.Errorf("oauth: request: %w", err)
	}
	browser := c.browser
	if browser == nil {
		browser = []byte{}
	}
	expires := store.Micros(time.Unix(int64(as.ExpiresAt), 0))
	now := store.Micros(c.p.now())
	if !known {
		var par, device, user any
		if as.PushedAuthReqID != "" {
			par = hashOf(as.PushedAuthReqID)
		}
		if as.DeviceCode != "" {
			device, user = hashOf(as.DeviceCode), c.p.userCode(as.UserCode)
		}
		_, err = tx.Exec(ctx, `INSERT INTO oauth_requests (id, kind, status, client_id, browser, par_hash, device_hash, user_code, version, created_at, expires_at, data)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?)`,
			as.ID, u.kind, string(as.Status), as.ClientID, browser, par, device, user, now, expires, string(data))
		return err
	}
	n, err := tx.Exec(ctx, `UPDATE oauth_requests SET status = ?, browser = ?, par_used_at = CASE WHEN par_hash IS NULL THEN par_used_at ELSE ? END,
		version = version + 1, expires_at = ?, data = ?
		WHERE id = ? AND version = ? AND status = 'pending' AND (length(browser) = 0 OR browser = ?)`,
		string(as.Status), browser, now, expires, string(data), as.ID, version, browser)
	if err == nil && n == 0 {
		err = errEnded
	}
	return err
}

func (p *Provider) writeGrant(ctx context.Context, tx *store.Tx, u *unit, g *grantChange, now time.Time) error {
	switch {
	case g.revoked:
		why := "refused"
		if u.replay == g.ID {
			why = "code_replay"
		}
		return p.endGrants(ctx, tx, why, "id = ?", g.ID)
	case g.version == 0:
		return p.insertGrant(ctx, tx, g, now)
	case u.refresh.grant == g.ID:
		return p.rotate(ctx, tx, u, g, now)
	}
	n, err := tx.Exec(ctx, `UPDATE oauth_grants SET code_used_at = ?, device_used_at = ?, jkt = ?, x5t = ?, used_at = ?, version = version + 1
		WHERE id = ? AND version = ? AND revoked_at = 0 AND code_used_at = 0 AND device_used_at = 0`,
		microsOf(g.AuthCodeConsumedAt), microsOf(g.DeviceCodeConsumedAt), g.JWKThumbprint, g.CertThumbprint, store.Micros(now), g.ID, g.version)
	if err != nil {
		return err
	}
	if n == 0 {
		return errReplayed
	}
	if g.RefreshToken == "" {
		return nil
	}
	return insertRefresh(ctx, tx, hashOf(g.RefreshToken), g.ID, now, p.refreshEnd(now, time.Unix(int64(g.CreatedAt), 0)))
}

func (p *Provider) insertGrant(ctx context.Context, tx *store.Tx, g *grantChange, now time.Time) error {
	if g.facts.Parent != "" { // the last look was before this transaction
		var gone int64
		err := tx.QueryRow(ctx, "SELECT revoked_at FROM oauth_grants WHERE id = ?", g.facts.Parent).Scan(&gone)
		if errors.Is(err, store.ErrNotFound) || err == nil && gone != 0 {
			return errEnded
		}
		if err != nil {
			return err
		}
	}
	data, err := json.Marshal(redemption{
		RedirectURI: g.AuthParams.RedirectURI, Nonce: g.AuthParams.Nonce, Challenge: g.AuthParams.CodeChallenge,
	})
	if err != nil {
		return fmt.Errorf("oauth: grant: %w", err)
	}
	var code, device any
	if g.AuthCode != "" {
		code = hashOf(g.AuthCode)
	}
	if text, ok := strings.CutPrefix(g.DeviceCode, "~"); ok {
		hash, err := hex.DecodeString(text)
		if err != nil {
			return fmt.Errorf("oauth: grant: %w", err)
		}
		device = hash
	}
	end := now.Add(p.Life.Code + p.Life.Device + p.Life.Access) // to redeem it, and the life of what it gives
	if g.RefreshToken != "" {
		end = now.Add(p.Life.Refresh)
	}
	_, err = tx.Exec(ctx, `INSERT INTO oauth_grants (id, kind, sub, client_id, session_id, sid, offline, scopes, code_hash, code_expires_at,
		device_hash, device_expires_at, refresh_wanted, jkt, x5t, level, authenticated_at, version, created_at, used_at, expires_at, parent_id, data)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?)`,
		g.ID, g.facts.Kind, g.Subject, g.ClientID, g.facts.Session, g.facts.SID, flag(g.facts.Offline), g.Scopes,
		code, microsOf(g.AuthCodeExpiresAt), device, microsOf(g.DeviceCodeExpiresAt), flag(g.RefreshToken != ""),
		g.JWKThumbprint, g.CertThumbprint, g.facts.Level, g.facts.Auth, store.Micros(now), store.Micros(now), store.Micros(end), g.facts.Parent, string(data))
	return err
}

func (u *unit) writeToken(ctx context.Context, tx *store.Tx) error {
	t := u.token
	if u.access == "" {
		return errors.New("oauth: a token was made and is not in the answer")
	}
	_, err := tx.Exec(ctx, `INSERT INTO oauth_tokens (hash, grant_id, scopes, jkt, x5t, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		hashOf(u.access), t.GrantID, t.Scopes, t.JWKThumbprint, t.CertThumbprint, microsOf(t.CreatedAt), microsOf(t.ExpiresAt))
	return err
}
