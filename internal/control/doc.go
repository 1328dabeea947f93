// Package control is the listener at which guards, sidecars and services in
// other languages join the zone and stay in touch with it.
//
//	POST /v1/join            join token and key in, identity out; the one operation without a certificate
//	POST /v1/identity        the next identity of the peer
//	GET  /v1/services/NAME   the slice of the map that NAME's guard goes by; held until it changes when asked so
//	POST /v1/token           an inside token of the peer itself, for calls `as: service`
//	POST /v1/once            whether a signed request is new to all replicas of the peer
//	POST /oauth/token        an inside token for an outside access token (RFC 8693), for calls on behalf of its user
//	GET  /.well-known/jwks.json  the keys of the inside tokens
//
// It promises:
//   - mutual TLS 1.3: it proves itself as spiffe://ZONE/control, and a peer is
//     who its certificate names, verified in this connection's handshake;
//   - a service gets what is its own: its slice, its identity, its token. A
//     service that the map no longer has gets nothing;
//   - a join token buys one certificate, and a bad request costs it nothing;
//   - each identity and each exchange that is handed out or refused has its record
//     before the answer; of floods one record a minute.
//
// It refuses everything else with a problem document (RFC 9457), at /oauth/token
// with an error of OAuth (RFC 6749 section 5.2), and a peer that is not of this
// zone in the handshake.
package control
