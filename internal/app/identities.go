package app

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"sallyport.dev/internal/control"
	"sallyport.dev/internal/join"
	"sallyport.dev/internal/kv"
	"sallyport.dev/internal/pki"
	"sallyport.dev/internal/svid"
	"sallyport.dev/internal/workload"
)

// newIdentity gives a part of this process an identity of the zone and keeps it fresh.
func (s *system) newIdentity(ctx context.Context, name string) (*svid.Source, error) {
	source := svid.NewSource(s.clock)
	identity, err := s.certify(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("identity of %s: %w", name, err)
	}
	source.Set(identity)
	s.parts = append(s.parts, part{"identity of " + name, func(ctx context.Context) error { return s.renewIdentity(ctx, name, source) }})
	return source, nil
}

// certify makes a key and its identity.
func (s *system) certify(ctx context.Context, name string) (*svid.Identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	chain, _, err := s.ca.IssueSVID(ctx, name, key.Public())
	if err != nil {
		return nil, err
	}
	return svid.NewIdentity(chain, key, s.ca.Roots())
}

// renewIdentity keeps an identity fresh until ctx ends.
func (s *system) renewIdentity(ctx context.Context, name string, source *svid.Source) error {
	r := renewing{
		name: name, clock: s.clock, log: s.log,
		ends: func() time.Time {
			own, err := source.Current()
			if err != nil { // it has ended
				return time.Time{}
			}
			return own.NotAfter
		},
		renew: func(ctx context.Context) error {
			identity, err := s.certify(ctx, name)
			if err == nil {
				source.Set(identity)
			}
			return err
		},
	}
	return r.run(ctx)
}

// openControl opens the control listener and the Workload API where the map
// has an inner door that needs them.
func (s *system) openControl(ctx context.Context, o Options) error {
	if s.zone.Control == "" {
		return nil
	}
	source, err := s.newIdentity(ctx, svid.ControlName)
	if err != nil {
		return err
	}
	s.joins = join.New(s.db, s.clock)
	c := control.New(control.Config{
		Zone: s.zone, Source: source, CA: s.ca, ParseCSR: pki.ParseCSR, Tokens: s.joins, Minter: s.minter, Keys: s.ring,
		Journal: s.journal, Counters: s.kv, Nonces: func() kv.Values { return kv.NewMemory(s.clock, maxNonces) }, Clock: s.clock, Log: s.log,
	})
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.zone.Control)
	if err != nil {
		return fmt.Errorf("control listener: %w", err)
	}
	s.owns(onceClosed{l})
	s.owns(c)
	s.parts = append(s.parts, part{"control listener", func(ctx context.Context) error {
		srv := newHTTPServer(c.Handler(), s.log)
		srv.ConnContext = svid.ConnContext
		srv.RegisterOnShutdown(c.Release)
		return serveUntil(ctx, srv, c.Listener(l))
	}})
	return s.openWorkloadAPI(o)
}

// maxNonces bounds the signed requests that one service's replicas remember
// together: three minutes of 700 a second.
const maxNonces = 1 << 17

// workloadSocket is the name of the Workload API's socket in the run folder.
const workloadSocket = "workload.sock"

// openWorkloadAPI gives local processes their identities. Where another zone of
// this host has the socket already, this zone's services need join tokens, or a
// run folder of their own: the zone serves all the same.
func (s *system) openWorkloadAPI(o Options) error {
	entries := []workload.Entry{}
	for _, svc := range s.zone.Services {
		if svc.InnerDoor() {
			entries = append(entries, workload.Entry{Service: svc.Name, Selectors: svc.Selectors})
		}
	}
	api, err := workload.New(workload.Config{Zone: s.zone.Name, Entries: entries, Issuer: s.ca, UID: os.Geteuid(), Clock: s.clock, Log: s.log})
	if err != nil {
		return err
	}
	run := o.Run
	if run == "" {
		run = RunFolder()
	}
	path := filepath.Join(run, workloadSocket)
	l, err := workload.Listen(path)
	if err != nil {
		if o.Run != "" { // asked for by name
			return err
		}
		s.log.Warn("the SPIFFE Workload API is not served: local services need a join token, or name another folder with --run", "socket", path, "error", err)
		return nil
	}
	s.owns(onceClosed{l})
	s.parts = append(s.parts, part{"workload api", func(ctx context.Context) error { return api.Serve(ctx, l) }})
	return nil
}

// RunFolder is where sockets for other programs lie when no folder is named.
func RunFolder() string { return filepath.Dir(svid.DefaultSocket()) }
