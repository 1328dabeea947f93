package cli

import (
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"sallyport.dev/internal/app"
)

type keyCmd struct {
	Create keyCreateCmd `cmd:"" help:"Create an API key; the secret is printed once."`
	List   keyListCmd   `cmd:"" help:"List the API keys."`
	Rotate keyRotateCmd `cmd:"" help:"Make a new secret for a key's name; the old one lives on for an overlap."`
	Revoke keyRevokeCmd `cmd:"" help:"Revoke a key, with effect on the very next request."`
}

type keyCreateCmd struct {
	output
	dataFlag
	Name    string        `arg:"" help:"The key's name."`
	Scope   []string      `help:"A scope; may be given several times." sep:"none" placeholder:"SCOPE"`
	Expires time.Duration `help:"The key's life; 0 is a year." placeholder:"DURATION"`
}

func (c *keyCreateCmd) Run(e *env) error {
	var key app.CreatedKey
	in := app.NewKey{Name: c.Name, Scopes: c.Scope, Life: c.Expires.String()}
	if err := c.client().do(e.ctx, "POST", "/v1/keys", in, &key); err != nil {
		return err
	}
	return c.print(e, key, func(w io.Writer) { fmt.Fprintf(w, "%s\t%s\n", key.ID, key.Key) })
}

type keyListCmd struct {
	output
	dataFlag
}

func (c *keyListCmd) Run(e *env) error {
	var keys []app.Key
	if err := c.client().do(e.ctx, "GET", "/v1/keys", nil, &keys); err != nil {
		return err
	}
	return c.print(e, keys, func(w io.Writer) {
		fmt.Fprintln(w, "ID\tNAME\tSCOPES\tEXPIRES\tLAST USED")
		for _, k := range keys {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", k.ID, k.Name, strings.Join(k.Scopes, ","), k.Expires, k.LastUsed)
		}
	})
}

type keyRotateCmd struct {
	output
	dataFlag
	ID      string        `arg:"" help:"The key's id."`
	Overlap time.Duration `help:"How long the old secret lives on." default:"24h" placeholder:"DURATION"`
}

func (c *keyRotateCmd) Run(e *env) error {
	var key app.CreatedKey
	in := app.RotateKey{Overlap: c.Overlap.String()}
	if err := c.client().do(e.ctx, "POST", "/v1/keys/"+url.PathEscape(c.ID)+"/rotate", in, &key); err != nil {
		return err
	}
	return c.print(e, key, func(w io.Writer) { fmt.Fprintf(w, "%s\t%s\n", key.ID, key.Key) })
}

type keyRevokeCmd struct {
	dataFlag
	ID string `arg:"" help:"The key's id."`
}

func (c *keyRevokeCmd) Run(e *env) error {
	return c.client().do(e.ctx, "DELETE", "/v1/keys/"+url.PathEscape(c.ID), nil, nil)
}

type sessionCmd struct {
	List   sessionListCmd   `cmd:"" help:"List a user's sessions."`
	Revoke sessionRevokeCmd `cmd:"" help:"Revoke a user's session, or all of them, with effect on the very next request."`
}

type sessionListCmd struct {
	output
	dataFlag
	User string `arg:"" help:"E-mail or id."`
}

func (c *sessionListCmd) Run(e *env) error {
	var sessions []app.Session
	if err := c.client().do(e.ctx, "GET", userPath(c.User, "/sessions"), nil, &sessions); err != nil {
		return err
	}
	return c.print(e, sessions, func(w io.Writer) {
		fmt.Fprintln(w, "ID\tCREATED\tLAST USED\tEXPIRES\tCLIENT")
		for _, s := range sessions {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", s.ID, s.Created, s.LastUsed, s.Expires, s.Client)
		}
	})
}

type sessionRevokeCmd struct {
	dataFlag
	User string `arg:"" help:"E-mail or id."`
	ID   string `arg:"" optional:"" help:"The session's id; without it all of the user's sessions end."`
}

func (c *sessionRevokeCmd) Run(e *env) error {
	path := userPath(c.User, "/sessions")
	if c.ID != "" {
		path += "/" + url.PathEscape(c.ID)
	}
	return c.client().do(e.ctx, "DELETE", path, nil, nil)
}
