// Package guard is the inner door of a Go service in a Sallyport zone: a
// middleware that lets a request reach its handler only when the zone map says
// so, and an HTTP client for the calls that the map declares.
//
//	g, err := guard.New(ctx, guard.Config{}) // SALLYPORT_SERVICE, SALLYPORT_CONTROL, SALLYPORT_CA
//	if err != nil {
//		return err
//	}
//	srv := &http.Server{Addr: "127.0.0.1:9002", Handler: g.Protect(mux)}
//
// # What it promises
//
// A handler behind Protect runs only for a request that carries exactly one
// inside token of the zone (signature, type, issuer, zone and life hold), on a
// route that the map declares for this service, from the gateway through the
// route's listener or from a service whose calls name the route, for a principal
// that the route's allow, roles, scopes and params take. The routes are those of
// the map, of all listeners together, matched on the very bytes of the path and
// by the rules of http.ServeMux: the handler that runs is the one that was judged.
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
// # What it refuses
//
// Everything else. Without a map and keys from control, or when they are older
// than the zone's staleness, all requests get 503. A restriction that this
// version does not know closes its route. Refusals are problem documents (RFC
// 9457) with a reason of the zone's closed list. The token and the plain identity
// headers never reach the handler: identity comes from PrincipalFrom and
// nowhere else. The one exception is the service's declared `health` path, which
// the gateway asks without a token: its handler runs for nobody.
//
// # What it does not do yet
//
// The caller of a request is what the header X-Caller says, and the connection
// is plain: any process that can reach the service and holds a live token can
// play any caller. Services listen on loopback or a unix socket until mutual TLS
// is there.
package guard
