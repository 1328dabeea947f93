package cli

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"sallyport.dev/internal/app"
)

type userCmd struct {
	Bootstrap userBootstrapCmd `cmd:"" help:"Print the address at which the first administrator is made, once; ends the one before."`
	Add       userAddCmd       `cmd:"" help:"Add a verified user."`
	Invite    userInviteCmd    `cmd:"" help:"Send somebody the letter with which they make an account."`
	Import    userImportCmd    `cmd:"" help:"Add the users of another system, with their password hashes: exit 1 when a row cannot be taken."`
	List      userListCmd      `cmd:"" help:"List the users, then who is invited."`
	Password  userPasswordCmd  `cmd:"" help:"Set a user's password; ends the user's sessions, API keys and what programs were granted."`
	Factors   userFactorsCmd   `cmd:"" name:"reset-factors" help:"Remove all second factors of a user who lost them; ends the user's sessions. The next login asks for a longer password, if theirs is too short to stand alone."`
	Disable   userDisableCmd   `cmd:"" help:"Disable a user; ends the user's sessions."`
	Enable    userEnableCmd    `cmd:"" help:"Enable a user again."`
	Remove    userRemoveCmd    `cmd:"" help:"Remove a user, with sessions and keys; or withdraw an open invitation."`
}

// passwordFlag reads a password from a file, so that it stands in no argument list.
type passwordFlag struct {
	PasswordFile string `required:"" help:"A file with the password as UTF-8, - for standard input; one line end at its end is dropped." placeholder:"FILE"`
}

const maxPasswordFile = 4096

func (p passwordFlag) read(e *env) (string, error) {
	in, name := e.stdin, "standard input"
	if p.PasswordFile != "-" {
		f, err := os.Open(p.PasswordFile)
		if err != nil {
			return "", fmt.Errorf("password file: %w", err)
		}
		defer f.Close()
		in, name = f, p.PasswordFile
	}
	b, err := io.ReadAll(io.LimitReader(in, maxPasswordFile+1))
	if err != nil {
		return "", fmt.Errorf("password file: %w", err)
	}
	password, err := passwordIn(b)
	if err != nil {
		return "", usage(fmt.Errorf("password file %s: %w", name, err))
	}
	return password, nil
}

// passwordIn returns the password of a file as it would be typed: without the
// byte order mark that some editors write, and one line end. What nobody could
// type into a form is refused, lest the account be closed to its owner.
func passwordIn(b []byte) (string, error) {
	text := strings.TrimPrefix(string(b), "\uFEFF")
	text = strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r")
	switch {
	case len(b) > maxPasswordFile:
		return "", errors.New("it is too large")
	case !utf8.ValidString(text) || strings.ContainsRune(text, utf8.RuneError):
		return "", errors.New("it is not UTF-8")
	case text == "":
		return "", errors.New("it is empty")
	case strings.ContainsFunc(text, unicode.IsControl):
		return "", errors.New("it holds more than one line, or a control character")
	}
	return text, nil
}

// userPath is the path of a user in the admin API, by e-mail or id.
func userPath(user, rest string) (string, error) {
	s, err := segment("user", user)
	return "/v1/users/" + s + rest, err
}

// onUser asks for an operation on a user that answers with nothing.
func (d dataFlag) onUser(e *env, method, user, rest string, in any) error {
	path, err := userPath(user, rest)
	if err != nil {
		return err
	}
	return d.client().do(e.ctx, method, path, in, nil)
}

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
	added := struct {
		ID    string `json:"id"`
		Email string `json:"email"`
	}{user.ID, user.Email}
	return c.print(e, added, func(w io.Writer) { fmt.Fprintf(w, "%s\t%s\n", user.ID, user.Email) })
}

type userListCmd struct {
	output
	dataFlag
}

func (c *userListCmd) Run(e *env) error {
	users, admin := []app.User{}, c.client()
	for page := (app.Users{}); ; {
		query := url.Values{"after": {page.Next}}
		page = app.Users{}
		if err := admin.ask(e.ctx, "GET", "/v1/users", query, nil, &page); err != nil {
			return err
		}
		if users = append(users, page.Users...); page.Next == "" {
			break
		}
	}
	invited, err := invitations(e, admin)
	if err != nil {
		return err
	}
	users = append(users, invited...)
	return c.print(e, users, func(w io.Writer) {
		fmt.Fprintln(w, "ID\tEMAIL\tROLES\tSTATE\tCREATED")
		for _, u := range users {
			state := "enabled"
			switch {
			case u.Invited != "":
				u.ID, state = "-", "invited"
			case u.Disabled:
				state = "disabled"
			case u.Deleting != "":
				state = "to be deleted"
			case !u.Verified:
				state = "unverified"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", u.ID, u.Email, strings.Join(u.Roles, ","), state, u.Created)
		}
	})
}

// invitations are the open ones, as users who have no id yet.
func invitations(e *env, admin *client) (list []app.User, err error) {
	for page := (app.Invitations{}); ; {
		query := url.Values{"after": {page.Next}}
		page = app.Invitations{}
		if err := admin.ask(e.ctx, "GET", "/v1/invitations", query, nil, &page); err != nil {
			return nil, err
		}
		for _, i := range page.Invitations {
			list = append(list, app.User{Email: i.Email, Roles: i.Roles, Created: i.Created, Invited: i.Expires})
		}
		if page.Next == "" {
			return list, nil
		}
	}
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
	return c.onUser(e, "PUT", c.User, "/password", app.NewPassword{Password: password})
}

type userDisableCmd struct {
	dataFlag
	User string `arg:"" help:"E-mail or id."`
}

func (c *userDisableCmd) Run(e *env) error {
	return c.onUser(e, "POST", c.User, "/disable", nil)
}

type userEnableCmd struct {
	dataFlag
	User string `arg:"" help:"E-mail or id."`
}

func (c *userEnableCmd) Run(e *env) error {
	return c.onUser(e, "POST", c.User, "/enable", nil)
}

type userFactorsCmd struct {
	dataFlag
	User string `arg:"" help:"E-mail or id."`
}

func (c *userFactorsCmd) Run(e *env) error {
	return c.onUser(e, "DELETE", c.User, "/factors", nil)
}

type userRemoveCmd struct {
	dataFlag
	User string `arg:"" help:"E-mail or id; of an invitation the e-mail."`
}

func (c *userRemoveCmd) Run(e *env) error {
	return c.onUser(e, "DELETE", c.User, "", nil)
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
	return c.onUser(e, "POST", c.User, "/roles/grant", app.Roles{Roles: c.Role})
}

type roleRevokeCmd struct {
	dataFlag
	User string   `arg:"" help:"E-mail or id."`
	Role []string `arg:"" help:"The roles."`
}

func (c *roleRevokeCmd) Run(e *env) error {
	return c.onUser(e, "POST", c.User, "/roles/revoke", app.Roles{Roles: c.Role})
}
