package bearer

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"

	"sallyport.dev/internal/outward"
	"sallyport.dev/zone"
)

// issuer is one provider with the keys that it has published.
type issuer struct {
	zone.Provider // immutable
	client        *outward.Client
	keys          *outward.Keys
	refusals      teller
}

func newIssuer(p zone.Provider, cfg *Config) (*issuer, error) {
	switch {
	case p.Name == "" || p.Issuer == "" || p.Audience == "":
		return nil, errors.New("no name, issuer or audience")
	case len(p.Algorithms) == 0:
		return nil, errors.New("no algorithms")
	}
	client, err := outward.NewClient(cmp.Or(p.JWKS, p.Issuer), outward.Options{CA: p.CA, Timeout: cfg.Timeout, Dial: cfg.Dial})
	if err != nil {
		return nil, err
	}
	i := &issuer{Provider: p, client: client}
	i.keys = outward.NewKeys(outward.KeysConfig{
		Algorithms: p.Algorithms, Fetch: i.fetchKeys, Clock: cfg.Clock, Log: cfg.Log.With(slog.String("provider", p.Name)),
		Refresh: cfg.Refresh, Keep: cfg.Keep, Timeout: cfg.Timeout, Scheduled: true,
	})
	return i, nil
}

// takeOver begins with the keys that were had of the same source.
func (i *issuer) takeOver(old *issuer) {
	if old == nil || old.Issuer != i.Issuer || old.JWKS != i.JWKS || old.CA != i.CA || !slices.Equal(old.Algorithms, i.Algorithms) {
		return
	}
	i.keys.TakeOver(old.keys.Document)
}

// run looks at the issuer's keys until ctx ends.
func (i *issuer) run(ctx context.Context) {
	defer i.client.HTTP().CloseIdleConnections()
	i.keys.Run(ctx)
}

// fetchKeys asks the issuer for its keys, as RFC 8414 and OpenID Connect
// Discovery 1.0 section 4 have it.
func (i *issuer) fetchKeys(ctx context.Context) ([]byte, error) {
	place := i.JWKS
	if place == "" {
		document, at, err := i.client.Discover(ctx, i.Issuer)
		if err != nil {
			return nil, err
		}
		if place, err = i.client.Endpoint(document, at, "jwks_uri"); err != nil {
			return nil, err
		}
	}
	data, _, err := i.client.Get(ctx, place, "Accept", "application/jwk-set+json, application/json")
	return data, err
}

// verify says by which keys the token is the issuer's.
func (i *issuer) verify(ctx context.Context, t *jwt) (*outward.KeySet, error) {
	signed, err := i.keys.Parse(t.value)
	if err != nil {
		return nil, refuse(i, "%w", err)
	}
	_, set, err := i.keys.Verify(ctx, signed)
	if errors.Is(err, outward.ErrSignature) {
		return nil, refuse(i, "%w", err)
	}
	return set, err
}
