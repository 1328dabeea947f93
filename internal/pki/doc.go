// Package pki is where certificates come from: the zone's own CA for listeners
// with `certificate: internal` and for workloads, pairs of files for listeners
// that bring their own, and the pools of CAs whose client certificates a partner
// listener takes.
//
// The CA is a root and, under it, an intermediate for each purpose (RFC 5280;
// P-256 and ECDSA with SHA-256 throughout):
//
//	root          10 years   path length 1
//	web           1 year     path length 0, server authentication, no URI; renewed at 2/3
//	leaf          7 days     server authentication only, renewed at 2/3
//	svid          90 days    path length 0, URIs of the zone and no other name; renewed at 2/3
//	X.509-SVID    1 hour     spiffe://ZONE/NAME, client and server authentication
//
// It promises:
//   - every private key is sealed under the root key of the zone, a leaf's is
//     never stored at all, a workload's is never seen;
//   - the root's private key is a value of its own, opened only while an
//     intermediate is issued: it can be taken away in between, and the zone
//     runs on for the rest of the intermediates' lives (at least 30 days);
//   - no certificate outlives the one that signed it;
//   - an intermediate cannot do the work of another: one that is stolen makes
//     either web servers or workloads of this zone, and no CA;
//   - a new certificate takes the place of the old between two handshakes; a
//     bad one never does;
//   - GetCertificate answers from memory.
//
// Rotation has overlap by itself: what an intermediate has signed carries it in
// its chain, verifiers hold nothing but the root, and the root never changes by
// itself. So an intermediate can be replaced without asking anybody.
//
// The root carries no name constraints (RFC 5280 section 4.2.1.10): the hosts
// of a map change, a root does not. Who installs ca.pem in a client therefore
// trusts this zone for every name; give it to clients of the zone only.
//
// There is no revocation of leaves: they live a week or an hour, and a zone that
// loses one replaces its intermediate, or takes the workload's rights away.
package pki

import (
	"log/slog"
	"time"
)

const (
	rootLife = 10 * 365 * 24 * time.Hour
	webLife  = 365 * 24 * time.Hour
	leafLife = 7 * 24 * time.Hour

	workloadsLife = 90 * 24 * time.Hour // of the intermediate
	svidLife      = time.Hour

	// backdate is how far a certificate starts in the past, for clients whose clock is behind.
	backdate = time.Minute
)

// Options are what every constructor of the package takes. The zero value will do.
type Options struct {
	Clock func() time.Time // nil: time.Now
	Log   *slog.Logger     // nil: nothing is logged

	SVIDLife time.Duration // of an X.509-SVID; 0: an hour. Shorter in tests
}

func (o Options) withDefaults() Options {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.SVIDLife <= 0 {
		o.SVIDLife = svidLife
	}
	return o
}
