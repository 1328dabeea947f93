package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sync/errgroup"

	"sallyport.dev/examples/shop"
	"sallyport.dev/internal/app"
	"sallyport.dev/zone"
)

type demoCmd struct {
	Data     string `help:"Keep the data in this folder; without it a temporary one is used and removed at the end." type:"path" placeholder:"DIR"`
	Services string `help:"The folder of the shop's programs; default: beside this binary." type:"path" placeholder:"DIR"`
	Verbose  bool   `help:"Print the log of the zone and its services."`
}

// demo is one run of the shop.
type demo struct {
	*env
	data     string // data folder of the zone
	run      string // folder of the sockets, of this run alone
	services string // folder of the shop's programs
	self     string // this binary, which is the sidecars too
	node     string // empty: Node is not installed
	password string
	key      string // API key of the payment partner
	log      io.Writer
	mapText  []byte
	zone     *zone.Zone
}

func (c *demoCmd) Run(e *env) error {
	d := &demo{env: e, data: c.Data, services: c.Services, log: io.Discard, password: "demo-" + strings.ToLower(rand.Text()[:12])}
	if c.Verbose {
		d.log = e.stderr
	}
	if err := d.findPrograms(); err != nil {
		return err
	}
	var err error
	if d.run, err = makeRunFolder(); err != nil {
		return err
	}
	defer os.RemoveAll(d.run)
	if d.data == "" {
		dir, err := os.MkdirTemp("", "sallyport-demo-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		d.data = filepath.Join(dir, "data")
	}
	if err := d.readMap(); err != nil {
		return err
	}
	return d.serve()
}

// findPrograms finds all that the demo starts.
func (d *demo) findPrograms() error {
	var err error
	if d.self, err = os.Executable(); err != nil {
		return err
	}
	if d.services == "" {
		d.services = filepath.Dir(d.self)
	}
	for _, name := range shop.Programs() {
		if _, err := exec.LookPath(filepath.Join(d.services, name)); err != nil {
			return fmt.Errorf("the shop's program %q cannot be run from %s; build it with `make build`, or name its folder with --services", name, d.services)
		}
	}
	if d.node, err = exec.LookPath("node"); err != nil {
		d.node = "" // said in the text; the shop is open without reviews
	}
	return nil
}

// serve starts the zone, its services and their sidecars, and stays until the
// context ends, or one of them does. The children end after the zone has drained.
func (d *demo) serve() error {
	options := serveFlags{dataFlag: dataFlag{Data: d.data}, Run: d.run}.options(&env{stderr: d.log})
	ready := make(chan struct{})
	options.Ready = func() { close(ready) }

	running, stop := signal.NotifyContext(d.ctx, syscall.SIGHUP) // the terminal is closed
	defer stop()
	group, ctx := errgroup.WithContext(running)
	living, endChildren := context.WithCancel(context.WithoutCancel(ctx))
	group.Go(func() error {
		defer endChildren()
		return app.Serve(ctx, d.zone, options)
	})
	group.Go(func() error {
		select {
		case <-ready: // only then is what answers this zone and no other, and the data folder ours
		case <-ctx.Done():
			return nil
		}
		children, err := d.children(ctx)
		if err != nil {
			return ignoreCancel(err)
		}
		for _, c := range children {
			group.Go(func() error { return c.live(living, d.log) })
		}
		return ignoreCancel(d.open(ctx))
	})
	return group.Wait()
}

// open makes the users and tells of the shop once all of it answers.
func (d *demo) open(ctx context.Context) error {
	if err := d.seed(ctx); err != nil {
		return err
	}
	if err := d.waitReady(ctx); err != nil {
		return err
	}
	d.tell()
	return nil
}

// ignoreCancel drops the error of a run that was told to stop.
func ignoreCancel(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
