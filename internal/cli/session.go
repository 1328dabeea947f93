package cli

import (
	"fmt"
	"io"

	"sallyport.dev/internal/app"
)

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
