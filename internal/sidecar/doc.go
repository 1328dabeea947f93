// Package sidecar is the inner door of a service that is written in any
// language: a guard in front of whatever speaks HTTP on loopback or on a unix
// socket, and the service's only way to call others.
//
//	gateway, callers ──mutual TLS──▶ guard ──▶ sidecar ──plain HTTP──▶ service
//	                                                                      │
//	other services  ◀──mutual TLS── guard.Client ◀── sidecar ◀──out.sock──┘
//
// # Inbound: what it promises
//
// A request reaches the service only when guard.Protect let it through: owner,
// roles, scopes, params and the caller's certificate are the guard's to judge,
// and an answer that the guard holds back never leaves. Whatever the sender says
// in the names of the inside, of the outside's credentials or of other proxies
// is removed first, in every spelling and whether or not Connection nominates it;
// only then the facts are said in plain:
//
//   - X-User-Id is the subject, X-Client-Id the OAuth client or API key. An
//     anonymous request has none of the X-User fields: nobody is not a user of
//     the name "anonymous".
//   - X-User-Roles and X-User-Scopes are lists separated by commas without blanks.
//     A member that would read as two is refused.
//   - X-Caller is the service that calls; the gateway has none.
//   - X-Correlation-Id and traceparent are the guard's.
//   - Sallyport-Request is the handle of this very request, see below.
//
// Nothing that proves anything reaches the service: no Txn-Token, Signature,
// Sallyport-Certificate or Content-Digest. Of the answer the names of the inside
// are removed, so that a service can say neither a reason nor a user; trailers
// and interim answers (1xx) are dropped, since no policy has judged them; only
// gRPC, which has its status there, keeps its trailers, by the rules of headers. A
// service that is down answers 502 upstream.unreachable, one that is slow 504
// upstream.timeout, one that breaks HTTP 502 upstream.protocol, and an answer
// that ends early breaks the connection off rather than look whole.
//
// A route with `stream` reaches the service as what it is, in constant memory and
// never silent for longer than Config.StreamIdle: an event stream; a WebSocket,
// whose handshake is checked both ways before the connection is a tunnel; gRPC over
// HTTP/2, on the service's side without TLS (prior knowledge). In all a stream
// lasts no longer than the certificates of its connection, and ends when the map
// does not allow it any more.
//
// # Outbound: what it promises
//
// The service makes plain HTTP requests on the outbound listener with the callee's
// name as Host, and sends back the Sallyport-Request of the request in hand. The
// call is then made by guard.Client as that request: its principal, correlation id
// and trace. A handle is 128 random bits, lives in this process only and for as
// long as its request is open, and is the one thing that finds a request: a
// correlation id never does. The call lives as long as the service waits for it,
// also when the request that it belongs to ends meanwhile; but a WebSocket ends with
// that request. It is opened by the handshake that the inner door takes as well, and
// nothing but its tunnel follows on the connection. Without a handle only
// calls that the map declares `as: service` pass. What may be called is
// guard.Client's to decide, from the map: the default is nothing.
//
// On a unix socket, which this uid alone may open, the Host `sidecar` is the
// sidecar itself: GET /ready answers 200 or 503, and POST /quit ends it, for the
// service that is a job with an end. On a TCP port of loopback, where the peer
// cannot be known, it is nobody, and calls `as: service` are open to every process
// of the host.
//
// # What it refuses
//
// Upgrades but of WebSocket (of others on routes that declare it only), tunnels,
// absolute targets, paths that some services read in another way than the map (a
// semicolon, a backslash, what a second decoding would decode), a handle that is
// unknown, ended, malformed or sent twice, more requests than its table of handles
// has room for, and a service that is away from this host. Until the identity and the map are
// there it does not listen for others at all.
//
// # What it cannot do
//
// Whoever can connect to the service's own port or socket goes past the inner
// door; a socket that one uid can open is better than a port of loopback. A GET,
// HEAD or OPTIONS without a body is sent again, once, when the connection breaks
// before the first byte of the answer; instances that do not take the connection
// are passed over. The token of a request lives a minute: calls under the
// handle of a long stream are refused by the callee after that.
package sidecar
