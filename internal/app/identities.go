package app

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"sallyport.dev/internal/control"
	"sallyport.dev/internal/join"
	"sallyport.dev/internal/pki"
	"sallyport.dev/internal/svid"
	"sallyport.dev/internal/workload"
	"sallyport.dev/zone"
)

// newIdentity gives a part of this process an identity of the zone and keeps it fresh.
func (s *system) newIdentity(ctx context.Context, name string) (*svid.Source, error) {
	source := svid.NewSource(s.clock)
	identity, err := s.selfIdentity(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("identity of %s: %w", name, err)
	}
	source.Set(identity)
	s.observed.watch("identity of "+name, func() (*tls.Certificate, error) {
		own, err := source.Current()
		if err != nil {
			return nil, err
		}
		return &own.Certificate, nil
	})
	s.background.add("identity of "+name, func(ctx context.Context) error { return s.renewIdentity(ctx, name, source) })
	return source, nil
}

// selfIdentity makes a key and its identity.
func (s *system) selfIdentity(ctx context.Context, name string) (*svid.Identity, error) {
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
			identity, err := s.selfIdentity(ctx, name)
			if err == nil {
				source.Set(identity)
			}
			return err
		},
	}
	return r.run(ctx)
}

// innerSide is what the inner doors of the zone hold on to.
type innerSide struct {
	*control.Control
	address string           // as the map has it
	api     *workload.Server // nil: the zone serves no Workload API
}

// openControl opens the control listener and the Workload API where the map
// has an inner door that needs them.
func (s *system) openControl(ctx context.Context, o Options) (err error) {
	s.joins = join.New(s.db, s.clock) // also for the administration, whatever the map has
	if s.zone().Control != "" {
		s.control, err = s.newInnerSide(ctx, s.zone(), s.zone().Control, o)
	}
	return err
}

// newInnerSide opens the inner side of a map at an address. On an error nothing
// of it is left: a reload may try again.
func (s *system) newInnerSide(ctx context.Context, z *zone.Zone, address string, o Options) (*innerSide, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("control listener: %w", err)
	}
	api, socket, err := s.openWorkloadAPI(z, o)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	source, err := s.newIdentity(ctx, svid.ControlName)
	if err != nil {
		if socket != nil {
			err = errors.Join(err, socket.Close())
		}
		return nil, errors.Join(err, l.Close())
	}
	s.owns(onceClosed{l})
	c := control.New(control.Config{
		Zone: z, Source: source, CA: s.ca, ParseCSR: pki.ParseCSR, Tokens: s.joins, Minter: s.minter, Access: accessTokens{s.creds}, Keys: s.ring,
		Journal: s.journal, Counters: s.limits, Nonces: s.nonces, Clock: s.clock, Log: s.log,
	})
	s.owns(c)
	if api != nil {
		s.owns(onceClosed{socket})
		s.background.add("workload api", func(ctx context.Context) error { return api.Serve(ctx, socket) })
	}
	s.background.add("control listener", func(ctx context.Context) error {
		srv := newHTTPServer(c.Handler(), s.log)
		srv.ConnContext = svid.ConnContext
		srv.RegisterOnShutdown(c.Release)
		return serveUntil(ctx, srv, c.Listener(l))
	})
	s.observed.watchGuards(c.Heard)
	return &innerSide{c, address, api}, nil
}

// reload puts another map in force.
func (i *innerSide) reload(z *zone.Zone) error {
	i.Reload(z)
	if i.api == nil {
		return nil
	}
	return i.api.SetEntries(entriesOf(z))
}

// entriesOf says who may fetch which identity on this host.
func entriesOf(z *zone.Zone) []workload.Entry {
	entries := []workload.Entry{}
	for _, svc := range z.Services {
		if svc.InnerDoor() {
			entries = append(entries, workload.Entry{Service: svc.Name, Selectors: svc.Selectors})
		}
	}
	return entries
}

// maxNonces bounds the signed requests that one service's replicas remember
// together: three minutes of 700 a second.
const maxNonces = 1 << 17

// workloadSocket is the name of the Workload API's socket in the run folder.
const workloadSocket = "workload.sock"

// openWorkloadAPI opens what gives local processes their identities. Where another zone of
// this host has the socket already, this zone's services need join tokens, or a
// run folder of their own: the zone serves all the same.
func (s *system) openWorkloadAPI(z *zone.Zone, o Options) (*workload.Server, *net.UnixListener, error) {
	api, err := workload.New(workload.Config{Zone: z.Name, Entries: entriesOf(z), Issuer: s.ca, UID: os.Geteuid(), Clock: s.clock, Log: s.log})
	if err != nil {
		return nil, nil, err
	}
	run := o.Run
	if run == "" {
		run = RunFolder()
	}
	path := filepath.Join(run, workloadSocket)
	l, err := workload.Listen(path)
	if err != nil {
		if o.Run != "" { // asked for by name
			return nil, nil, err
		}
		s.log.Warn("the SPIFFE Workload API is not served: local services need a join token, or name another folder with --run", "socket", path, "error", err)
		return nil, nil, nil
	}
	return api, l, nil
}

// RunFolder is where sockets for other programs lie when no folder is named.
func RunFolder() string { return filepath.Dir(svid.DefaultSocket()) }
