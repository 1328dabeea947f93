package cli

import (
	"cmp"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"sallyport.dev/internal/app"
)

type keyCmd struct {
	Create keyCreateCmd `cmd:"" help:"Create an API key of a service account; the secret is printed once."`
	List   keyListCmd   `cmd:"" help:"List the API keys, those of users too."`
	Show   keyShowCmd   `cmd:"" help:"Show an API key, its secrets' lives and the keys it signs requests with."`
	Rotate keyRotateCmd `cmd:"" help:"Make a new secret for a key's name; the old one lives on for an overlap."`
	Revoke keyRevokeCmd `cmd:"" help:"Revoke a key, with effect on the very next request."`
	Check  keyCheckCmd  `cmd:"" help:"Tell whether a text that was found is a credential of Sallyport: exit 0 well-formed (and live, when the zone is asked), 1 not."`
	Sign   keySignCmd   `cmd:"" help:"Give an API key a key to sign requests with: a public key of yours, or a secret that is made and printed once."`
	Unsign keyUnsignCmd `cmd:"" help:"Take a signing key from an API key, with effect on the very next request."`
}

type keyCreateCmd struct {
	output
	dataFlag
	Name    string   `arg:"" help:"The key's name."`
	Scope   []string `required:"" help:"A scope; may be given several times. A key without one would reach nothing." sep:"none" placeholder:"SCOPE"`
	Role    []string `help:"A role; may be given several times." sep:"none" placeholder:"ROLE"`
	Expires lifetime `help:"The key's life, such as 90d." default:"365d" placeholder:"DURATION"`
	Address []string `help:"An address or prefix from which alone the key is taken, such as 192.0.2.0/24; may be given several times." sep:"none" placeholder:"CIDR"`
	Contact string   `help:"An e-mail address that is told 14 and 3 days before the key ends." placeholder:"EMAIL"`
}

func (c *keyCreateCmd) Run(e *env) error {
	var key app.CreatedKey
	in := app.NewKey{Name: c.Name, Scopes: c.Scope, Roles: c.Role, Addresses: c.Address, Contact: c.Contact, Life: c.Expires.String()}
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
		fmt.Fprintln(w, "ID\tNAME\tSCOPES\tOWNER\tEXPIRES\tLAST USED")
		for _, k := range keys {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.Name, strings.Join(k.Scopes, ","), ownerOf(k.Owner), k.Expires, k.LastUsed)
		}
	})
}

// ownerOf is whose key it is: a user's id, or nobody's.
func ownerOf(user string) string { return cmp.Or(user, "service account") }

// keyPath is the path of a key in the admin API, by name or id.
func keyPath(key, rest string) (string, error) {
	s, err := segment("key", key)
	return "/v1/keys/" + s + rest, err
}

type keyShowCmd struct {
	output
	dataFlag
	Key string `arg:"" help:"Name or id; keys of users go by their ids."`
}

func (c *keyShowCmd) Run(e *env) error {
	path, err := keyPath(c.Key, "")
	if err != nil {
		return err
	}
	var k app.KeyDetail
	if err := c.client().do(e.ctx, "GET", path, nil, &k); err != nil {
		return err
	}
	return c.print(e, k, func(w io.Writer) {
		for _, line := range [][2]string{
			{"id", k.ID}, {"name", k.Name}, {"owner", ownerOf(k.Owner)}, {"contact", k.Contact},
			{"scopes", strings.Join(k.Scopes, ",")}, {"roles", strings.Join(k.Roles, ",")},
			{"addresses", cmp.Or(strings.Join(k.Addresses, ","), "any")},
			{"created", k.Created}, {"expires", cmp.Or(k.Expires, "never")}, {"last used", cmp.Or(k.LastUsed, "never")},
		} {
			fmt.Fprintf(w, "%s\t%s\n", line[0], line[1])
		}
		for _, s := range k.Secrets {
			fmt.Fprintf(w, "secret\tmade %s, ends %s\n", s.Created, cmp.Or(s.Expires, "with the key"))
		}
		for _, s := range k.Signing {
			fmt.Fprintf(w, "signs with\t%s %s, ends %s, last used %s\n", s.ID, s.Algorithm, cmp.Or(s.Expires, "with the key"), cmp.Or(s.LastUsed, "never"))
		}
	})
}

type keyRotateCmd struct {
	output
	dataFlag
	Key     string    `arg:"" help:"Name or id."`
	Overlap lifetime  `help:"How long the old secret lives on; 0s: it ends now." default:"24h" placeholder:"DURATION"`
	Expires *lifetime `help:"The key's life from now on, such as 90d; without it the key ends when it would have." placeholder:"DURATION"`
}

func (c *keyRotateCmd) Run(e *env) error {
	path, err := keyPath(c.Key, "/rotate")
	if err != nil {
		return err
	}
	in := app.RotateKey{Overlap: c.Overlap.String()}
	if c.Expires != nil {
		in.Life = c.Expires.String()
	}
	var key app.CreatedKey
	if err := c.client().do(e.ctx, "POST", path, in, &key); err != nil {
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
