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
	Name    string   `arg:"" help:"The key's name."`
	Scope   []string `required:"" help:"A scope; may be given several times. A key without one would reach nothing." sep:"none" placeholder:"SCOPE"`
	Expires lifetime `help:"The key's life, such as 90d." default:"365d" placeholder:"DURATION"`
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
	keys, admin := []app.Key{}, c.client()
	for page := (app.Keys{}); ; {
		query := url.Values{"after": {page.Next}}
		page = app.Keys{}
		if err := admin.ask(e.ctx, "GET", "/v1/keys", query, nil, &page); err != nil {
			return err
		}
		if keys = append(keys, page.Keys...); page.Next == "" {
			break
		}
	}
	return c.print(e, keys, func(w io.Writer) {
		fmt.Fprintln(w, "ID\tNAME\tSCOPES\tEXPIRES\tLAST USED")
		for _, k := range keys {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", k.ID, k.Name, strings.Join(k.Scopes, ","), k.Expires, k.LastUsed)
		}
	})
}

// keyPath is the path of a key in the admin API, by name or id.
func keyPath(key, rest string) (string, error) {
	s, err := segment("key", key)
	return "/v1/keys/" + s + rest, err
}

type keyRotateCmd struct {
	output
	dataFlag
	Key     string   `arg:"" help:"Name or id."`
	Overlap lifetime `help:"How long the old secret lives on; 0s: it ends now." default:"24h" placeholder:"DURATION"`
}

func (c *keyRotateCmd) Run(e *env) error {
	path, err := keyPath(c.Key, "/rotate")
	if err != nil {
		return err
	}
	var key app.CreatedKey
	if err := c.client().do(e.ctx, "POST", path, app.RotateKey{Overlap: c.Overlap.String()}, &key); err != nil {
		return err
	}
	return c.print(e, key, func(w io.Writer) { fmt.Fprintf(w, "%s\t%s\n", key.ID, key.Key) })
}

type keyRevokeCmd struct {
	dataFlag
	Key string `arg:"" help:"Name or id."`
}

func (c *keyRevokeCmd) Run(e *env) error {
	path, err := keyPath(c.Key, "")
	if err != nil {
		return err
	}
	return c.client().do(e.ctx, "DELETE", path, nil, nil)
}

// lifetime is a duration as the map or Go writes it.
type lifetime struct{ time.Duration }

// UnmarshalText implements encoding.TextUnmarshaler, for flags.
func (l *lifetime) UnmarshalText(text []byte) (err error) {
	l.Duration, err = app.Duration(string(text))
	return err
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
	path, err := userPath(c.User, "/sessions")
	if err != nil {
		return err
	}
	var sessions []app.Session
	if err := c.client().do(e.ctx, "GET", path, nil, &sessions); err != nil {
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
	User string  `arg:"" help:"E-mail or id."`
	ID   *string `arg:"" optional:"" help:"The session's id; without it all of the user's sessions end."`
}

func (c *sessionRevokeCmd) Run(e *env) error {
	rest := "/sessions"
	if c.ID != nil { // one that is empty is a mistake, and not all of them
		id, err := segment("session", *c.ID)
		if err != nil {
			return err
		}
		rest += "/" + id
	}
	return c.onUser(e, "DELETE", c.User, rest, nil)
}
