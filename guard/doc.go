// Package guard is the inner door of a Go service in a Sallyport zone: a server
// that lets a request reach its handler only when the zone map says so, and an
// HTTP client for the calls that the map declares.
//
//	g, err := guard.New(ctx, guard.Config{}) // who and where: from the environment
//	...
//	err = g.ListenAndServe(ctx, "127.0.0.1:9002", mux)
//
// # What it promises
//
// Nobody is believed for where they are. A connection is mutual TLS 1.3 with an
// X.509-SVID of the zone on both sides, full handshakes only; it ends with the
// first of the two certificates, and when its peer loses a right. The service's
// own certificate comes from the SPIFFE Workload API of the host or for a join
// token, and is renewed without a restart.
//
// A handler runs only for a request that
//
//   - came from the gateway, through the route's listener, or from a service whose
//     calls name the route: the caller is the peer's certificate;
//   - carries exactly one inside token of the zone (signature, type, issuer, zone
//     and life hold); that of a service itself (`as: service`) from this very
//     service only, and only where its call is declared so;
//   - proves that this caller sent this method, target, authority, token,
//     correlation id, client and body, once, in the strength that the route asks
//     for or a greater one: by a MAC under a key of this connection, or by a
//     signature with the key of the caller's certificate. A weaker proof is refused;
//   - is for a principal that the route's allow, roles, scopes and params take.
//
// The routes are those of the map, of all listeners together, matched on the very
// bytes of the path and by the rules of http.ServeMux: the handler that runs is
// the one that was judged. The body is complete and its digest is checked before
// the handler starts; over 64 KiB it lies in a file without name (Config.Spool).
// Stream and `proof: channel` routes have no digest, their bodies come as they come.
//
// An answer of a route with an owner leaves only when the object is the
// principal's:
//
//   - path:NAME: the path value is the subject; checked before the handler runs.
//   - response:/pointer: the handler's answer is held back until the JSON value
//     at the pointer (RFC 6901) proved to be the subject.
//   - read:/pointer: before a write, the same handler is asked for the same
//     path with GET, and that answer is judged as response: is. Protect must
//     therefore wrap the whole mux of the service, not one handler of it. Where
//     the map has a more specific GET for the path, the write is refused.
//   - code: the answer is held back until the handler has called Owns.
//
// A stream route (`stream: sse`, websocket or grpc) lasts while its certificates
// do, is never silent for longer than Config.StreamIdle, and is judged again by
// each new map. The handler of a WebSocket route takes the connection over by
// http.Hijacker, which no other route has: read and write through what Hijack
// returns. gRPC is HTTP/2 and needs nothing: a *grpc.Server is an http.Handler, and
// its requests have no bound in bytes.
//
// # What it refuses
//
// Everything else. Without an identity no handshake succeeds. Without a map and
// keys from control, or when they are older than the zone's staleness, all
// requests get 503. A restriction that this version does not know closes its
// route. Refusals are problem documents (RFC 9457) with a reason of the zone's
// closed list. Token, proof and the plain identity headers never reach the
// handler: identity comes from PrincipalFrom and Caller and nowhere else. The one
// exception is the service's declared `health` path, which the gateway asks
// without a token: its handler runs for nobody.
//
// # What it does not do
//
// A caller is the peer of the connection, so nothing that ends TLS may stand
// between a caller and a guard, not even where the proof is a signature. Of safe
// methods, a replica takes a signed request that another replica took before. A
// signature that was made in the
// second in which the guard started, or before, is refused as too old; Serve
// takes no connection before that second is over. Answers carry no proof of their
// own: the connection protects them.
package guard
