package gateway

import (
	"context"
	"crypto"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"sallyport.dev/internal/httpsig"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/svid"
	"sallyport.dev/internal/upstream"
	"sallyport.dev/zone"
)

// innerDoors is how the gateway reaches services: those with an inner door over
// mutual TLS as the workload that the map names, with a proof of each request;
// those without in plain, on this host.
type innerDoors struct {
	zone   string
	source *svid.Source // nil: the zone has no inner door
	conns  *svid.Conns
	clock  func() time.Time
	signer atomic.Pointer[identitySigner]
}

// identitySigner signs with the key of one identity.
type identitySigner struct {
	identity *svid.Identity
	*httpsig.Signer
}

func newInnerDoors(z string, source *svid.Source, clock func() time.Time) *innerDoors {
	return &innerDoors{zone: z, source: source, conns: svid.NewConns(clock), clock: clock}
}

var errPlain = errors.New("a service with an inner door is never reached in plain, and one without speaks plain on this host only")

func (d *innerDoors) dial(ctx context.Context, svc *zone.Service, to zone.Upstream) (net.Conn, error) {
	return d.dialFor(ctx, svc, to, "http/1.1")
}

func (d *innerDoors) dialHTTP2(ctx context.Context, svc *zone.Service, to zone.Upstream) (net.Conn, error) {
	return d.dialFor(ctx, svc, to, "h2")
}

// dialFor connects to an instance and, where there is an inner door, proves who
// both ends are. A connection ends with either certificate.
func (d *innerDoors) dialFor(ctx context.Context, svc *zone.Service, to zone.Upstream, protocol string) (net.Conn, error) {
	inner := svc.InnerDoor()
	if inner != (to.Scheme == "https") || inner && d.source == nil || !inner && !to.Local() {
		return nil, errPlain
	}
	raw, err := (&net.Dialer{}).DialContext(ctx, to.Network, to.Address)
	if err != nil || !inner {
		return raw, err
	}
	id, err := svid.ServiceID(d.zone, svc.Name)
	if err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	cfg := svid.ClientTLS(d.source, id)
	cfg.NextProtos = []string{protocol}
	c, err := d.conns.Client(ctx, raw, cfg)
	if err != nil {
		return nil, err // not a typed nil
	}
	return c, nil
}

// prove appends the proof that the route asks for.
func (d *innerDoors) prove(dst []byte, c *upstream.Conn, r *upstream.Request) ([]byte, error) {
	out, ok := r.Fields.(*outgoing)
	if !ok || out.route == nil || !out.route.Service.InnerDoor() {
		return dst, nil
	}
	if out.route.Proof == zone.ProofChannel {
		return dst, nil
	}
	m := httpsig.Message{
		Method: r.Method, Target: r.Path, Authority: r.Host,
		Token: out.inside, Correlation: out.correlation, Client: out.client, Digest: out.digest,
	}
	if r.HasQuery {
		m.Target += "?" + r.Query
	}
	profile := httpsig.Profile{Demand: httpsig.MAC, NoDigest: out.route.Stream != zone.NoStream}
	if out.route.Proof == zone.ProofSignature {
		profile.Demand = httpsig.Signature
		signer, err := d.current()
		if err != nil {
			return dst, err
		}
		return signer.Append(dst, &m, profile, d.clock())
	}
	signer, err := macOf(c)
	if err != nil {
		return dst, err
	}
	return signer.Append(dst, &m, profile, d.clock())
}

// macOf is the signer of a connection, made once.
func macOf(c *upstream.Conn) (*httpsig.MACSigner, error) {
	if signer, ok := c.State.(*httpsig.MACSigner); ok {
		return signer, nil
	}
	tc, ok := c.Net.(*tls.Conn)
	if !ok {
		return nil, errPlain
	}
	state := tc.ConnectionState()
	key, err := httpsig.MACKey(&state)
	if err != nil {
		return nil, err
	}
	signer, err := httpsig.NewMACSigner(key)
	if err != nil {
		return nil, err
	}
	c.State = signer
	return signer, nil
}

// current is the signer of the identity in use.
func (d *innerDoors) current() (*identitySigner, error) {
	identity, err := d.source.Current()
	if err != nil {
		return nil, err
	}
	if s := d.signer.Load(); s != nil && s.identity == identity {
		return s, nil
	}
	key, ok := identity.Certificate.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, problem.New(problem.InternalError, fmt.Errorf("the key of %s cannot sign", identity.ID))
	}
	signer, err := httpsig.NewSigner(key, identity.Certificate.Certificate)
	if err != nil {
		return nil, err
	}
	s := &identitySigner{identity, signer}
	d.signer.Store(s)
	return s, nil
}

func (d *innerDoors) close() { _ = d.conns.Close() } // nothing is lost: the exchanges are over or broken
