package cli

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"

	"sallyport.dev/internal/app"
	"sallyport.dev/internal/obs"
)

// serveFlags are where a zone keeps its state.
type serveFlags struct {
	dataFlag
	RootKey  string     `help:"The key that seals what is secret in the data folder; it must lie outside it. Default: DIR.root beside the data folder." type:"path" placeholder:"FILE" default:""`
	Run      string     `name:"run" help:"The folder of sockets for other programs: workload.sock is the SPIFFE Workload API. Default: /run/sallyport for root, else the user's runtime folder." type:"path" placeholder:"DIR" default:""`
	LogLevel slog.Level `help:"debug, info, warn or error." default:"info"`
}

func (f serveFlags) options(e *env) app.Options {
	return app.Options{
		Data: f.Data, RootKey: f.RootKey, Run: f.Run,
		Version: version(),
		Log:     obs.NewLogger(e.stderr, f.LogLevel, isTerminal(e.stderr)),
	}
}

// isTerminal says whether w is a character device: then logs are text.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

type serveCmd struct {
	serveFlags `embed:""`
	Zone       string `arg:"" help:"The map."`
}

func (c *serveCmd) Run(e *env) error {
	z, err := loadZone(c.Zone)
	if err != nil {
		return exit{exitRun, err} // no question was asked: nothing runs
	}
	o := c.options(e)
	defer onHangup(func() {
		o.Log.Error("HUP: this version does not reload the map; stop the zone and start it again")
	})()
	return app.Serve(e.ctx, z, o)
}

// onHangup calls do for each HUP until stop is called. Without it one would end
// the process.
func onHangup(do func()) (stop func()) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	var done sync.WaitGroup
	done.Go(func() {
		for range hangups {
			do()
		}
	})
	return func() {
		signal.Stop(hangups)
		close(hangups)
		done.Wait()
	}
}

type statusCmd struct {
	output
	dataFlag
}

func (c *statusCmd) Run(e *env) error {
	var s app.Status
	err := c.client().do(e.ctx, "GET", "/v1/status", nil, &s)
	var refused *refusal
	if errors.As(err, &refused) { // it runs, and cannot even say how it is
		return no(fmt.Errorf("not ready: %w", err))
	}
	if err != nil {
		return err
	}
	err = c.print(e, s, func(w io.Writer) {
		state := "not ready"
		if s.Ready {
			state = "ready"
		}
		fmt.Fprintf(w, "%s: %s, version %s, revision %.12s\n", s.Zone, state, s.Version, s.Revision)
		for _, l := range s.Listeners {
			fmt.Fprintf(w, "listener\t%s\t%s\n", l.Name, l.Address)
		}
		for _, svc := range s.Services {
			fmt.Fprintf(w, "service\t%s\t%d of %d instances reachable\n", svc.Name, svc.Healthy, svc.Instances)
		}
		for _, reason := range s.NotReady {
			fmt.Fprintf(w, "not ready\t%s\n", reason)
		}
	})
	if err != nil || s.Ready {
		return err
	}
	return no(nil)
}

type versionCmd struct{}

func (versionCmd) Run(e *env) error {
	_, err := fmt.Fprintln(e.stdout, version())
	return err
}

// version is the module version of the build, or its revision.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "devel-" + s.Value[:12]
		}
	}
	return "devel"
}
