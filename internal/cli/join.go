package cli

import (
	"errors"
	"fmt"
	"io"

	"sallyport.dev/internal/app"
)

type joinCmd struct {
	output
	dataFlag
	Service string `arg:"" optional:"" help:"The service of the map that is to join."`
	List    bool   `help:"List the join tokens of the last minutes, without their secrets."`
	Revoke  string `help:"Revoke the join token with this id." placeholder:"ID"`
}

func (c *joinCmd) Run(e *env) error {
	asked := 0
	for _, is := range []bool{c.Service != "", c.List, c.Revoke != ""} {
		if is {
			asked++
		}
	}
	if asked != 1 {
		return usage(errors.New("join: name a service, or one of --list and --revoke ID"))
	}
	switch {
	case c.List:
		return c.list(e)
	case c.Revoke != "":
		id, err := segment("join token", c.Revoke)
		if err != nil {
			return err
		}
		return c.client().do(e.ctx, "DELETE", "/v1/join/"+id, nil, nil)
	}
	var made app.CreatedJoin
	if err := c.client().do(e.ctx, "POST", "/v1/join", app.NewJoin{Service: c.Service}, &made); err != nil {
		return err
	}
	return c.print(e, made, func(w io.Writer) { fmt.Fprintln(w, made.Token) })
}

func (c *joinCmd) list(e *env) error {
	var list []app.Join
	if err := c.client().do(e.ctx, "GET", "/v1/join", nil, &list); err != nil {
		return err
	}
	return c.print(e, list, func(w io.Writer) {
		fmt.Fprintln(w, "ID\tSERVICE\tCREATED\tEXPIRES\tSPENT\tTRIES")
		for _, j := range list {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\n", j.ID, j.Service, j.Created, j.Expires, j.Spent, j.Tries)
		}
	})
}
