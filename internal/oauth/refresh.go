package oauth

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/luikyv/go-oidc/pkg/goidc"

	"sallyport.dev/internal/store"
)

// refreshUse is the use of a refresh token by a call.
type refreshUse struct {
	grant  string // empty: none was used
	parent string // the token that came
	child  string // its successor, when there is one already: the overlap
	bound  bool   // its grant is bound to a key
	jkt    string // the key and certificate that came with it
	x5t    string
}

// GrantByRefreshToken implements goidc.RefreshTokenManager. A refresh token is one
// at the token endpoint and at revocation, and nowhere else.
func (s *stores) GrantByRefreshToken(ctx context.Context, token string) (*goidc.Grant, error) {
	c := callOf(ctx)
	redeems := c.endpoint == endpointToken && c.form.Get("grant_type") == string(goidc.GrantRefreshToken)
	if !redeems && c.endpoint != endpointRevoke || !wellFormed(token, RefreshPrefix) {
		return nil, goidc.ErrNotFound
	}
	var g *grantRow
	var t refreshRow
	err := s.p.db.View(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		if err = t.read(ctx, tx, hashOf(token)); err != nil {
			return err
		}
		g, err = scanGrant(tx.QueryRow(ctx, "SELECT "+grantColumns+" FROM oauth_grants WHERE id = ?", t.grant))
		return err
	})
	if err != nil {
		return nil, s.missing(ctx, err)
	}
	if redeems && g.narrow(c.client) != nil {
		return nil, goidc.ErrNotFound
	}
	out := g.library(s.p.Issuer)
	out.RefreshToken, out.RefreshTokenExpiresAt = token, secondsOf(t.expires)
	if !redeems {
		return out, nil
	}
	c.unit.refresh = refreshUse{grant: g.id, parent: token, bound: g.jkt != "", jkt: c.jkt(), x5t: c.x5t()}
	if t.used != 0 {
		child, ok := s.overlap(c, &t, token)
		if !ok {
			s.reused(ctx, c, g)
			return nil, goidc.ErrNotFound
		}
		c.unit.refresh.child = child
		out.RefreshTokenExpiresAt = secondsOf(g.end)
	}
	if c.client != nil && g.client == c.client.ID && !c.holds(g.jkt, !c.client.public()) {
		c.unheld = true
		return nil, goidc.ErrNotFound
	}
	return out, nil
}

// reused ends a grant whose refresh token came again.
func (s *stores) reused(ctx context.Context, c *call, g *grantRow) {
	if g.gone != 0 {
		return
	}
	c.unit.reused = g.id
	s.p.Count(EventRefreshReuse)
	s.p.Log.WarnContext(ctx, "a refresh token came again; the grant has ended", slog.String("grant", g.id), slog.String("client", g.client), slog.String("user", g.sub))
}

// refreshRow is a refresh token as it is kept.
type refreshRow struct {
	grant, jkt, x5t string
	expires, used   int64
	child, sealed   []byte
	childUsed       int64
}

func (t *refreshRow) read(ctx context.Context, tx *store.Tx, hash []byte) error {
	return tx.QueryRow(ctx, `SELECT r.grant_id, r.expires_at, r.used_at, r.used_jkt, r.used_x5t, r.child_hash, r.child_sealed, COALESCE(n.used_at, 0)
		FROM oauth_refresh r LEFT JOIN oauth_refresh n ON n.hash = r.child_hash WHERE r.hash = ?`, hash).
		Scan(&t.grant, &t.expires, &t.used, &t.jkt, &t.x5t, &t.child, &t.sealed, &t.childUsed)
}

// overlap returns the successor of a token that was used just now, when the same
// client asks with the same key: its answer was lost, or it asks twice at once.
// That it is the same client the library says.
func (s *stores) overlap(c *call, t *refreshRow, parent string) (child string, ok bool) {
	if s.p.now().Sub(store.FromMicros(t.used)) > s.p.Life.Overlap || t.childUsed != 0 || t.sealed == nil || t.jkt != c.jkt() || t.x5t != c.x5t() {
		return "", false
	}
	child, err := openChild(parent, t.sealed)
	if err != nil || subtle.ConstantTimeCompare(hashOf(child), t.child) != 1 {
		return "", false
	}
	return child, true
}

// rotate uses a refresh token up and keeps its successor, in one step against all
// others; or, in the overlap, makes sure that the successor still is one.
func (p *Provider) rotate(ctx context.Context, tx *store.Tx, u *unit, g *grantChange, now time.Time) error {
	n, err := tx.Exec(ctx, "UPDATE oauth_grants SET used_at = ?, jkt = ?, x5t = ?, version = version + 1 WHERE id = ? AND revoked_at = 0",
		store.Micros(now), g.JWKThumbprint, g.CertThumbprint, g.ID)
	if err != nil {
		return err
	}
	if n == 0 {
		return errEnded
	}
	if u.refresh.child != "" {
		var used int64
		err := tx.QueryRow(ctx, "SELECT used_at FROM oauth_refresh WHERE hash = ?", hashOf(u.refresh.child)).Scan(&used)
		if errors.Is(err, store.ErrNotFound) || err == nil && used != 0 {
			return errRotated
		}
		return err
	}
	sealed, err := sealChild(u.refresh.parent, g.RefreshToken)
	if err != nil {
		return err
	}
	child := hashOf(g.RefreshToken)
	n, err = tx.Exec(ctx, "UPDATE oauth_refresh SET used_at = ?, used_jkt = ?, used_x5t = ?, child_hash = ?, child_sealed = ? WHERE hash = ? AND used_at = 0",
		store.Micros(now), u.refresh.jkt, u.refresh.x5t, child, sealed, hashOf(u.refresh.parent))
	if err != nil {
		return err
	}
	if n == 0 {
		return errRotated
	}
	return insertRefresh(ctx, tx, child, g.ID, now, p.refreshEnd(now, time.Unix(int64(g.CreatedAt), 0)))
}

// refreshEnd is when a refresh token made now ends if it is not used.
func (p *Provider) refreshEnd(now, granted time.Time) time.Time {
	idle, end := now.Add(p.Life.RefreshIdle), granted.Add(p.Life.Refresh)
	if end.Before(idle) {
		return end
	}
	return idle
}

func insertRefresh(ctx context.Context, tx *store.Tx, hash []byte, grant string, now, end time.Time) error {
	_, err := tx.Exec(ctx, "INSERT INTO oauth_refresh (hash, grant_id, created_at, expires_at) VALUES (?, ?, ?, ?)",
		hash, grant, store.Micros(now), store.Micros(end))
	return err
}

// refreshToken is the next one of the library.
func refreshToken(ctx context.Context) string {
	if c := callOf(ctx); c.unit != nil && c.unit.refresh.child != "" {
		return c.unit.refresh.child
	}
	return RefreshPrefix + newSecret()
}

// shouldRefresh says whether a grant comes with refresh tokens.
func shouldRefresh(_ context.Context, c *goidc.Client, g *goidc.Grant) bool {
	f := factsOf(g.Store)
	return f.Kind == kindUser && f.Parent == "" && slices.Contains(c.GrantTypes, goidc.GrantRefreshToken)
}

// childKey is made of the token before: what it seals is open to who holds that
// token, and to nobody who has the database alone.
func childKey(parent string) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, []byte(parent), nil, "sallyport.dev/oauth/refresh child", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func sealChild(parent, child string) ([]byte, error) {
	aead, err := childKey(parent)
	if err != nil {
		return nil, fmt.Errorf("oauth: refresh token: %w", err)
	}
	nonce := make([]byte, aead.NonceSize())
	_, _ = rand.Read(nonce) // crypto/rand.Read never fails (Go 1.24)
	return aead.Seal(nonce, nonce, []byte(child), nil), nil
}

func openChild(parent string, sealed []byte) (string, error) {
	aead, err := childKey(parent)
	if err != nil || len(sealed) < aead.NonceSize() {
		return "", errUnknown
	}
	child, err := aead.Open(nil, sealed[:aead.NonceSize()], sealed[aead.NonceSize():], nil)
	return string(child), err
}
