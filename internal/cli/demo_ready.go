package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/svid"
	"sallyport.dev/zone"
)

// patience bounds the wait for each service.
const patience = 30 * time.Second

// askedAs is the service whose identity asks the others whether they are ready.
const askedAs = "catalog"

// waitReady waits until each service listens, each inner door has identity, map
// and keys, and the gateway has found the first of them.
func (d *demo) waitReady(ctx context.Context) error {
	ctx, done := context.WithCancel(ctx)
	defer done()
	source, err := d.identity(ctx)
	if err != nil {
		return err
	}
	conns := svid.NewConns(nil)
	defer conns.Close()
	for _, svc := range d.zone.Services {
		if !d.runs(svc) {
			continue
		}
		id, err := svid.ServiceID(d.zone.Name, svc.Name)
		if err != nil {
			return err
		}
		wire := svid.NewTransport(source, id, conns, &http.Transport{ResponseHeaderTimeout: 2 * time.Second})
		if err := until(ctx, "service "+svc.Name, func() error { return answers(ctx, wire, svc) }); err != nil {
			return err
		}
	}
	return until(ctx, "the gateway", func() error { return d.shows(ctx) })
}

// identity is that of one of the services, got as the services get theirs.
func (d *demo) identity(ctx context.Context) (*svid.Source, error) {
	source, log := svid.NewSource(nil), slog.New(slog.DiscardHandler)
	if !joins(askedAs) {
		api := svid.WorkloadAPI{Socket: d.workloadAPI(), Service: askedAs, Log: log}
		go func() { _ = api.Run(ctx, source) }() // who waits for the source says what fails
		return source, nil
	}
	text, err := d.joinToken(ctx, askedAs)
	if err != nil {
		return nil, err
	}
	join := svid.Join{Control: "https://" + d.zone.Control, Log: log}
	if join.Token, err = svid.ParseJoinToken(text); err != nil {
		return nil, err
	}
	go func() { _ = join.Run(ctx, source) }()
	return source, nil
}

// until tries again until it works, for as long as patience lasts.
func until(ctx context.Context, what string, try func() error) error {
	for began := time.Now(); ; {
		err := try()
		if err == nil {
			return nil
		}
		if time.Since(began) > patience {
			return fmt.Errorf("%s is not ready: %w; run with --verbose to see why", what, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// answers asks a service's inner door for nothing that there is: it refuses, and
// the reason says whether it could judge at all. Behind a sidecar the service has
// to listen as well.
func answers(ctx context.Context, wire http.RoundTripper, svc *zone.Service) error {
	if !svc.Embedded {
		u := svc.Upstreams[0]
		c, err := (&net.Dialer{}).DialContext(ctx, u.Network, u.Address)
		if err != nil {
			return err
		}
		_ = c.Close()
	}
	res, err := get(ctx, wire, "https://"+svc.Doors()[0].Address+"/")
	if err != nil {
		return err
	}
	if reason := res.Header.Get(problem.ReasonHeader); reason != problem.InsideTokenMissing.Code() {
		return fmt.Errorf("its inner door says %s", reason)
	}
	return nil
}

// shows asks for the first page that visitors see.
func (d *demo) shows(ctx context.Context) error {
	pem, err := os.ReadFile(filepath.Join(d.data, "ca.pem"))
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return errors.New("ca.pem holds no certificate")
	}
	wire := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}, DisableKeepAlives: true}
	res, err := get(ctx, wire, "https://"+d.zone.Listener("public").Address+"/products")
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("it answers %s", res.Status)
	}
	return err
}

// get returns the head of an answer.
func get(ctx context.Context, wire http.RoundTripper, url string) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	res, err := wire.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	return res, res.Body.Close()
}
