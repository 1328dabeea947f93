// Reference writes docs/reference from the code: map.md, commands.md, reasons.md.
//
//	go run ./scripts/reference DIR
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sallyport.dev/internal/cli"
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

const made = "<!-- Made by scripts/docs from the code: change it there. -->\n\n"

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: reference DIR")
		os.Exit(2)
	}
	commands, err := cli.Reference()
	if err == nil {
		err = write(os.Args[1], map[string]string{
			"map.md":      zone.Reference(),
			"commands.md": commands,
			"reasons.md":  reasons(),
		})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "reference:", err)
		os.Exit(1)
	}
}

func write(dir string, pages map[string]string) error {
	for name, text := range pages {
		text = strings.TrimRight(made+text, "\n") + "\n"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// reasons renders the closed list of reasons.
func reasons() string {
	var b bytes.Buffer
	b.WriteString("# Reasons\n\nEvery request ends with one reason of this closed list. It stands in the journal, in the metrics and, as\n" +
		"`urn:sallyport:reason:REASON`, in the `type` of the problem document (RFC 9457) that a refused client gets.\n\n" +
		"| reason | status | title | what it means, what to do |\n|---|---|---|---|\n")
	for _, r := range problem.All() {
		fmt.Fprintf(&b, "| `%s` | %d | %s | %s |\n", r.Code(), r.Status(), r.Title(), r.Mend())
	}
	return b.String()
}
