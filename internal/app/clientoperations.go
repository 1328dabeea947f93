package app

import (
	"context"
	"encoding/json"
	"net/http"

	"sallyport.dev/internal/oauth"
	"sallyport.dev/zone"
)

// NewOAuthClient is the body of POST /v1/clients: what the map says of a client, in
// the same words. JWKS is the set itself.
type NewOAuthClient struct {
	ID                   string          `json:"id"`
	Title                string          `json:"title"`
	Kind                 string          `json:"kind"`
	RedirectURIs         []string        `json:"redirect_uris"`
	LogoutURIs           []string        `json:"logout_uris"`
	BackchannelLogoutURI string          `json:"backchannel_logout_uri"`
	Scopes               []string        `json:"scopes"`
	Grants               []string        `json:"grants"`
	JWKS                 json.RawMessage `json:"jwks,omitempty"`
	Certificate          string          `json:"certificate"`
	AccessToken          string          `json:"access_token"` // opaque, jwt
	DPoP                 bool            `json:"dpop"`
	PAR                  bool            `json:"par"`
	Consent              bool            `json:"consent"`
}

// CreatedOAuthClient holds the secret of a client, which is shown this once; empty
// for one that has none.
type CreatedOAuthClient struct {
	ID     string `json:"id"`
	Secret string `json:"secret"`
}

// OAuthClient is one client without its secret.
type OAuthClient struct {
	ID           string   `json:"id"`
	Title        string   `json:"title"`
	Kind         string   `json:"kind"`
	Method       string   `json:"method"` // how it shows who it is
	RedirectURIs []string `json:"redirect_uris"`
	Scopes       []string `json:"scopes"`
	Grants       []string `json:"grants"`
	OfMap        bool     `json:"of_map"` // else added by the command line
	Created      string   `json:"created"`
}

// OAuthClients is the answer to GET /v1/clients.
type OAuthClients struct {
	Clients []OAuthClient `json:"clients"`
}

// RotateOAuthClient is the body of POST /v1/clients/{id}/rotate. Overlap is a Duration.
type RotateOAuthClient struct {
	Overlap string `json:"overlap"`
}

// clientAdministration is what administrators do to OAuth clients.
type clientAdministration struct{ openID *oauth.Provider }

func (a clientAdministration) routes(s *adminSocket) {
	s.handle("POST /v1/clients", a.add)
	s.handle("GET /v1/clients", a.list)
	s.handle("POST /v1/clients/{id}/rotate", a.rotate)
	s.handle("DELETE /v1/clients/{id}", func(ctx context.Context, r *http.Request) (any, error) {
		return nil, a.openID.RemoveClient(ctx, r.PathValue("id"))
	})
}

func (a clientAdministration) add(ctx context.Context, r *http.Request) (any, error) {
	var in NewOAuthClient
	if err := decodeBody(r, &in); err != nil {
		return nil, err
	}
	secret, err := a.openID.AddClient(ctx, oauth.NewClient{Keys: in.JWKS, Client: zone.Client{
		ID: in.ID, Title: in.Title, Kind: in.Kind, RedirectURIs: in.RedirectURIs, LogoutURIs: in.LogoutURIs, BackchannelLogoutURI: in.BackchannelLogoutURI,
		Scopes: in.Scopes, Grants: in.Grants, Certificate: in.Certificate, JWTTokens: in.AccessToken == "jwt", DPoP: in.DPoP, PAR: in.PAR, Consent: in.Consent,
	}})
	if err != nil {
		return nil, err
	}
	return CreatedOAuthClient{ID: in.ID, Secret: secret}, nil
}

func (a clientAdministration) list(ctx context.Context, _ *http.Request) (any, error) {
	all, err := a.openID.Clients(ctx)
	if err != nil {
		return nil, err
	}
	answer := OAuthClients{Clients: make([]OAuthClient, 0, len(all))}
	for _, c := range all {
		grants := []string{}
		for _, g := range zone.Grants() {
			if c.Allows(g) {
				grants = append(grants, g)
			}
		}
		answer.Clients = append(answer.Clients, OAuthClient{
			ID: c.ID, Title: c.Title, Kind: c.Kind, Method: c.Method, RedirectURIs: append([]string{}, c.RedirectURIs...),
			Scopes: append([]string{}, c.Scopes...), Grants: grants, OfMap: c.OfMap, Created: stamp(c.Created),
		})
	}
	return answer, nil
}

func (a clientAdministration) rotate(ctx context.Context, r *http.Request) (any, error) {
	var in RotateOAuthClient
	if err := decodeBody(r, &in); err != nil {
		return nil, err
	}
	overlap, err := lifetime(in.Overlap, "overlap")
	if err != nil {
		return nil, err
	}
	id := r.PathValue("id")
	secret, err := a.openID.RotateSecret(ctx, id, overlap)
	if err != nil {
		return nil, err
	}
	return CreatedOAuthClient{ID: id, Secret: secret}, nil
}
