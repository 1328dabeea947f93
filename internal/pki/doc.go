// Package pki is where certificates come from: the zone's own CA for listeners
// with `certificate: internal`, pairs of files for those that bring their own,
// and the pools of CAs whose client certificates a partner listener takes.
//
// The CA is a root and, under it, an intermediate for each purpose; so far there
// is one, for web servers (RFC 5280; P-256 and ECDSA with SHA-256 throughout):
//
//	root          10 years   path length 1
//	web           1 year     path length 0, server authentication only, renewed at 2/3
//	leaf          7 days     server authentication only, renewed at 2/3
//
// It promises:
//   - every private key is sealed under the root key of the zone, a leaf's is
//     never stored at all;
//   - the root's private key is a value of its own, opened only while an
//     intermediate is issued: it can be taken away in between, and the zone
//     runs on for the rest of the intermediate's life;
//   - no certificate outlives the one that signed it;
//   - a new certificate takes the place of the old between two handshakes; a
//     bad one never does;
//   - GetCertificate answers from memory.
//
// The root carries no name constraints (RFC 5280 section 4.2.1.10): the hosts
// of a map change, a root does not. Who installs ca.pem in a client therefore
// trusts this zone for every name; give it to clients of the zone only.
//
// There is no revocation of leaves: they live a week, and a zone that loses one
// replaces its intermediate.
package pki

import (
	"log/slog"
	"time"
)

const (
	rootLife = 10 * 365 * 24 * time.Hour
	webLife  = 365 * 24 * time.Hour
	leafLife = 7 * 24 * time.Hour

	// backdate is how far a certificate starts in the past, for clients whose clock is behind.
	backdate = time.Minute
)

// Options are what every constructor of the package takes. The zero value will do.
type Options struct {
	Clock func() time.Time // nil: time.Now
	Log   *slog.Logger     // nil: nothing is logged
}

func (o Options) withDefaults() Options {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}
