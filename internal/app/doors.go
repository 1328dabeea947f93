package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"

	"sallyport.dev/internal/gateway"
	"sallyport.dev/internal/identity"
	"sallyport.dev/internal/pki"
	"sallyport.dev/internal/recall"
	"sallyport.dev/internal/store"
	"sallyport.dev/internal/svid"
	"sallyport.dev/internal/token"
	"sallyport.dev/zone"
)

// openGateway builds the outer door.
func (s *system) openGateway(ctx context.Context, _ Options) error {
	var err error
	s.minter, err = token.NewMinter(token.Config{Zone: s.zone().Name, Issuer: s.zone().Issuer(), Workload: "spiffe://" + s.zone().Name + "/gateway", Signers: s.ring, Clock: s.clock})
	if err != nil {
		return err
	}
	s.certificates, err = s.certify(ctx, s.zone(), nil)
	if err != nil {
		return err
	}
	s.startCertificates(s.certificates)
	s.seen = seen{s.creds, recall.New(isAbout, s.clock, s.fresh)}
	source, err := s.newIdentity(ctx, svid.GatewayName)
	if err != nil {
		return err
	}
	s.gateway, err = gateway.New(gateway.Config{
		Zone: s.zone(), Certificates: sourcesOf(s.certificates), Locals: append(localsOf(s.zone(), s.identity), openIDLocals(s.zone(), s.openID)...),
		Auth: s.creds, Tokens: &exchange{credentials: s.seen, minter: s.minter},
		Fresh: s.fresh, Nonces: s.openID.Nonces(), Once: s.values("proofs"), Signing: signingKeys{s.apiKeys}, Identity: source, Spool: s.folder.path("spool"),
		Journal: s.journal, Limiter: s.limits, Metrics: s.metrics, Log: s.log, Clock: s.clock,
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
	s.seen.Forget(r) // first: the gateway asks it
	s.introspected.Forget(r)
	switch r.Kind {
	case store.KindCredential:
		s.gateway.Forget(r.Credential)
	case store.KindSubject:
		s.gateway.ForgetSubject(r.Subject)
	default: // all, and whatever this version does not know
		s.gateway.ForgetAll()
	}
}

// openListeners opens every outside listener, so that a zone of which one
// address is taken does not serve at all. They accept when run serves them.
func (s *system) openListeners(ctx context.Context) error {
	s.doors = map[string]net.Listener{}
	for _, l := range s.zone().Listeners {
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

// maxValues bounds what one part knows, or has accepted once, in this process: some
// 60 MiB when it is full.
const maxValues = 1 << 18

// certificate is where a listener's certificate comes from.
type certificate struct {
	gateway.Certificates
	of    zone.Certificate
	hosts []string                    // the hosts that it names
	run   func(context.Context) error // keeps it fresh
	stop  func()                      // ends that
}

// certify finds the certificate of each listener of a map. What those before
// have is taken over, where the map asks for the same.
func (s *system) certify(ctx context.Context, z *zone.Zone, before map[string]*certificate) (map[string]*certificate, error) {
	list := make(map[string]*certificate, len(z.Listeners))
	for _, l := range z.Listeners {
		if c := before[l.Name]; c != nil && c.of == l.Certificate && slices.Equal(c.hosts, l.Hosts) {
			list[l.Name] = c
			continue
		}
		c := &certificate{of: l.Certificate, hosts: l.Hosts}
		var source *pki.Source
		var err error
		if l.Certificate.Kind == zone.CertificateFiles {
			source, err = pki.Files(ctx, l.Certificate.Cert, l.Certificate.Key, l.Hosts, pki.Options{Clock: s.clock, Log: s.log})
		} else {
			source, err = s.ca.ServerCertificate(ctx, l.Hosts)
		}
		if err != nil {
			return nil, fmt.Errorf("listener %s: %w", l.Name, err)
		}
		c.Certificates, c.run = source, source.Run
		list[l.Name] = c
	}
	return list, nil
}

// startCertificates keeps those fresh that nobody does yet.
func (s *system) startCertificates(list map[string]*certificate) {
	for name, c := range list {
		if c.stop == nil {
			c.stop = s.background.add("certificate of "+name, c.run)
			s.observed.watch("listener "+name, func() (*tls.Certificate, error) { return c.GetCertificate(nil) })
		}
	}
}

func sourcesOf(list map[string]*certificate) map[string]gateway.Certificates {
	sources := make(map[string]gateway.Certificates, len(list))
	for name, c := range list {
		sources[name] = c.Certificates
	}
	return sources
}

// localsOf are the account service's operations as the gateway serves them.
func localsOf(z *zone.Zone, id *identity.Identity) []gateway.Local {
	var list []gateway.Local
	for _, r := range id.Routes() {
		list = append(list, gateway.Local{
			Listener: z.Identity.Listener, Service: "identity", Method: r.Method, Path: r.Path,
			Allow: r.Allow, Durable: r.Durable, Raw: r.CrossSite, Body: r.Body, Handler: r.Handler,
		})
	}
	return list
}
