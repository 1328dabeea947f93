package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"sallyport.dev/internal/dpop"
	"sallyport.dev/internal/store"
	"sallyport.dev/zone"
)

// prefix is where all endpoints of the protocol are.
const prefix = "/oauth"

// Provider is the provider of a zone. It is safe for concurrent use, also by
// several processes on one database.
type Provider struct {
	Config
	db      *store.DB
	nonces  dpop.Nonces
	secret  []byte // of user codes and sids
	state   atomic.Pointer[state]
	origins atomic.Pointer[origins]
}

// state is what one map says. It is replaced whole.
type state struct {
	library   http.Handler
	clients   map[string]*client // of the map
	scopes    []string           // that anybody may ask for, sorted
	discovery []byte
}

// New returns a provider of the clients and scopes of a map.
func New(ctx context.Context, cfg Config) (*Provider, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	p := &Provider{Config: cfg, db: cfg.DB}
	secret, err := cfg.Root.Secret(ctx, cfg.DB, "oauth-codes", 32)
	if err != nil {
		return nil, fmt.Errorf("oauth: %w", err)
	}
	p.secret = secret
	nonce, err := cfg.Root.Secret(ctx, cfg.DB, "oauth-dpop-nonce", 32)
	if err != nil {
		return nil, fmt.Errorf("oauth: %w", err)
	}
	p.nonces = dpop.NewNonces(nonce)
	if err := p.Reload(cfg.Zone); err != nil {
		return nil, err
	}
	return p, nil
}

// Reload puts another map in force, or leaves the one that is and says why. What
// clients were granted that it has no more ends.
// Requests under way end under the map with which they began.
func (p *Provider) Reload(z *zone.Zone) error {
	clients, err := p.ofMap(z)
	if err != nil {
		return err
	}
	st := &state{clients: clients, scopes: scopesOf(z)}
	if st.library, err = p.newLibrary(st); err != nil {
		return fmt.Errorf("oauth: %w", err)
	}
	if st.discovery, err = p.metadata(st); err != nil {
		return fmt.Errorf("oauth: %w", err)
	}
	p.keepMapClients(p.state.Swap(st))
	return nil
}

// scopesOf are the scopes that a map knows: those of OpenID Connect, of routes, of
// clients.
func scopesOf(z *zone.Zone) []string {
	all := []string{scopeOpenID, "profile", "email", scopeOffline}
	for _, s := range z.Services {
		for _, r := range s.Routes {
			all = append(all, r.Scopes...)
		}
	}
	for _, c := range z.Identity.Clients {
		all = append(all, c.Scopes...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// now is the time as it is kept: to the microsecond.
func (p *Provider) now() time.Time { return p.Clock().Truncate(time.Microsecond) }

// Nonces are those that resources give out and take of DPoP proofs as well.
func (p *Provider) Nonces() dpop.Nonces { return p.nonces }

// UseProof takes the id of a proof that was verified: false when it was used
// before. For resources, which check proofs themselves.
func (p *Provider) UseProof(ctx context.Context, proof dpop.Proof) (bool, error) {
	return p.Values.SetNX(ctx, "oauth/dpop/"+b64(hashOf(proof.JKT+" "+proof.ID)), dpop.Lifetime+time.Minute)
}

var errUnknown = errors.New("oauth: unknown")

// fields splits what is separated by spaces.
func fields(s string) []string { return strings.Fields(s) }
