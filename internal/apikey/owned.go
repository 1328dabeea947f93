package apikey

import (
	"context"
	"crypto/ed25519"
	"maps"
	"slices"
	"time"

	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/store"
	"sallyport.dev/zone"
)

// Lives of keys that users make.
const (
	OwnedLife    = 90 * 24 * time.Hour
	OwnedLifeMax = 365 * 24 * time.Hour
)

// UserScopes returns the scopes that users may give to their keys, sorted: those
// of routes that take keys and users alike. A scope that also opens a route to
// keys and not to users is none of them, or a user would get in by making a key.
func UserScopes(z *zone.Zone) []string {
	offered, barred := map[string]bool{}, map[string]bool{}
	for _, s := range z.Services {
		for _, r := range s.Routes {
			if r.Allow&zone.AllowKey == 0 {
				continue
			}
			to := offered
			if r.Allow&zone.AllowUser == 0 {
				to = barred
			}
			for _, scope := range r.Scopes {
				to[scope] = true
			}
		}
	}
	return slices.DeleteFunc(slices.Sorted(maps.Keys(offered)), func(scope string) bool { return barred[scope] })
}

// Offered returns the scopes that users may give to keys of theirs now.
func (k *Keys) Offered() []string { return slices.Clone(k.offered()) }

// NewOwned describes a key that a user makes. It has no roles.
type NewOwned struct {
	Name      string // one line of 1 to 63 characters
	Scopes    []string
	Addresses []string
	Life      time.Duration // a year at most; 0: 90 days
}

// What makes a key of a user, or gives it another text, takes the transaction in
// which its owner is told of it; nil: one of its own. Within one of the caller,
// errors that have no reason are the store's.

// CreateOwned makes a key of a user and returns its text, the only time it is
// told. Reasons: account.invalid; account.conflict when a live key of the user
// has the name, or there are MaxOwned; account.unknown.
func (k *Keys) CreateOwned(ctx context.Context, in *store.Tx, user string, n NewOwned) (Key, obs.Secret, error) {
	w, err := owned(user)
	if err != nil {
		return Key{}, "", err
	}
	if !label(n.Name) {
		return Key{}, "", w.invalid("name: want one line of 1 to %d characters", nameMax)
	}
	if len(n.Scopes) == 0 {
		return Key{}, "", w.invalid("scopes: want one at least, a key without reaches nothing")
	}
	offered := k.offered()
	for _, s := range n.Scopes {
		if !slices.Contains(offered, s) {
			return Key{}, "", w.invalid("scope %.80q: this zone does not offer it for your keys", s)
		}
	}
	life, err := w.life(n.Life)
	if err != nil {
		return Key{}, "", err
	}
	return k.create(ctx, in, w, Key{Name: n.Name, Owner: user, Roles: []string{}, Scopes: n.Scopes, Expires: k.now().Add(life)}, n.Addresses)
}

func (w whose) life(d time.Duration) (time.Duration, error) {
	switch {
	case d == 0:
		return OwnedLife, nil
	case d < time.Minute || d > OwnedLifeMax:
		return 0, w.invalid("expires: want at most %d days", OwnedLifeMax/(24*time.Hour))
	}
	return d, nil
}

// ListOwned returns the live keys of a user, the newest first.
func (k *Keys) ListOwned(ctx context.Context, user string) (list []Key, err error) {
	now := store.Micros(k.now())
	err = k.db.view(ctx, func(ctx context.Context, t tx) error {
		list, err = scanKeys(ctx, t, "SELECT "+keyColumns+` FROM api_keys k
			WHERE k.owner = ? AND k.owner <> '' AND k.ended_at = 0 AND (k.expires_at = 0 OR k.expires_at > ?) ORDER BY k.created_at DESC, k.id`, user, now)
		return err
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// RotateOwned is Rotate for a key of a user. The key lives on from now for life,
// 90 days if that is 0. Reasons: account.invalid, account.unknown.
func (k *Keys) RotateOwned(ctx context.Context, in *store.Tx, user, id string, overlap, life time.Duration) (Key, obs.Secret, error) {
	w, err := owned(user)
	if err != nil {
		return Key{}, "", err
	}
	if life, err = w.life(life); err != nil {
		return Key{}, "", err
	}
	return k.rotate(ctx, in, w, id, Rotation{Overlap: overlap, Expires: k.now().Add(life)})
}

// RevokeOwned ends a key of a user at once. Reason account.unknown.
func (k *Keys) RevokeOwned(ctx context.Context, user, id string) error {
	w, err := owned(user)
	if err != nil {
		return err
	}
	return k.revoke(ctx, w, id)
}

// AddOwnedSigning is AddSigning for a key of a user.
// Reasons: account.invalid, account.unknown, account.conflict.
func (k *Keys) AddOwnedSigning(ctx context.Context, in *store.Tx, user, id string, public ed25519.PublicKey, expires time.Time) (SigningKey, error) {
	w, err := owned(user)
	if err != nil {
		return SigningKey{}, err
	}
	return k.addPublic(ctx, in, w, id, public, expires)
}

// NewOwnedHMAC is NewHMAC for a key of a user, with the same reasons.
func (k *Keys) NewOwnedHMAC(ctx context.Context, in *store.Tx, user, id string, expires time.Time) (SigningKey, obs.Secret, error) {
	w, err := owned(user)
	if err != nil {
		return SigningKey{}, "", err
	}
	return k.newHMAC(ctx, in, w, id, expires)
}

// RemoveOwnedSigning is RemoveSigning for a key of a user. Reason account.unknown.
func (k *Keys) RemoveOwnedSigning(ctx context.Context, user, id, signing string) error {
	w, err := owned(user)
	if err != nil {
		return err
	}
	return k.removeSigning(ctx, w, id, signing)
}
