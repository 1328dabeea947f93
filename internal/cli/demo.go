package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"sallyport.dev/examples/shop"
	"sallyport.dev/internal/app"
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

type demoCmd struct {
	Data     string `help:"Keep the data in this folder; without it a temporary one is used and removed at the end." type:"path" placeholder:"DIR"`
	Services string `help:"The folder of the shop's programs; default: beside this binary." type:"path" placeholder:"DIR"`
	Verbose  bool   `help:"Print the log of the zone and its services."`
}

// demoUsers are the people of the shop. They share one password, made anew for each run.
var demoUsers = []app.NewUser{
	{Email: "alice@shop.example", Roles: []string{}},
	{Email: "bob@shop.example", Roles: []string{}},
	{Email: "carol@shop.example", Roles: []string{"merchant", "support"}},
}

// demo is one run of the shop.
type demo struct {
	*env
	data     string
	services string
	password string
	key      string // API key of the payment partner
	log      io.Writer
	zone     *zone.Zone
}

func (c *demoCmd) Run(e *env) error {
	d := &demo{env: e, data: c.Data, services: c.Services, log: io.Discard, password: "demo-" + strings.ToLower(rand.Text()[:12])}
	if c.Verbose {
		d.log = e.stderr
	}
	if d.services == "" {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		d.services = filepath.Dir(self)
	}
	for _, name := range shop.Programs() {
		if _, err := exec.LookPath(filepath.Join(d.services, name)); err != nil {
			return fmt.Errorf("the shop's program %q cannot be run from %s; build it with `make build`, or name its folder with --services", name, d.services)
		}
	}
	if d.data == "" {
		dir, err := os.MkdirTemp("", "sallyport-demo-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		d.data = filepath.Join(dir, "data")
	}
	return d.run()
}

// run starts the zone and its services and stays until the context ends, or one
// of them does. The services end after the zone has drained.
func (d *demo) run() error {
	z, err := zone.Parse("zone.yaml", shop.Map)
	if err != nil {
		return err
	}
	d.zone = z
	options := serveFlags{dataFlag: dataFlag{Data: d.data}}.options(&env{stderr: d.log})
	ready := make(chan struct{})
	options.Ready = func() { close(ready) }

	running, stop := signal.NotifyContext(d.ctx, syscall.SIGHUP) // the terminal is closed
	defer stop()
	group, ctx := errgroup.WithContext(running)
	services, endServices := context.WithCancel(context.WithoutCancel(ctx))
	group.Go(func() error {
		defer endServices()
		return app.Serve(ctx, z, options)
	})
	group.Go(func() error {
		select {
		case <-ready: // only then is what answers this zone and no other
		case <-ctx.Done():
			return nil
		}
		for _, name := range shop.Programs() {
			group.Go(func() error { return d.service(services, name) })
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
	if err := d.waitServices(ctx); err != nil {
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

// patience bounds the wait for the services.
const patience = 30 * time.Second

// waitServices waits until each service answers for itself: its guard has its
// slice of the map and the inside keys.
func (d *demo) waitServices(ctx context.Context) error {
	client := &http.Client{Timeout: 2 * time.Second}
	for _, svc := range d.zone.Services {
		for began := time.Now(); !answers(ctx, client, svc.Upstreams[0].URL); {
			if time.Since(began) > patience {
				return fmt.Errorf("service %s does not answer on %s; run with --verbose to see why", svc.Name, svc.Upstreams[0].URL)
			}
			if err := pause(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// answers says whether a guard that is ready answers.
func answers(ctx context.Context, client *http.Client, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/", nil)
	if err != nil {
		return false
	}
	res, err := client.Do(req)
	if err != nil {
		return false
	}
	_ = res.Body.Close()
	return res.Header.Get(problem.ReasonHeader) != problem.InsideUnavailable.Code()
}

// pause waits a little between two questions.
func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(20 * time.Millisecond):
		return nil
	}
}

// seed adds the users and the partner's key; in a kept folder they are there already.
func (d *demo) seed(ctx context.Context) error {
	admin := dataFlag{Data: d.data}.client()
	for _, u := range demoUsers {
		u.Password = d.password
		err := admin.do(ctx, "POST", "/v1/users", u, nil)
		var refused *refusal
		if errors.As(err, &refused) && refused.status == http.StatusConflict { // it exists: give it this run's password
			err = dataFlag{Data: d.data}.onUser(&env{ctx: ctx}, "PUT", u.Email, "/password", app.NewPassword{Password: d.password})
		}
		if err != nil {
			return fmt.Errorf("seed %s: %w", u.Email, err)
		}
	}
	var key app.CreatedKey
	name := "partner-" + strings.ToLower(rand.Text()[:6])
	if err := admin.do(ctx, "POST", "/v1/keys", app.NewKey{Name: name, Scopes: []string{"payments.notify"}}, &key); err != nil {
		return fmt.Errorf("seed the partner's key: %w", err)
	}
	d.key = key.Key
	return nil
}

// service runs one program of the shop until ctx ends. The kernel ends it too
// when this process dies.
func (d *demo) service(ctx context.Context, name string) error {
	// The kernel tells a child that its parent died when the thread dies that
	// started it: this one stays.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, filepath.Join(d.services, name)) // #nosec G204 -- the operator names the folder
	cmd.Env = append(os.Environ(), "SALLYPORT_CONTROL=https://"+d.zone.Control, "SALLYPORT_CA="+filepath.Join(d.data, "ca.pem"))
	out := &prefixWriter{w: d.log, prefix: "[" + name + "] "}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 8 * time.Second
	cmd.SysProcAttr = childOf()
	err := cmd.Run()
	if ctx.Err() != nil {
		return nil
	}
	if err == nil {
		err = errors.New("it ended")
	}
	return fmt.Errorf("service %s: %w\n%s", name, err, out.last())
}
