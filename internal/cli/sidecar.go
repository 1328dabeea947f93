package cli

import (
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"sallyport.dev/internal/app"
	"sallyport.dev/internal/obs"
)

type sidecarCmd struct {
	Zone     string     `arg:"" help:"The map."`
	Service  string     `arg:"" help:"The service that it stands before."`
	Join     string     `help:"A join token (sallyport join SERVICE); used once, after that the data folder holds the identity." placeholder:"TOKEN"`
	JoinFile string     `help:"A file with a join token, which the list of processes does not show." type:"path" placeholder:"FILE"`
	Data     string     `help:"A folder of its own for identity, sockets and large bodies. Default: ./data-SERVICE." type:"path" placeholder:"DIR"`
	Control  string     `help:"The zone's control listener; default: that of the map, on this host." placeholder:"URL"`
	Socket   string     `help:"The SPIFFE Workload API that knows this process, in place of a join token. Default: that of the zone on this host." type:"path" placeholder:"PATH"`
	LogLevel slog.Level `help:"debug, info, warn or error." default:"info"`
}

func (c *sidecarCmd) Run(e *env) error {
	if c.Join != "" && c.JoinFile != "" {
		return usage(errors.New("sidecar: give --join or --join-file, not both"))
	}
	z, err := loadZone(c.Zone)
	if err != nil {
		return exit{exitRun, err}
	}
	if c.Data == "" {
		c.Data = "data-" + c.Service
	}
	log := obs.NewLogger(e.stderr, c.LogLevel, isTerminal(e.stderr))
	defer onHangup(func() { log.Error("HUP: a sidecar takes a new map from control by itself") })()
	return app.Sidecar(e.ctx, z, app.SidecarOptions{
		Service: c.Service, Data: c.Data, Control: c.Control, Join: c.Join, JoinFile: c.JoinFile, Socket: c.Socket, Log: log,
	})
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
