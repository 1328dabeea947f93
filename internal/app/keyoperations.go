package app

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"time"

	"sallyport.dev/internal/apikey"
	"sallyport.dev/internal/problem"
)

// keyLife is the life of a key for which none was asked.
const keyLife = 365 * 24 * time.Hour

// keyRoutes are what administrators do to API keys. {key} is the id of any, or
// the name of a service account.
func (a *administration) keyRoutes(s *adminSocket) {
	s.handle("POST /v1/keys", a.createKey)
	s.handle("GET /v1/keys", a.listKeys)
	s.handle("GET /v1/keys/{key}", a.onKey(a.showKey))
	s.handle("DELETE /v1/keys/{key}", a.onKey(func(ctx context.Context, _ *http.Request, k apikey.Key) (any, error) {
		return nil, a.keys.Revoke(ctx, k.ID)
	}))
	s.handle("POST /v1/keys/{key}/rotate", a.onKey(a.rotateKey))
	s.handle("POST /v1/keys/{key}/signing", a.onKey(a.addSigningKey))
	s.handle("DELETE /v1/keys/{key}/signing/{id}", a.onKey(func(ctx context.Context, r *http.Request, k apikey.Key) (any, error) {
		return nil, a.keys.RemoveSigning(ctx, k.ID, r.PathValue("id"))
	}))
	s.handle("POST /v1/key-check", a.checkKey)
}

// onKey is an operation on the key of the path.
func (a *administration) onKey(do func(ctx context.Context, r *http.Request, k apikey.Key) (any, error)) operation {
	return func(ctx context.Context, r *http.Request) (any, error) {
		k, err := a.keys.Find(ctx, r.PathValue("key"))
		if err != nil {
			return nil, err
		}
		return do(ctx, r, k)
	}
}

func (a *administration) createKey(ctx context.Context, r *http.Request) (any, error) {
	var in NewKey
	if err := decodeBody(r, &in); err != nil {
		return nil, err
	}
	life, err := lifetime(in.Life, "life")
	if err != nil {
		return nil, err
	}
	if in.Life == "" {
		life = keyLife
	}
	k, secret, err := a.keys.Create(ctx, apikey.NewKey{
		Name: in.Name, Scopes: in.Scopes, Roles: in.Roles, Addresses: in.Addresses, Contact: in.Contact, Expires: a.clock().Add(life),
	})
	if err != nil {
		return nil, err
	}
	return CreatedKey{ID: k.ID, Key: string(secret)}, nil
}

func (a *administration) rotateKey(ctx context.Context, r *http.Request, k apikey.Key) (any, error) {
	var in RotateKey
	if err := decodeBody(r, &in); err != nil {
		return nil, err
	}
	overlap, err := lifetime(in.Overlap, "overlap")
	if err != nil {
		return nil, err
	}
	ends, err := a.endOf(in.Life)
	if err != nil {
		return nil, err
	}
	k, secret, err := a.keys.Rotate(ctx, k.ID, apikey.Rotation{Overlap: overlap, Expires: ends})
	if err != nil {
		return nil, err
	}
	return CreatedKey{ID: k.ID, Key: string(secret)}, nil
}

// endOf is when a life that begins now ends; the zero time when none is written.
func (a *administration) endOf(life string) (time.Time, error) {
	d, err := lifetime(life, "life")
	if err != nil || life == "" {
		return time.Time{}, err
	}
	return a.clock().Add(d), nil
}

// listKeys answers with the live keys of a page, in the order of their ids, that
// starts after the id of the parameter after.
func (a *administration) listKeys(ctx context.Context, r *http.Request) (any, error) {
	keys, err := a.keys.List(ctx, r.URL.Query().Get("after"), pageSize)
	if err != nil {
		return nil, err
	}
	page := Keys{Keys: []Key{}}
	for _, k := range keys {
		if k.Live(a.clock()) {
			page.Keys = append(page.Keys, keyOf(k))
		}
	}
	if len(keys) == pageSize {
		page.Next = keys[pageSize-1].ID
	}
	return page, nil
}

func (a *administration) showKey(ctx context.Context, _ *http.Request, k apikey.Key) (any, error) {
	secrets, err := a.keys.Secrets(ctx, k.ID)
	if err != nil {
		return nil, err
	}
	signing, err := a.keys.Signing(ctx, k)
	if err != nil {
		return nil, err
	}
	detail := KeyDetail{Key: keyOf(k), Secrets: []KeySecret{}, Signing: []SigningKey{}}
	for _, s := range secrets {
		detail.Secrets = append(detail.Secrets, KeySecret{Created: stamp(s.Created), Expires: stamp(s.Expires)})
	}
	for _, s := range signing {
		detail.Signing = append(detail.Signing, SigningKey{
			ID: s.ID, Algorithm: string(s.Algorithm), Public: base64.StdEncoding.EncodeToString(s.Public),
			Created: stamp(s.Created), Expires: stamp(s.Expires), LastUsed: stamp(s.Used),
		})
	}
	return detail, nil
}

func (a *administration) addSigningKey(ctx context.Context, r *http.Request, k apikey.Key) (any, error) {
	var in NewSigningKey
	if err := decodeBody(r, &in); err != nil {
		return nil, err
	}
	ends, err := a.endOf(in.Life)
	if err != nil {
		return nil, err
	}
	switch {
	case in.Algorithm == string(apikey.Ed25519):
		public, err := apikey.ParsePublicKey(in.Public)
		if err != nil {
			return nil, problem.WithDetail(problem.AdminInvalid, "public: "+err.Error())
		}
		s, err := a.keys.AddSigning(ctx, k.ID, public, ends)
		if err != nil {
			return nil, err
		}
		return CreatedSigningKey{ID: s.ID, Algorithm: in.Algorithm}, nil
	case in.Algorithm == string(apikey.HMACSHA256) && in.Public == "":
		s, secret, err := a.keys.NewHMAC(ctx, k.ID, ends)
		if err != nil {
			return nil, err
		}
		return CreatedSigningKey{ID: s.ID, Algorithm: in.Algorithm, Secret: string(secret)}, nil
	}
	return nil, problem.WithDetail(problem.AdminInvalid, "algorithm: want ed25519 with a public key, or hmac-sha256 without")
}

// checkKey tells how it stands with a text that was found somewhere.
func (a *administration) checkKey(ctx context.Context, r *http.Request) (any, error) {
	var in CheckKey
	if err := decodeBody(r, &in); err != nil {
		return nil, err
	}
	hash, err := hex.DecodeString(in.Hash)
	if err != nil || len(hash) != 32 {
		return nil, problem.WithDetail(problem.AdminInvalid, "hash: want SHA-256 in hexadecimal")
	}
	s, err := a.keys.Standing(ctx, [32]byte(hash))
	switch {
	case problem.ReasonOf(err) == problem.AuthInvalid:
		return CheckedKey{State: "unknown"}, nil
	case err != nil:
		return nil, err
	}
	state := "live"
	switch s.Reason {
	case problem.AuthRevoked:
		state = "revoked"
	case problem.AuthExpired:
		state = "expired"
	}
	return CheckedKey{State: state, ID: s.Key.ID, Name: s.Key.Name, Owner: s.Key.Owner, Expires: stamp(s.Until)}, nil
}

// keyOf is an API key as the admin API shows it.
func keyOf(k apikey.Key) Key {
	addresses := make([]string, len(k.Addresses))
	for i, p := range k.Addresses {
		addresses[i] = p.String()
	}
	return Key{
		ID: k.ID, Name: k.Name, Owner: k.Owner, Scopes: k.Scopes, Roles: k.Roles, Addresses: addresses, Contact: k.Contact,
		Created: stamp(k.Created), Expires: stamp(k.Expires), LastUsed: stamp(k.Used),
	}
}
