// Package svid is the identity of a workload as the workload sees it: its
// X.509-SVID (SPIFFE X509-SVID specification), where it comes from, and the
// mutual TLS that it makes and takes with it.
//
// A Source holds the identity in use. It is filled from the SPIFFE Workload API
// of this host (WorkloadAPI) or with a join token (Join), which both keep it
// fresh, and it feeds ServerTLS, ClientTLS and ControlTLS: a new identity is
// used from the next handshake on, without a restart. Conns owns the connections
// that came out of those handshakes and ends them in time; Transport and Retire
// see to it that a connection ends between two requests.
//
// It promises:
//   - TLS 1.3 only, with a certificate on both sides, and each handshake is
//     judged: sessions are never resumed, and one that was is refused;
//   - a peer is the whole SPIFFE ID of its certificate, read from the one URI
//     name byte by byte; host names, the subject and a path alone are never
//     looked at;
//   - a peer's chain ends at a root of the workload's own trust domain, as the
//     Source holds them at this moment, and no certificate of it outlives its
//     issuer, is for one side of TLS only, or signs for another trust domain;
//   - a connection never outlives the certificate of its peer nor its own, and
//     the owner can end those whose peer lost its right;
//   - every wait ends with its context, every retry has a growing and spread
//     pause, and every input is bounded before it is parsed;
//   - a join token's secret is sent to nobody but the control part of the zone
//     whose root the token names.
//
// It refuses a Source without an identity in its lifetime (inside.unavailable)
// and a peer that is not who it should be (inside.peer): the zero value of every
// right is no.
//
// Trust is not federated: bundles of other trust domains are not read, and
// revocation lists are not either, since SVIDs live an hour.
package svid

import "time"

// The names of the zone's own parts, as the last part of their SPIFFE IDs.
const (
	GatewayName = "gateway"
	ControlName = "control"
)

const (
	maxID    = 2048 // bytes of a SPIFFE ID (SPIFFE-ID section 2.3)
	maxChain = 8    // certificates that a peer may present
	maxRoots = 32   // roots of a trust domain

	handshakeTimeout = 10 * time.Second // of a connection that we open

	// recheck is how often a connection looks at the clock: its timer stands
	// still while the host sleeps.
	recheck = time.Minute
)
