package app

import (
	"context"
	"crypto/ed25519"
	"time"

	"sallyport.dev/internal/apikey"
	"sallyport.dev/internal/identity"
	"sallyport.dev/internal/oauth"
	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

// keyOverlap is how long the text before goes on when a user rotates a key.
const keyOverlap = 24 * time.Hour

// userKeys hands the API keys of users to the account service in its own words.
type userKeys struct{ *apikey.Keys }

func (k userKeys) ListKeys(ctx context.Context, user string) ([]identity.Key, error) {
	list, err := k.ListOwned(ctx, user)
	if err != nil {
		return nil, err
	}
	keys := make([]identity.Key, 0, len(list))
	for _, one := range list {
		signing, err := k.Signing(ctx, one)
		if err != nil {
			return nil, err
		}
		of := keyOfUser(one)
		for _, s := range signing {
			of.Signing = append(of.Signing, signingOfUser(s))
		}
		keys = append(keys, of)
	}
	return keys, nil
}

func (k userKeys) CreateKey(ctx context.Context, tx *store.Tx, user string, n identity.NewKey) (identity.Key, obs.Secret, error) {
	made, secret, err := k.CreateOwned(ctx, tx, user, apikey.NewOwned{Name: n.Name, Scopes: n.Scopes, Addresses: n.Addresses, Life: n.Life})
	return keyOfUser(made), secret, err
}

func (k userKeys) RotateKey(ctx context.Context, tx *store.Tx, user, id string) (identity.Key, obs.Secret, error) {
	made, secret, err := k.RotateOwned(ctx, tx, user, id, keyOverlap, 0)
	return keyOfUser(made), secret, err
}

func (k userKeys) RevokeKey(ctx context.Context, user, id string) error {
	return k.RevokeOwned(ctx, user, id)
}

func (k userKeys) AddSigningKey(ctx context.Context, tx *store.Tx, user, id, algorithm, public string) (identity.Key, identity.SigningKey, obs.Secret, error) {
	var made apikey.SigningKey
	var secret obs.Secret
	var err error
	switch apikey.Algorithm(algorithm) {
	case apikey.Ed25519:
		var key ed25519.PublicKey
		if key, err = apikey.ParsePublicKey(public); err != nil {
			return identity.Key{}, identity.SigningKey{}, "", problem.WithDetail(problem.AccountInvalid, "public_key: not an Ed25519 public key in PEM, JWK or base64")
		}
		made, err = k.AddOwnedSigning(ctx, tx, user, id, key, time.Time{})
	case apikey.HMACSHA256:
		made, secret, err = k.NewOwnedHMAC(ctx, tx, user, id, time.Time{})
	default:
		err = problem.WithDetail(problem.AccountInvalid, "algorithm: want ed25519 or hmac-sha256")
	}
	return keyOfUser(made.Key), signingOfUser(made), secret, err
}

func (k userKeys) RemoveSigningKey(ctx context.Context, user, id, signing string) error {
	return k.RemoveOwnedSigning(ctx, user, id, signing)
}

func (k userKeys) EndKeys(ctx context.Context, tx *store.Tx, user string) (int, error) {
	return k.EndOwned(ctx, tx, user)
}

func (k userKeys) DeleteKeys(ctx context.Context, tx *store.Tx, user string) error {
	return k.DeleteOwned(ctx, tx, user)
}

func keyOfUser(k apikey.Key) identity.Key {
	of := identity.Key{ID: k.ID, Name: k.Name, Scopes: k.Scopes, Created: k.Created, Expires: k.Expires, Used: k.Used}
	for _, a := range k.Addresses {
		of.Addresses = append(of.Addresses, a.String())
	}
	return of
}

func signingOfUser(s apikey.SigningKey) identity.SigningKey {
	return identity.SigningKey{ID: s.ID, Algorithm: string(s.Algorithm), Created: s.Created, Expires: s.Expires}
}

// userGrants hands what users let OAuth clients do to the account service.
type userGrants struct{ *oauth.Provider }

func (g userGrants) Grants(ctx context.Context, user string) ([]identity.Grant, error) {
	list, err := g.Provider.Grants(ctx, user)
	grants := make([]identity.Grant, 0, len(list))
	for _, one := range list {
		grants = append(grants, identity.Grant(one))
	}
	return grants, err
}

func (g userGrants) EndGrants(ctx context.Context, tx *store.Tx, user string) (int, error) {
	return g.EndClientsTx(ctx, tx, user)
}
