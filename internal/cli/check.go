package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"sallyport.dev/internal/app"
	"sallyport.dev/zone"
)

// loadZone reads a map for a verb. A map that is wrong is a "no" with all its
// errors; one that cannot be read is a failure to run.
func loadZone(path string) (*zone.Zone, error) {
	z, err := zone.Load(path)
	if err == nil {
		err = app.CheckPaths(z)
	}
	if err == nil {
		return z, nil
	}
	var wrong *zone.Errors
	if errors.As(err, &wrong) {
		return nil, no(err)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w; write one with `sallyport init`", err)
	}
	return nil, err
}

type checkCmd struct {
	output
	Zone string `arg:"" help:"The map."`
}

// checked is what `check` prints.
type checked struct {
	Zone     string           `json:"zone"`
	Revision string           `json:"revision"`
	Access   []zone.AccessRow `json:"access"`
	Notices  []notice         `json:"notices"`
}

// notice is a zone.Notice as text.
type notice struct {
	Place  string `json:"place"`
	Path   string `json:"path"`
	Effect string `json:"effect"`
	Text   string `json:"text"`
}

func (c *checkCmd) Run(e *env) error {
	z, err := loadZone(c.Zone)
	if err != nil {
		return err
	}
	result := checked{Zone: z.Name, Revision: z.Revision, Access: z.Access(), Notices: notices(z)}
	return c.print(e, result, func(w io.Writer) {
		fmt.Fprintf(w, "%s: ok; services: %d; revision %.12s\n\n", z.Name, len(z.Services), z.Revision)
		fmt.Fprintln(w, "LISTENER\tROUTE\tSERVICE\tWHO\tLIMIT")
		for _, row := range result.Access {
			fmt.Fprintf(w, "%s\t%s %s\t%s\t%s\t%s\n", row.Listener, row.Method, row.Path, row.Service, row.Who, row.Limit)
		}
		if len(z.Identity.Providers) > 0 {
			fmt.Fprintln(w, "\nPROVIDER\tTAKES")
			for _, p := range z.Identity.Providers {
				fmt.Fprintf(w, "%s\t%s\n", p.Name, p)
			}
		}
		if len(result.Notices) > 0 {
			fmt.Fprintln(w)
		}
		for _, n := range result.Notices {
			fmt.Fprintf(w, "%s: %s: %s: %s\n", n.Place, n.Effect, n.Path, n.Text)
		}
	})
}

func notices(z *zone.Zone) []notice {
	list := make([]notice, 0, len(z.Notices))
	for _, n := range z.Notices {
		list = append(list, notice{Place: n.Pos.String(), Path: n.Path, Effect: n.Effect.String(), Text: n.Text})
	}
	return list
}

type schemaCmd struct{}

func (schemaCmd) Run(e *env) error {
	schema, err := zone.Schema()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.stdout, "%s\n", schema)
	return err
}

type diffCmd struct {
	output
	Old string `arg:"" help:"The map as it was."`
	New string `arg:"" help:"The map as it would be."`
}

func (c *diffCmd) Run(e *env) error {
	before, err := loadZone(c.Old)
	if err != nil {
		return err
	}
	after, err := loadZone(c.New)
	if err != nil {
		return err
	}
	changes := zone.Diff(before, after)
	if changes == nil {
		changes = []zone.Change{}
	}
	return c.print(e, changes, func(w io.Writer) {
		if len(changes) == 0 {
			fmt.Fprintln(w, "nobody gains or loses access")
		}
		for _, change := range changes {
			fmt.Fprintln(w, change)
		}
	})
}

type initCmd struct {
	Dir     string `arg:"" optional:"" help:"The folder to write zone.yaml into." default:"." type:"path"`
	Name    string `help:"The zone's name, a domain." default:"zone.example"`
	OpenAPI string `name:"openapi" help:"Take the routes from an OpenAPI 3 document." type:"existingfile" placeholder:"FILE"`
}

func (c *initCmd) Run(e *env) error {
	text := zone.Starter(c.Name)
	if c.OpenAPI != "" {
		doc, err := os.ReadFile(c.OpenAPI)
		if err != nil {
			return err
		}
		if text, err = zone.FromOpenAPI(doc, c.Name); err != nil {
			return no(fmt.Errorf("%s: %w", c.OpenAPI, err))
		}
	}
	if _, err := zone.Parse("zone.yaml", text); err != nil {
		return usage(fmt.Errorf("the map would not be valid:\n%w", err))
	}
	if err := os.MkdirAll(c.Dir, 0o750); err != nil {
		return err
	}
	path := c.Dir + string(os.PathSeparator) + "zone.yaml"
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) // #nosec G304 -- the user names the folder
	if errors.Is(err, fs.ErrExist) {
		return no(fmt.Errorf("%s exists; it is left as it is", path))
	}
	if err != nil {
		return err
	}
	if _, err = f.Write(text); err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "%s\n", path)
	fmt.Fprintf(e.stderr, "next: sallyport check %s\n", path)
	return nil
}
