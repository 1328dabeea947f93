package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"sallyport.dev/internal/password"
)

type breachedCmd struct {
	Build breachedBuildCmd `cmd:"" help:"Build the zone's filter of breached passwords from a list; serve reads it when it starts."`
}

type breachedBuildCmd struct {
	output
	dataFlag
	File string `arg:"" help:"The list, - for standard input: a password a line, or SHA-1 hashes with :COUNT or without, as Have I Been Pwned gives them."`
	Out  string `help:"Write the filter here. Default: breached.filter in the data folder." type:"path" placeholder:"FILE"`
	List string `help:"What the list holds: auto (told by its first line), hashes or plain." enum:"auto,hashes,plain" default:"auto"`
	Seen uint64 `help:"Of hashes with counts, take those that were seen this often. Building takes 40 bytes of memory for each that is taken; a hundred million are the most." default:"1" placeholder:"COUNT"`
}

func (c *breachedBuildCmd) Run(e *env) error {
	out := filepath.Join(c.Data, password.BreachedFile)
	if c.Out != "" {
		out = c.Out
	}
	in := e.stdin
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return fmt.Errorf("list of breached passwords: %w", err)
		}
		defer f.Close()
		in = f
	}
	format := password.ListFormat(c.List)
	if c.List == "auto" {
		format = password.ListAuto
	}
	built, err := password.BuildBreached(e.ctx, out, password.List{Source: in, Format: format, Seen: c.Seen})
	if errors.Is(err, password.ErrList) {
		return usage(err)
	}
	if err != nil {
		return err
	}
	answer := struct {
		File string `json:"file"`
		password.Built
	}{out, built}
	return c.print(e, answer, func(w io.Writer) {
		fmt.Fprintf(w, "%s: %d passwords in %d bytes; %d lines left out\n", out, built.Passwords, built.Bytes, built.Left)
	})
}
