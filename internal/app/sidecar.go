package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"

	"sallyport.dev/guard"
	"sallyport.dev/internal/sidecar"
	"sallyport.dev/zone"
)

// SidecarOptions are where a sidecar keeps its state and how it joins.
type SidecarOptions struct {
	Service  string // its name in the map
	Data     string // a folder of its own
	Control  string // base URL of control; empty: that of the map
	Join     string // join token
	JoinFile string // file with one
	Socket   string // of a Workload API; without a token: empty is the default one
	Log      *slog.Logger
}

// Sidecar runs the inner door of one service until ctx ends.
func Sidecar(ctx context.Context, z *zone.Zone, o SidecarOptions) error {
	svc := z.Service(o.Service)
	switch {
	case svc == nil:
		return fmt.Errorf("the map has no service %q", o.Service)
	case svc.Sidecar == "":
		return fmt.Errorf("the map declares no sidecar for service %s: write `sidecar: HOST:PORT`, where the gateway is to dial it", svc.Name)
	}
	if o.Control == "" {
		var err error
		if o.Control, err = controlURL(z.Control); err != nil {
			return err
		}
	}
	boundMemory()
	quietLibraries()
	if err := noCoreDumps(); err != nil {
		return err
	}
	folder, err := openFolder(o.Data)
	if err != nil {
		return err
	}
	spool := folder.path("spool")
	if err := os.MkdirAll(spool, 0o700); err != nil {
		return errors.Join(err, folder.Close())
	}
	g, err := guard.New(ctx, guard.Config{
		Service: svc.Name, Control: o.Control, Socket: o.Socket, Join: guard.JoinToken(o.Join), JoinFile: o.JoinFile,
		Data: folder.path("identity"), Spool: spool, Log: o.Log,
	})
	if err != nil {
		return errors.Join(err, folder.Close())
	}
	s, err := sidecar.New(sidecar.Config{Zone: z, Service: svc.Name, Guard: g, Socket: folder.path("out.sock"), Log: o.Log})
	if err != nil {
		return errors.Join(err, folder.Close())
	}
	return errors.Join(s.Run(ctx), folder.Close())
}

// controlURL is where a process of this host finds control by the map.
func controlURL(address string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", fmt.Errorf("control listener of the map: %w", err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1" // it listens everywhere, so here too; from elsewhere it is named with --control
	}
	return "https://" + net.JoinHostPort(host, port), nil
}
