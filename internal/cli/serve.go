package cli

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"sallyport.dev/internal/app"
	"sallyport.dev/internal/obs"
	"sallyport.dev/zone"
)

// serveFlags are where a zone keeps its state.
type serveFlags struct {
	dataFlag
	RootKey  string     `help:"The key that seals what is secret in the data folder; it must lie outside it. Default: DIR.root beside the data folder." type:"path" placeholder:"FILE" default:""`
	Run      string     `name:"run" help:"The folder of sockets for other programs: workload.sock is the SPIFFE Workload API. Default: /run/sallyport for root, else the user's runtime folder." type:"path" placeholder:"DIR" default:""`
	Leave    string     `name:"leave-rp-id" help:"A host that the zone's passkeys leave on purpose: those made for it stop working." placeholder:"HOST" default:""`
	LogLevel slog.Level `help:"debug, info, warn or error." default:"info"`
}

func (f serveFlags) options(e *env) app.Options {
	return app.Options{
		Data: f.Data, RootKey: f.RootKey, Run: f.Run, LeaveRPID: f.Leave,
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
	o.Map = func() (*zone.Zone, error) { return loadZone(c.Zone) }
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	o.Hangup = hangups
	return app.Serve(e.ctx, z, o)
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
