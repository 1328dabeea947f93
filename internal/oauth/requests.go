package oauth

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/luikyv/go-oidc/pkg/goidc"

	"sallyport.dev/internal/store"
)

// requests are those of one kind: a device's request is none that a browser may go
// on with at the authorization endpoint.
type requests struct {
	*stores
	kind string
}

// SaveSession implements goidc.AuthManager and goidc.DeviceAuthManager.
func (r *requests) SaveSession(ctx context.Context, as *goidc.AuthnSession) error {
	c := callOf(ctx)
	if _, known := as.Store[requestVersion]; !known {
		f := factsOf(as.Store)
		if c.hint != "" {
			f.Hint = c.hint
		}
		if c.essential != "" {
			f.Essential = c.essential
		}
		if r.kind == kindDevice {
			f.Place = c.place
		}
		f.JKT = c.jkt()
		f.put(as.Store)
	}
	c.unit.saveRequest(as, r.kind)
	return nil
}

// Session returns a request that the browser of this call may go on with.
func (r *requests) Session(ctx context.Context, id string) (*goidc.AuthnSession, error) {
	c := callOf(ctx)
	if c.browser == nil {
		return nil, goidc.ErrNotFound
	}
	if r.kind == kindDevice { // bound to a browser by the first that gave its user code
		return r.read(ctx, "id = ? AND status = 'pending' AND (length(browser) = 0 OR browser = ?)", id, c.browser)
	}
	return r.read(ctx, "id = ? AND status = 'pending' AND browser = ?", id, c.browser)
}

// SessionByPushedAuthReqID takes a pushed request up: once, and again in the
// browser that did.
func (r *requests) SessionByPushedAuthReqID(ctx context.Context, handle string) (*goidc.AuthnSession, error) {
	c := callOf(ctx)
	if !wellFormed(handle, "") || c.browser == nil {
		return nil, goidc.ErrNotFound
	}
	as, err := r.read(ctx, "par_hash = ? AND status = 'pending' AND (par_used_at = 0 OR browser = ?)", hashOf(handle), c.browser)
	if err == nil && c.library != nil {
		c.redirect = as.RedirectURI // compared when it was pushed
		c.library.RedirectURIs = append(c.library.RedirectURIs, as.RedirectURI)
	}
	return as, err
}

// SessionByDeviceCode implements goidc.DeviceAuthManager.
func (r *requests) SessionByDeviceCode(ctx context.Context, code string) (*goidc.AuthnSession, error) {
	if !wellFormed(code, "") || callOf(ctx).slow {
		return nil, goidc.ErrNotFound
	}
	return r.readAny(ctx, "device_hash = ?", hashOf(code))
}

// SessionByUserCode implements goidc.DeviceAuthManager: our own page looks them up.
func (r *requests) SessionByUserCode(context.Context, string) (*goidc.AuthnSession, error) {
	return nil, goidc.ErrNotFound
}

// GrantByAuthCode implements goidc.AuthManager.
func (r *requests) GrantByAuthCode(ctx context.Context, code string) (*goidc.Grant, error) {
	return r.grantByAuthCode(ctx, code)
}

// GrantByDeviceCode implements goidc.DeviceAuthManager.
func (r *requests) GrantByDeviceCode(ctx context.Context, code string) (*goidc.Grant, error) {
	return r.grantByDeviceCode(ctx, code)
}

func (r *requests) read(ctx context.Context, condition string, args ...any) (*goidc.AuthnSession, error) {
	return r.readAny(ctx, condition+" AND expires_at > ?", append(args, store.Micros(r.p.now()))...)
}

func (r *requests) readAny(ctx context.Context, condition string, args ...any) (*goidc.AuthnSession, error) {
	var data, status string
	var version, expires int64
	var device []byte
	var id string
	err := r.p.db.View(ctx, func(ctx context.Context, tx *store.Tx) error {
		return tx.QueryRow(ctx, "SELECT id, status, version, expires_at, device_hash, data FROM oauth_requests WHERE kind = ? AND "+condition,
			append([]any{r.kind}, args...)...).Scan(&id, &status, &version, &expires, &device, &data)
	})
	if err != nil {
		return nil, r.missing(ctx, err)
	}
	as := &goidc.AuthnSession{}
	if err := json.Unmarshal([]byte(data), as); err != nil {
		return nil, callOf(ctx).fail(fmt.Errorf("oauth: request: %w", err))
	}
	if as.Store == nil {
		as.Store = map[string]any{}
	}
	as.ID, as.Status, as.ExpiresAt = id, goidc.Status(status), secondsOf(expires)
	as.Store[requestVersion] = version
	if device != nil {
		as.DeviceCode = "~" + hex.EncodeToString(device)
	}
	return as, nil
}
