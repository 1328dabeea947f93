// Attack is what an intruder would try who sits on the shop's host and has got
// hold of the certificates and tokens of services. It speaks to the inner door of
// orders and prints what was tried, what came back and why. All but the first two
// lines have to be refusals: it exits with 1 when one is not.
//
//	attack -socket RUN/workload.sock
//
// In the shop every program runs as one user, so the zone gives this one the
// identity of any service. Selectors in the map (uid, gid, path) would not.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"os"
	"time"

	"sallyport.dev/internal/svid"
)

func main() {
	socket := flag.String("socket", "/run/sallyport/workload.sock", "the zone's Workload API")
	control := flag.String("control", "https://127.0.0.1:8441", "the zone's control listener")
	door := flag.String("orders", "127.0.0.1:9502", "the inner door of orders")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx, *socket, *control, *door); err != nil {
		log.SetFlags(0)
		log.Fatal(err)
	}
}

func run(ctx context.Context, socket, control, door string) error {
	catalog, err := steal(ctx, socket, control, "catalog")
	if err != nil {
		return err
	}
	accounts, err := steal(ctx, socket, control, "accounts")
	if err != nil {
		return err
	}
	unexpected := 0
	for _, t := range attempts(catalog, accounts) {
		got := t.try(ctx, door)
		fmt.Fprintf(os.Stdout, "%-92s %s\n", t.what, got)
		if got != t.want {
			unexpected++
			fmt.Fprintf(os.Stdout, "  unexpected: want %s\n", t.want)
		}
	}
	if unexpected > 0 {
		return fmt.Errorf("%d answers are not what they should be", unexpected)
	}
	fmt.Fprintln(os.Stdout, "Every attack was refused.")
	return nil
}

// thief is a service whose certificate and token are in the wrong hands.
type thief struct {
	source *svid.Source
	token  string // the service's own inside token
}

// steal fetches the identity of a service, and with it a token for itself.
func steal(ctx context.Context, socket, control, service string) (*thief, error) {
	t := &thief{source: svid.NewSource(nil)}
	api := svid.WorkloadAPI{Socket: socket, Service: service, Log: slog.New(slog.DiscardHandler)}
	failed := make(chan error, 1)
	go func() { failed <- api.Run(ctx, t.source) }()
	wait, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := t.source.Wait(wait); err != nil {
		select {
		case err = <-failed:
		default:
		}
		return nil, fmt.Errorf("no identity of %s from %s (does the demo run, as this user?): %w", service, socket, err)
	}
	var err error
	if t.token, err = t.ownToken(ctx, control); err != nil {
		return nil, fmt.Errorf("token of %s: %w", service, err)
	}
	return t, nil
}
