package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
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
	for _, name := range shop.Services() {
		if _, err := os.Stat(filepath.Join(d.services, name)); err != nil {
			return fmt.Errorf("the shop's program %q is not in %s; build it with `make build`, or name its folder with --services", name, d.services)
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

// run starts the zone and its services and stays until the context ends.
func (d *demo) run() error {
	z, err := zone.Parse("zone.yaml", shop.Map)
	if err != nil {
		return err
	}
	d.zone = z
	flags := serveFlags{dataFlag: dataFlag{Data: d.data}}
	options := flags.options(&env{stderr: d.log})

	group, ctx := errgroup.WithContext(d.ctx)
	group.Go(func() error { return app.Serve(ctx, z, options) })
	if err := d.waitReady(ctx); err != nil {
		return errors.Join(group.Wait(), ignoreCancel(err))
	}
	for _, name := range shop.Services() {
		group.Go(func() error { return d.service(ctx, name) })
	}
	group.Go(func() error {
		if err := d.seed(ctx); err != nil {
			return ignoreCancel(err)
		}
		if err := d.waitServices(ctx); err != nil {
			return ignoreCancel(err)
		}
		d.tell()
		return nil
	})
	return group.Wait()
}

// ignoreCancel drops the error of a run that was told to stop.
func ignoreCancel(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// waitServices waits until each service answers for itself: its guard has its
// slice of the map and the inside keys.
func (d *demo) waitServices(ctx context.Context) error {
	client := http.Client{Timeout: 2 * time.Second}
	for _, svc := range d.zone.Services {
		for {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, svc.Upstreams[0].URL+"/", nil)
			if err != nil {
				return err
			}
			if res, err := client.Do(req); err == nil {
				_ = res.Body.Close()
				if res.Header.Get(problem.ReasonHeader) != problem.InsideUnavailable.Code() {
					break
				}
			}
			if err := pause(ctx); err != nil {
				return err
			}
		}
	}
	return nil
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

// waitReady asks the admin socket until the zone is ready.
func (d *demo) waitReady(ctx context.Context) error {
	admin := dataFlag{Data: d.data}.client()
	for {
		var s app.Status
		err := admin.do(ctx, "GET", "/v1/status", nil, &s)
		switch {
		case err == nil && s.Ready:
			return nil
		case err != nil && !errors.Is(err, errNotRunning):
			return err
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// seed adds the users and the partner's key; in a kept folder they are there already.
func (d *demo) seed(ctx context.Context) error {
	admin := dataFlag{Data: d.data}.client()
	for _, u := range demoUsers {
		u.Password = d.password
		err := admin.do(ctx, "POST", "/v1/users", u, nil)
		var x exit
		if errors.As(err, &x) && x.code == exitNo { // it exists: give it this run's password
			err = admin.do(ctx, "PUT", userPath(u.Email, "/password"), app.NewPassword{Password: d.password}, nil)
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
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w; build it with `make build`", name, err)
	}
	return fmt.Errorf("service %s: %w\n%s", name, err, out.last())
}

// prefixWriter writes whole lines with a prefix and keeps the last few for an error.
type prefixWriter struct {
	mu     sync.Mutex
	w      io.Writer
	prefix string
	part   []byte
	tail   []string
}

func (p *prefixWriter) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.part = append(p.part, b...)
	for {
		line, rest, found := strings.Cut(string(p.part), "\n")
		if !found {
			break
		}
		p.part = []byte(rest)
		p.tail = append(p.tail, p.prefix+line)
		if len(p.tail) > 5 {
			p.tail = p.tail[1:]
		}
		if _, err := fmt.Fprintln(p.w, p.prefix+line); err != nil {
			return len(b), err
		}
	}
	if len(p.part) > 64<<10 {
		p.part = nil // a line without end is not kept
	}
	return len(b), nil
}

func (p *prefixWriter) last() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.tail, "\n")
}
