package cli

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"sallyport.dev/internal/app"
)

type oauthClientCmd struct {
	Add    oauthClientAddCmd    `cmd:"" help:"Add an OAuth client; its secret, if it has one, is printed once."`
	List   oauthClientListCmd   `cmd:"" help:"List the OAuth clients, of the map and of this command."`
	Rotate oauthClientRotateCmd `cmd:"" help:"Make a new secret for a client; the old one lives on for an overlap."`
	Remove oauthClientRemoveCmd `cmd:"" help:"Remove a client that was added here; its tokens end."`
}

type oauthClientAddCmd struct {
	output
	dataFlag
	ID                string   `arg:"" help:"The client_id: letters, digits and . _ -."`
	Title             string   `help:"What users read when they are asked; without it the id." placeholder:"TEXT"`
	Public            bool     `help:"The client can keep no secret: a program in a browser or on a phone."`
	RedirectURI       []string `help:"Where answers may go, compared as strings; may be given several times." sep:"none" placeholder:"URL"`
	LogoutURI         []string `help:"Where a logout may lead; may be given several times." sep:"none" placeholder:"URL"`
	BackchannelLogout string   `help:"Is told when a user logs out." placeholder:"URL"`
	Scope             []string `help:"A scope that it may ask for; may be given several times." sep:"none" placeholder:"SCOPE"`
	Grant             []string `help:"How it gets tokens: authorization_code, refresh_token, client_credentials, device_code, token_exchange. Without it the first two with redirect URIs, else client_credentials." sep:"none" placeholder:"GRANT"`
	JWKS              string   `name:"jwks" help:"A JSON file of its public keys, with which it signs who it is, in place of a secret." placeholder:"FILE"`
	Certificate       string   `help:"The subject of its certificate, in place of a secret." placeholder:"SUBJECT"`
	AccessToken       string   `help:"The form of its access tokens: opaque or jwt." enum:"opaque,jwt" default:"opaque"`
	DPoP              bool     `name:"dpop" help:"Its tokens must be bound to a key of its own (RFC 9449)."`
	PAR               bool     `name:"par" help:"It must push its authorization requests (RFC 9126)."`
	NoConsent         bool     `help:"Users are not asked: a program of the zone's own."`
}

// maxJWKS bounds a file of keys, in bytes.
const maxJWKS = 32 << 10

func (c *oauthClientAddCmd) Run(e *env) error {
	in := app.NewOAuthClient{
		ID: c.ID, Title: c.Title, Kind: "confidential", RedirectURIs: c.RedirectURI, LogoutURIs: c.LogoutURI, BackchannelLogoutURI: c.BackchannelLogout,
		Scopes: c.Scope, Grants: c.Grant, Certificate: c.Certificate, AccessToken: c.AccessToken, DPoP: c.DPoP, PAR: c.PAR, Consent: !c.NoConsent,
	}
	if c.Public {
		in.Kind = "public"
	}
	if c.JWKS != "" {
		keys, err := readJWKS(c.JWKS)
		if err != nil {
			return err
		}
		in.JWKS = keys
	}
	var made app.CreatedOAuthClient
	if err := c.client().do(e.ctx, "POST", "/v1/clients", in, &made); err != nil {
		return err
	}
	return c.print(e, made, func(w io.Writer) { fmt.Fprintf(w, "%s\t%s\n", made.ID, cmp.Or(made.Secret, "no secret")) })
}

func readJWKS(name string) (json.RawMessage, error) {
	f, err := os.Open(name) // #nosec G304 -- the operator names the file
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxJWKS+1))
	switch {
	case err != nil:
		return nil, err
	case len(b) > maxJWKS || !json.Valid(b):
		return nil, usage(errors.New(name + " is not a JWK set of at most 32 KiB"))
	}
	return b, nil
}

type oauthClientListCmd struct {
	output
	dataFlag
}

func (c *oauthClientListCmd) Run(e *env) error {
	var all app.OAuthClients
	if err := c.client().do(e.ctx, "GET", "/v1/clients", nil, &all); err != nil {
		return err
	}
	return c.print(e, all.Clients, func(w io.Writer) {
		fmt.Fprintln(w, "ID\tKIND\tSHOWS ITSELF BY\tGRANTS\tSCOPES\tFROM")
		for _, k := range all.Clients {
			from := "map"
			if !k.OfMap {
				from = k.Created
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.Kind, k.Method, strings.Join(k.Grants, ","), strings.Join(k.Scopes, ","), from)
		}
	})
}

// oauthClientPath is the path of a client in the admin API.
func oauthClientPath(id, rest string) (string, error) {
	s, err := segment("client", id)
	return "/v1/clients/" + s + rest, err
}

type oauthClientRotateCmd struct {
	output
	dataFlag
	ID      string   `arg:"" help:"The client_id."`
	Overlap lifetime `help:"How long the old secret lives on; 0s: it ends now." default:"24h" placeholder:"DURATION"`
}

func (c *oauthClientRotateCmd) Run(e *env) error {
	path, err := oauthClientPath(c.ID, "/rotate")
	if err != nil {
		return err
	}
	var made app.CreatedOAuthClient
	if err := c.client().do(e.ctx, "POST", path, app.RotateOAuthClient{Overlap: c.Overlap.String()}, &made); err != nil {
		return err
	}
	return c.print(e, made, func(w io.Writer) { fmt.Fprintf(w, "%s\t%s\n", made.ID, made.Secret) })
}

type oauthClientRemoveCmd struct {
	dataFlag
	ID string `arg:"" help:"The client_id."`
}

func (c *oauthClientRemoveCmd) Run(e *env) error {
	path, err := oauthClientPath(c.ID, "")
	if err != nil {
		return err
	}
	return c.client().do(e.ctx, "DELETE", path, nil, nil)
}
