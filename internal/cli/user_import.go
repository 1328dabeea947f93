package cli

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"sallyport.dev/internal/app"
)

type userInviteCmd struct {
	dataFlag
	Email string   `arg:"" help:"The e-mail address."`
	Role  []string `help:"A role that the account will have; may be given several times." sep:"none" placeholder:"ROLE"`
}

func (c *userInviteCmd) Run(e *env) error {
	return c.client().do(e.ctx, "POST", "/v1/invitations", app.Invitation{Email: c.Email, Roles: c.Role}, nil)
}

type userImportCmd struct {
	output
	dataFlag
	File        string `arg:"" help:"The file, - for standard input: CSV whose first line names the columns, or an object a line. Columns: email, password (the hash), name, roles, verified, created."`
	As          string `enum:"auto,csv,json" default:"auto" help:"How the file is written: auto (by its name), csv, json." placeholder:"FORMAT"`
	DryRun      bool   `help:"Check every row and store none."`
	SkipInvalid bool   `help:"Store the rows that can be taken; without it all are stored or none."`
}

// importTime is how long the zone may take over a file.
const importTime = 30 * time.Minute

// form is how the file is written.
func (c *userImportCmd) form() (string, error) {
	if c.As != "auto" {
		return c.As, nil
	}
	switch strings.ToLower(filepath.Ext(c.File)) {
	case ".csv":
		return "csv", nil
	case ".json", ".jsonl", ".ndjson":
		return "json", nil
	}
	return "", usage(fmt.Errorf("%s: say how it is written with --as csv or --as json", c.File))
}

func (c *userImportCmd) Run(e *env) error {
	form, err := c.form()
	if err != nil {
		return err
	}
	in := e.stdin
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	query := url.Values{"format": {form}, "dry_run": {strconv.FormatBool(c.DryRun)}, "skip_invalid": {strconv.FormatBool(c.SkipInvalid)}}
	admin := c.client()
	if t, ok := admin.http.Transport.(*http.Transport); ok {
		t.ResponseHeaderTimeout = importTime
	}
	var report app.Imported
	if err := admin.upload(e.ctx, "/v1/users/import", query, in, &report); err != nil {
		return err
	}
	if err := c.print(e, report, func(w io.Writer) { c.tell(w, report) }); err != nil {
		return err
	}
	if report.Invalid > 0 && !c.SkipInvalid {
		return no(errors.New("no user was stored: mend the rows, or use --skip-invalid"))
	}
	return nil
}

func (c *userImportCmd) tell(w io.Writer, report app.Imported) {
	for _, f := range report.Faults {
		fmt.Fprintf(w, "line %d: %s\n", f.Line, f.Text)
	}
	if more := report.Invalid - len(report.Faults); more > 0 {
		fmt.Fprintf(w, "and %d more\n", more)
	}
	for _, name := range slices.Sorted(maps.Keys(report.Formats)) {
		fmt.Fprintf(w, "%s\t%d\n", name, report.Formats[name])
	}
	verb := "added"
	if c.DryRun {
		verb = "would be added"
	}
	fmt.Fprintf(w, "%d rows, %d invalid, %d %s\n", report.Rows, report.Invalid, report.Added, verb)
}
