package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"sallyport.dev/examples/shop"
	"sallyport.dev/guard"
	"sallyport.dev/internal/app"
	"sallyport.dev/zone"
)

// child is one process of the shop.
type child struct {
	name string // for the log
	path string
	args []string
	env  []string // beside our own
}

// runs says whether the service is part of this run.
func (d *demo) runs(svc *zone.Service) bool { return svc.Name != shop.ReviewsName || d.node != "" }

// joins says whether a service gets its identity for a join token. The others ask
// the Workload API, which knows processes on Linux only.
func joins(service string) bool { return service == "orders" || runtime.GOOS != "linux" }

// children returns the processes of the shop: each service, and where the map
// gives it a sidecar that too.
func (d *demo) children(ctx context.Context) ([]child, error) {
	if err := d.writeFiles(); err != nil {
		return nil, err
	}
	var list []child
	for _, svc := range d.zone.Services {
		if !d.runs(svc) {
			continue
		}
		var joinFile string
		if joins(svc.Name) {
			var err error
			if joinFile, err = d.joinFile(ctx, svc.Name); err != nil {
				return nil, err
			}
		}
		if svc.Embedded {
			list = append(list, d.embedded(svc, joinFile))
		} else {
			list = append(list, d.plain(svc), d.sidecar(svc, joinFile))
		}
	}
	return list, nil
}

// embedded is a service that is its own inner door.
func (d *demo) embedded(svc *zone.Service, joinFile string) child {
	c := child{name: svc.Name, path: filepath.Join(d.services, svc.Name), env: []string{guard.EnvControl + "=https://" + d.zone.Control}}
	if joinFile != "" {
		c.env = append(c.env, guard.EnvSocket+"=", guard.EnvJoinFile+"="+joinFile)
	} else {
		c.env = append(c.env, guard.EnvSocket+"=unix://"+d.workloadAPI())
	}
	return c
}

// plain is a service behind a sidecar: it knows two sockets and no secret.
func (d *demo) plain(svc *zone.Service) child {
	listen, calls := svc.Upstreams[0].Address, svc.Outbound
	c := child{name: svc.Name, path: filepath.Join(d.services, svc.Name), args: []string{"-listen", "unix:" + listen}}
	switch svc.Name {
	case shop.ReviewsName:
		c.path, c.args, c.env = d.node, []string{d.reviewsFile()}, []string{"LISTEN=" + listen, "CALLS=" + calls}
	case "legacy":
		c.args = append(c.args, "-data", filepath.Join(d.run, "legacy"))
	default:
		c.args = append(c.args, "-calls", "unix:"+calls)
	}
	return c
}

// sidecar is the inner door of such a service.
func (d *demo) sidecar(svc *zone.Service, joinFile string) child {
	c := child{name: svc.Name + " sidecar", path: d.self}
	c.args = []string{"sidecar", d.mapFile(), svc.Name, "--data", filepath.Join(d.run, "sidecars", svc.Name)}
	if joinFile != "" {
		c.args = append(c.args, "--join-file", joinFile)
	} else {
		c.args = append(c.args, "--socket", d.workloadAPI())
	}
	return c
}

// joinFile makes a join token for a service and returns the file that holds it.
func (d *demo) joinFile(ctx context.Context, service string) (string, error) {
	text, err := d.joinToken(ctx, service)
	if err != nil {
		return "", err
	}
	path := filepath.Join(d.run, service+".join")
	return path, os.WriteFile(path, []byte(text+"\n"), 0o600)
}

func (d *demo) joinToken(ctx context.Context, service string) (string, error) {
	var made app.CreatedJoin
	if err := (dataFlag{Data: d.data}).client().do(ctx, "POST", "/v1/join", app.NewJoin{Service: service}, &made); err != nil {
		return "", fmt.Errorf("join token for %s: %w", service, err)
	}
	return made.Token, nil
}

// live runs the process until ctx ends. The kernel ends it too when this process
// dies.
func (c child) live(ctx context.Context, log io.Writer) error {
	// The kernel tells a child that its parent died when the thread dies that
	// started it: this one stays.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, c.path, c.args...) // #nosec G204 -- the operator names the folder of the programs
	cmd.Env = append(os.Environ(), c.env...)
	out := &prefixWriter{w: log, prefix: "[" + c.name + "] "}
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
	return fmt.Errorf("%s: %w\n%s", c.name, err, out.last())
}
