package cli

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	"sallyport.dev/internal/app"
)

type userCmd struct {
	Add      userAddCmd      `cmd:"" help:"Add a verified user."`
	List     userListCmd     `cmd:"" help:"List the users."`
	Password userPasswordCmd `cmd:"" help:"Set a user's password; ends the user's sessions."`
	Disable  userDisableCmd  `cmd:"" help:"Disable a user; ends the user's sessions."`
	Enable   userEnableCmd   `cmd:"" help:"Enable a user again."`
	Remove   userRemoveCmd   `cmd:"" help:"Remove a user; ends the user's sessions."`
}

// passwordFlag reads a password from a file, so that it stands in no argument list.
type passwordFlag struct {
	PasswordFile string `required:"" help:"A file with the password, - for standard input; one line end at its end is dropped." placeholder:"FILE"`
}

const maxPasswordFile = 4096

func (p passwordFlag) read(e *env) (string, error) {
	in := e.stdin
	if p.PasswordFile != "-" {
		f, err := os.Open(p.PasswordFile)
		if err != nil {
			return "", err
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, maxPasswordFile+1))
	if err != nil {
		return "", err
	}
	if len(b) > maxPasswordFile {
		return "", usage(errors.New("the password file is too large"))
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r"), nil
}

// userPath is the path of a user in the admin API, by e-mail or id.
func userPath(user, rest string) string { return "/v1/users/" + url.PathEscape(user) + rest }

type userAddCmd struct {
	output
	dataFlag
	passwordFlag
	Email string   `arg:"" help:"The e-mail address."`
	Role  []string `help:"A role; may be given several times." sep:"none" placeholder:"ROLE"`
}

func (c *userAddCmd) Run(e *env) error {
	password, err := c.read(e)
	if err != nil {
		return err
	}
	var user app.User
	in := app.NewUser{Email: c.Email, Password: password, Roles: c.Role}
	if err := c.client().do(e.ctx, "POST", "/v1/users", in, &user); err != nil {
		return err
	}
	return c.print(e, user, func(w io.Writer) { fmt.Fprintf(w, "%s\t%s\n", user.ID, user.Email) })
}

type userListCmd struct {
	output
	dataFlag
}

func (c *userListCmd) Run(e *env) error {
	var users []app.User
	if err := c.client().do(e.ctx, "GET", "/v1/users", nil, &users); err != nil {
		return err
	}
	return c.print(e, users, func(w io.Writer) {
		fmt.Fprintln(w, "ID\tEMAIL\tROLES\tSTATE\tCREATED")
		for _, u := range users {
			state := "enabled"
			if u.Disabled {
				state = "disabled"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", u.ID, u.Email, strings.Join(u.Roles, ","), state, u.Created)
		}
	})
}

type userPasswordCmd struct {
	dataFlag
	passwordFlag
	User string `arg:"" help:"E-mail or id."`
}

func (c *userPasswordCmd) Run(e *env) error {
	password, err := c.read(e)
	if err != nil {
		return err
	}
	return c.client().do(e.ctx, "PUT", userPath(c.User, "/password"), app.NewPassword{Password: password}, nil)
}

type userDisableCmd struct {
	dataFlag
	User string `arg:"" help:"E-mail or id."`
}

func (c *userDisableCmd) Run(e *env) error {
	return c.client().do(e.ctx, "POST", userPath(c.User, "/disable"), nil, nil)
}

type userEnableCmd struct {
	dataFlag
	User string `arg:"" help:"E-mail or id."`
}

func (c *userEnableCmd) Run(e *env) error {
	return c.client().do(e.ctx, "POST", userPath(c.User, "/enable"), nil, nil)
}

type userRemoveCmd struct {
	dataFlag
	User string `arg:"" help:"E-mail or id."`
}

func (c *userRemoveCmd) Run(e *env) error {
	return c.client().do(e.ctx, "DELETE", userPath(c.User, ""), nil, nil)
}

type roleCmd struct {
	Grant  roleGrantCmd  `cmd:"" help:"Give a user roles."`
	Revoke roleRevokeCmd `cmd:"" help:"Take roles from a user, with effect on the very next request."`
}

type roleGrantCmd struct {
	dataFlag
	User string   `arg:"" help:"E-mail or id."`
	Role []string `arg:"" help:"The roles."`
}

func (c *roleGrantCmd) Run(e *env) error {
	return c.client().do(e.ctx, "POST", userPath(c.User, "/roles/grant"), app.Roles{Roles: c.Role}, nil)
}

type roleRevokeCmd struct {
	dataFlag
	User string   `arg:"" help:"E-mail or id."`
	Role []string `arg:"" help:"The roles."`
}

func (c *roleRevokeCmd) Run(e *env) error {
	return c.client().do(e.ctx, "POST", userPath(c.User, "/roles/revoke"), app.Roles{Roles: c.Role}, nil)
}
