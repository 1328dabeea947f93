// Package cli is the command line: one file a verb. It parses, calls
// internal/app or the admin socket of a running zone, and prints.
//
// It promises the exit codes of the reference (0 done, 1 the answer is no, 2
// used wrongly, 3 could not run), results only on standard output, and
// `--format json` wherever a table is printed.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"text/tabwriter"

	"github.com/alecthomas/kong"
)

// The exit codes.
const (
	exitDone  = 0
	exitNo    = 1
	exitUsage = 2
	exitRun   = 3
)

// commands is the grammar of the command line. The struct tags are the manual:
// docs/reference/commands.md is made from them.
type commands struct {
	Demo   demoCmd   `cmd:"" help:"Run the shop of examples/shop with everything embedded; print urls, logins and what to try."`
	Init   initCmd   `cmd:"" help:"Write a starter map."`
	Check  checkCmd  `cmd:"" help:"Validate a map and print who reaches what."`
	Schema schemaCmd `cmd:"" help:"Print the JSON Schema of the map, for editors."`
	Diff   diffCmd   `cmd:"" help:"Print who gains and who loses which access between two maps."`
	Serve  serveCmd  `cmd:"" help:"Run the whole zone in one process, in the foreground."`

	Sidecar sidecarCmd `cmd:"" help:"Run the inner door of one service, in any language, beside it."`

	Status  statusCmd      `cmd:"" help:"Tell whether the zone is ready: exit 0 ready, 1 not ready, 3 not running."`
	Doctor  doctorCmd      `cmd:"" help:"Tell what is wrong with this host or zone, and the mend: exit 0 nothing fails, 1 something fails, 3 could not run."`
	User    userCmd        `cmd:"" help:"Add, list, change and remove users."`
	Role    roleCmd        `cmd:"" help:"Grant and revoke roles of users."`
	Key     keyCmd         `cmd:"" help:"Create, list, rotate, revoke and check API keys, and what they sign with."`
	Client  oauthClientCmd `cmd:"" help:"Add, list, rotate and remove OAuth clients."`
	Session sessionCmd     `cmd:"" help:"List and revoke sessions of users."`
	Join    joinCmd        `cmd:"" help:"Make a join token: one identity for one service, once, within ten minutes."`
	Logs    logsCmd        `cmd:"" help:"Search the record of requests."`

	Breached breachedCmd `cmd:"" help:"Build filters of breached passwords."`

	Version versionCmd `cmd:"" help:"Print the version."`
}

// env is what a verb runs in.
type env struct {
	ctx    context.Context //nolint:containedctx // kong hands one value to Run
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
}

// exit is an error that knows its exit code. Text that is empty prints nothing.
type exit struct {
	code int
	err  error
}

func (e exit) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e exit) Unwrap() error { return e.err }

// no ends with code 1: the question was understood and the answer is no.
func no(err error) error { return exit{exitNo, err} }

// usage ends with code 2: the words are off.
func usage(err error) error { return exit{exitUsage, err} }

// Main runs the command line and returns the exit code. The first interrupt or
// TERM ends the context of the verb, the second one the process.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second one does not wait for the first
	e := &env{ctx: ctx, stdin: stdin, stdout: stdout, stderr: stderr}

	left := -1 // set when kong itself ends the run: --help
	parser, err := newParser(e, func(code int) { left = code })
	if err != nil {
		fmt.Fprintln(stderr, "sallyport:", err)
		return exitRun
	}
	parsed, err := parser.Parse(args)
	if left >= 0 {
		return left
	}
	if err != nil {
		fmt.Fprintln(stderr, "sallyport:", err)
		fmt.Fprintln(stderr, "See `sallyport --help`.")
		return exitUsage
	}
	return e.report(parsed.Run(e))
}

func newParser(e *env, leave func(int)) (*kong.Kong, error) {
	return kong.New(&commands{},
		kong.Name("sallyport"),
		kong.Description("The secured zone for microservices: one map, two doors, one binary."),
		kong.Writers(e.stdout, e.stderr),
		kong.Exit(leave),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.ValueFormatter(withDefault),
	)
}

// withDefault is the help of a flag or argument, with its default where the
// placeholder has taken its place.
func withDefault(v *kong.Value) string {
	help := kong.DefaultHelpValueFormatter(v)
	if v.HasDefault && v.Default != "" && v.Tag.PlaceHolder != "" {
		help += fmt.Sprintf(" Default: %s.", v.Default)
	}
	return help
}

// report prints the error of a verb, once, and returns its exit code.
func (e *env) report(err error) int {
	if err == nil {
		return exitDone
	}
	if text := err.Error(); text != "" {
		fmt.Fprintln(e.stderr, "sallyport:", text)
	}
	var x exit
	if errors.As(err, &x) {
		return x.code
	}
	var refused *refusal
	if errors.As(err, &refused) && refused.status < 500 {
		return exitNo
	}
	return exitRun
}

// output is embedded by each verb that prints a table.
type output struct {
	Format string `help:"How to print: text or json." enum:"text,json" default:"text"`
}

// print writes v as JSON, or calls text with a table writer.
func (o output) print(e *env, v any, text func(w io.Writer)) error {
	if o.Format == "json" {
		enc := json.NewEncoder(e.stdout)
		enc.SetEscapeHTML(false)
		return enc.Encode(v)
	}
	w := tabwriter.NewWriter(e.stdout, 0, 8, 2, ' ', 0)
	text(w)
	return w.Flush()
}

// dataFlag names the data folder of a running zone.
type dataFlag struct {
	Data string `help:"The data folder." default:"./data" type:"path" placeholder:"DIR"`
}
