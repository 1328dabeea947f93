package workload

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// svids is the state of one stream of identities.
type svids struct {
	server  *Server
	message *workload.X509SVIDResponse // the last that was made; nil at first
	names   []string                   // in it
	roots   []byte                     // in it
	renew   time.Time                  // when all of it is made anew
	until   time.Time                  // when the first of it ends
}

// errNotIssued is all that a client learns: it tries again by itself.
var errNotIssued = status.Error(codes.Unavailable, "identities cannot be issued at the moment")

// next makes a message of all identities and the roots. Keys and certificates
// that live and are still due are sent again as they were.
func (x *svids) next(ctx context.Context, f facts, names []string) (*workload.X509SVIDResponse, time.Time, error) {
	now, roots := x.server.clock(), x.server.bundle()
	due := x.message == nil || !now.Before(x.renew)
	if !due && slices.Equal(names, x.names) && bytes.Equal(roots, x.roots) {
		return x.message, x.renew, nil
	}
	made, err := x.make(ctx, names, roots, due, now)
	if err == nil {
		*x = *made
		x.server.log.Info("identities issued", "services", names, "until", x.until, "attested", f)
		return x.message, x.renew, nil
	}
	x.server.denials.warn(x.server.log, "identities not issued", "services", names, "attested", f, "error", err)
	if x.message != nil && slices.Equal(names, x.names) && bytes.Equal(roots, x.roots) && now.Before(x.until) {
		// What it has is good for a while: it keeps its stream, and time is left.
		return x.message, now.Add(min(x.until.Sub(now)/4, 5*time.Second)), nil
	}
	return nil, time.Time{}, errNotIssued
}

// make returns the state that follows; x stays as it is.
func (x *svids) make(ctx context.Context, names []string, roots []byte, due bool, now time.Time) (*svids, error) {
	if len(roots) == 0 {
		return nil, errors.New("the zone has no root")
	}
	out := &svids{server: x.server, message: &workload.X509SVIDResponse{}, names: names, roots: roots, until: x.until}
	for _, name := range names {
		if i := slices.Index(x.names, name); i >= 0 && !due {
			old := x.message.Svids[i]
			out.message.Svids = append(out.message.Svids, &workload.X509SVID{
				SpiffeId: old.SpiffeId, X509Svid: old.X509Svid, X509SvidKey: old.X509SvidKey, Bundle: roots, Hint: old.Hint,
			})
			continue
		}
		svid, until, err := x.server.issue(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if !until.After(now) {
			return nil, fmt.Errorf("%s: it ended at %s, before it began", name, until)
		}
		svid.Bundle = roots
		out.message.Svids = append(out.message.Svids, svid)
		if due && len(out.message.Svids) == 1 || until.Before(out.until) {
			out.until = until
		}
	}
	out.renew = now.Add(part(out.until.Sub(now)))
	if !due && x.renew.Before(out.renew) {
		out.renew = x.renew // the older ones keep their time
	}
	return out, nil
}

// part returns 0.4 to 0.5 of a life, at random, so that those who began
// together do not renew together.
func part(life time.Duration) time.Duration {
	const steps = 1000
	n, err := rand.Int(rand.Reader, big.NewInt(steps))
	if err != nil { // it never is
		return life * 4 / 10
	}
	return life*4/10 + life/10/steps*time.Duration(n.Int64())
}

// issue makes a key and a certificate for one service.
func (s *Server) issue(ctx context.Context, name string) (*workload.X509SVID, time.Time, error) {
	select {
	case s.issuing <- struct{}{}:
		defer func() { <-s.issuing }()
	case <-ctx.Done():
		return nil, time.Time{}, ctx.Err()
	}
	id, err := spiffeid.FromSegments(s.domain, name)
	if err != nil {
		return nil, time.Time{}, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, time.Time{}, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, time.Time{}, err
	}
	chain, until, err := s.issuer.IssueSVID(ctx, name, key.Public())
	if err != nil {
		return nil, time.Time{}, err
	}
	return &workload.X509SVID{
		SpiffeId: id.String(), X509Svid: bytes.Join(chain, nil), X509SvidKey: pkcs8, Hint: name,
	}, until, nil
}

// bundle returns the roots at this moment, concatenated DER.
func (s *Server) bundle() []byte {
	var out []byte
	for _, c := range s.issuer.Roots() {
		out = append(out, c.Raw...)
	}
	return out
}

// bundles is the state of one stream of roots.
type bundles struct {
	server  *Server
	message *workload.X509BundlesResponse
	roots   []byte
}

// next returns the roots by the trust domain's ID.
func (b *bundles) next(context.Context, facts, []string) (*workload.X509BundlesResponse, time.Time, error) {
	roots := b.server.bundle()
	if len(roots) == 0 {
		return nil, time.Time{}, errNotIssued
	}
	if b.message == nil || !bytes.Equal(roots, b.roots) {
		b.message = &workload.X509BundlesResponse{Bundles: map[string][]byte{b.server.domain.IDString(): roots}}
		b.roots = roots
	}
	return b.message, b.server.clock().Add(lookAgain), nil
}
