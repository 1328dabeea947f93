package app

import (
	"context"
	"errors"
	"fmt"
	"net"

	"sallyport.dev/internal/gateway"
	"sallyport.dev/internal/kv"
	"sallyport.dev/internal/pki"
	"sallyport.dev/internal/store"
	"sallyport.dev/internal/svid"
	"sallyport.dev/internal/token"
	"sallyport.dev/zone"
)

// openGateway builds the outer door.
func (s *system) openGateway(ctx context.Context, _ Options) error {
	var err error
	s.minter, err = token.NewMinter(token.Config{Zone: s.zone.Name, Issuer: s.zone.Issuer(), Workload: "spiffe://" + s.zone.Name + "/gateway", Signers: s.ring, Clock: s.clock})
	if err != nil {
		return err
	}
	certificates := map[string]gateway.Certificates{}
	for _, l := range s.zone.Listeners {
		source, err := s.certificate(ctx, l)
		if err != nil {
			return fmt.Errorf("listener %s: %w", l.Name, err)
		}
		certificates[l.Name] = source
	}
	s.seen = newRemembered(s.creds, s.clock)
	s.kv = kv.NewMemory(s.clock, maxKeys)
	source, err := s.newIdentity(ctx, svid.GatewayName)
	if err != nil {
		return err
	}
	s.gateway, err = gateway.New(gateway.Config{
		Zone: s.zone, Certificates: certificates, Locals: s.locals(),
		Auth: s.creds, Tokens: &exchange{credentials: s.seen, minter: s.minter},
		Identity: source, Spool: s.folder.path("spool"),
		Journal: s.journal, Limiter: s.kv, Metrics: s.metrics, Log: s.log, Clock: s.clock,
	})
	if err != nil {
		return err
	}
	s.owns(closing(s.gateway.Close))
	s.db.Subscribe(s.forget)
	return s.openListeners(ctx)
}

// forget tells token service and outer door of a revocation, before the revocation is answered.
func (s *system) forget(r store.Revocation) {
	s.seen.forget(r) // first: the gateway asks it
	switch r.Kind {
	case store.KindCredential:
		s.gateway.Forget(r.Credential)
	case store.KindSubject:
		s.gateway.ForgetSubject(r.Subject)
	}
}

// openListeners opens every outside listener, so that a zone of which one
// address is taken does not serve at all. They accept when run serves them.
func (s *system) openListeners(ctx context.Context) error {
	s.doors = map[string]net.Listener{}
	for _, l := range s.zone.Listeners {
		door, err := (&net.ListenConfig{}).Listen(ctx, "tcp", l.Address)
		if err != nil {
			return fmt.Errorf("listener %s: %w", l.Name, err)
		}
		s.doors[l.Name] = door
		s.owns(onceClosed{door})
	}
	return nil
}

// closing is a function that ends something, as an io.Closer.
type closing func()

// Close calls it.
func (c closing) Close() error {
	c()
	return nil
}

// onceClosed is a listener that its server may have closed already.
type onceClosed struct{ net.Listener }

func (o onceClosed) Close() error {
	if err := o.Listener.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// maxKeys bounds the counters of limits: clients times routes.
const maxKeys = 1 << 20

// certificate returns the source of a listener's certificate and lets it renew itself.
func (s *system) certificate(ctx context.Context, l *zone.Listener) (*pki.Source, error) {
	if l.Certificate.Kind == zone.CertificateFiles {
		files, err := pki.Files(ctx, l.Certificate.Cert, l.Certificate.Key, l.Hosts, pki.Options{Clock: s.clock, Log: s.log})
		if err != nil {
			return nil, err
		}
		s.parts = append(s.parts, part{"certificate of " + l.Name, files.Run})
		return files, nil
	}
	internal, err := s.ca.ServerCertificate(ctx, l.Hosts)
	if err != nil {
		return nil, err
	}
	s.parts = append(s.parts, part{"certificate of " + l.Name, internal.Run})
	return internal, nil
}

// locals are the account service's operations as the gateway serves them.
func (s *system) locals() []gateway.Local {
	var list []gateway.Local
	for _, r := range s.identity.Routes() {
		list = append(list, gateway.Local{
			Listener: s.zone.Identity.Listener, Service: "identity", Method: r.Method, Path: r.Path,
			Allow: r.Allow, Durable: r.Durable, Body: r.Body, Handler: r.Handler,
		})
	}
	return list
}
