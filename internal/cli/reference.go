package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

// Reference returns docs/reference/commands.md: every verb with its help.
func Reference() (string, error) {
	e := &env{stdout: io.Discard, stderr: io.Discard}
	parser, err := newParser(e, func(int) {})
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString("# The command line\n\nExit codes: 0 done; 1 the answer is no; 2 used wrongly; 3 could not run. Standard output holds results only;\n" +
		"logs go to standard error.\n")
	for _, leaf := range parser.Model.Leaves(true) {
		writeVerb(&b, leaf)
	}
	return b.String(), nil
}

func writeVerb(b *strings.Builder, n *kong.Node) {
	fmt.Fprintf(b, "\n## `%s`\n\n%s\n", strings.TrimPrefix(n.Summary(), "sallyport "), n.Help)
	rows := 0
	row := func(name, help string) {
		if rows == 0 {
			b.WriteString("\n| | |\n|---|---|\n")
		}
		rows++
		fmt.Fprintf(b, "| `%s` | %s |\n", name, strings.ReplaceAll(help, "|", "\\|"))
	}
	for _, p := range n.Positional {
		row(p.Summary(), p.Help)
	}
	for _, group := range n.AllFlags(true) {
		for _, f := range group {
			if f.Name == "help" {
				continue
			}
			help := f.Help
			if f.HasDefault && f.Default != "" {
				help += fmt.Sprintf(" Default: `%s`.", f.Default)
			}
			row(strings.ReplaceAll(f.String(), "|", "\\|"), help)
		}
	}
}
