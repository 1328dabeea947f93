package problem

import "fmt"

// Reason is the stable code of how a request ended. The list is closed: a
// reason that is not in this file cannot be written on the wire, in the journal
// or in a metric. The zero value is InternalError, so that a forgotten reason
// denies.
type Reason uint8

// The reasons, by family. The order is not part of any format: journals and
// wires carry the code, never the number.
const (
	InternalError Reason = iota // must stay the zero value: unknown means refused
	OK

	RequestMalformed
	RequestTarget
	RequestPath
	RequestQuery
	RequestHeader
	RequestHost
	RequestFraming
	RequestUpgrade
	RequestBodyTooLarge
	RequestHeaderTooLarge
	RequestTimeout
	RequestParam
	RequestContent

	ListenerHost
	ListenerSNI
	ListenerCertificate
	ListenerBusy

	RouteUnknown
	RouteMethod

	AuthMissing
	AuthInvalid
	AuthExpired
	AuthRevoked
	AuthAmbiguous
	AuthCrossSite
	AuthLogin
	AuthProof
	AuthNonce
	AuthStepUp
	AuthUnavailable

	LimitRate
	LimitAddress
	LimitBusy
	LimitUnavailable

	AccessKind
	AccessRole
	AccessScope
	AccessAddress

	OwnerDenied
	OwnerUnchecked

	TokenUnavailable

	InsideTokenMissing
	InsideTokenInvalid
	InsideTokenExpired
	InsideRoute
	InsideCall
	InsideStale
	InsideUnavailable
	InsidePeer
	InsideHandle

	ProofMissing
	ProofInvalid
	ProofExpired
	ProofReplayed
	ProofDigest
	ProofDowngraded
	ProofUnavailable

	JoinRefused

	UpstreamUnreachable
	UpstreamTimeout
	UpstreamProtocol
	UpstreamBusy

	ZoneNotEnforced
	ZoneDraining

	JournalFull
	JournalUnavailable

	AccountInvalid
	AccountExists
	AccountUnknown
	AccountPassword
	AccountClosed
	AccountFlow
	AccountFactor
	AccountConflict

	ProviderUnknown
	ProviderDenied
	ProviderInvalid
	ProviderUnavailable

	OAuthRequest
	OAuthClient
	OAuthGrant
	OAuthProof
	OAuthScope
	OAuthDenied
	OAuthPending

	AdminInvalid
	AdminUnknown
	AdminConflict

	ClientClosed

	reasonCount // keep last
)

type info struct {
	code   string
	status int
	title  string // public: shown to any caller, so it tells nothing of the inside
	mend   string // documentation: what an operator or caller can do
}

// reasons is the closed list. It is indexed by Reason and never written after
// the program starts; a test proves that it is complete and that codes differ.
var reasons = [reasonCount]info{
	InternalError: {"internal.error", 500, "Internal error", "A defect. Search the log by the correlation id."},
	OK:            {"ok", 200, "Allowed", "The request was allowed and forwarded; the status is the service's."},

	RequestMalformed:      {"request.malformed", 400, "The request is malformed", "The request could not be read as HTTP."},
	RequestTarget:         {"request.target", 400, "The request target is not accepted", "Only origin-form targets (a path that starts with /) are accepted."},
	RequestPath:           {"request.path", 400, "The path is ambiguous", "Send the canonical path: no dot segments, empty segments, backslashes, semicolons, NUL, encoded slashes or needless encoding."},
	RequestQuery:          {"request.query", 400, "The query is ambiguous", "The query must be well-formed name=value pairs joined by &."},
	RequestHeader:         {"request.header", 400, "A header is not accepted", "Header names may hold letters, digits and hyphens only."},
	RequestHost:           {"request.host", 400, "The Host is not accepted", "Send exactly one well-formed Host."},
	RequestFraming:        {"request.framing", 400, "The message framing is ambiguous", "Send either Content-Length or Transfer-Encoding: chunked, once."},
	RequestUpgrade:        {"request.upgrade", 400, "The upgrade is not accepted", "A `stream: websocket` route takes the opening handshake of WebSocket, version 13, over HTTP/1.1, and nothing else; a `stream: grpc` route takes HTTP/2."},
	RequestBodyTooLarge:   {"request.body_too_large", 413, "The body is too large", "The listener's limits.body bounds it."},
	RequestHeaderTooLarge: {"request.header_too_large", 431, "The header section is too large", "The listener's limits.header bounds it."},
	RequestTimeout:        {"request.timeout", 408, "The request took too long", "The listener's header_time and body_rate bound it."},
	RequestParam:          {"request.param", 400, "A parameter does not have its declared type", "The route's params declare the type of each path and query value."},
	RequestContent:        {"request.content", 415, "The content type is not accepted", "Send the content type that the route takes."},

	ListenerHost:        {"listener.host", 421, "This host is not served here", "The Host is not among the listener's hosts."},
	ListenerSNI:         {"listener.sni", 421, "The TLS server name differs from the Host", "Open a connection for this host of its own."},
	ListenerCertificate: {"listener.certificate", 403, "A client certificate is required", "This listener requires a certificate of its client_ca."},
	ListenerBusy:        {"listener.busy", 503, "The listener is at its limit", "The listener's connections limit is reached; try again later."},

	RouteUnknown: {"route.unknown", 404, "Not found", "No route of this listener has this path."},
	RouteMethod:  {"route.method", 405, "Method not allowed", "The path exists with other methods; see Allow."},

	AuthMissing:     {"auth.missing", 401, "Authentication is required", "Send a session, API key or token."},
	AuthInvalid:     {"auth.invalid", 401, "The credential is not valid", "The credential is unknown, malformed or of another zone."},
	AuthExpired:     {"auth.expired", 401, "The credential has expired", "Log in again, or rotate the key."},
	AuthRevoked:     {"auth.revoked", 401, "The credential was revoked", "Log in again."},
	AuthAmbiguous:   {"auth.ambiguous", 400, "More than one credential was sent", "Send exactly one credential."},
	AuthCrossSite:   {"auth.cross_site", 403, "The request came from another site", "A cookie session is accepted for unsafe methods from the zone's own origin only."},
	AuthLogin:       {"auth.login", 401, "E-mail or password is wrong", "The same answer for known and unknown accounts."},
	AuthProof:       {"auth.proof", 401, "The proof of possession does not hold", "The token is bound to a key or certificate, and the request does not show that its sender holds it (RFC 9449, RFC 8705)."},
	AuthNonce:       {"auth.nonce", 401, "The proof of possession needs a nonce", "Make the proof again with the nonce of the header DPoP-Nonce (RFC 9449 section 9)."},
	AuthStepUp:      {"auth.step_up", 401, "A fresh or stronger login is required", "The route asks for a second factor or a recent login, or the zone for a second factor that this session lacks."},
	AuthUnavailable: {"auth.unavailable", 503, "Authentication is not available", "The account store cannot be reached; nothing is let through meanwhile."},

	LimitRate:        {"limit.rate", 429, "Too many requests", "The route's or listener's rate is used up; see Retry-After."},
	LimitAddress:     {"limit.address", 429, "Too many requests from this address", "The bound per client address is used up; see Retry-After."},
	LimitBusy:        {"limit.busy", 503, "Busy, try again", "An expensive step (password hashing) is at its memory bound; see Retry-After."},
	LimitUnavailable: {"limit.unavailable", 503, "Not available", "The counters of the limits cannot be reached; nothing is let through uncounted."},

	AccessKind:    {"access.kind", 403, "This kind of caller is not allowed here", "The route's allow does not name this kind of principal."},
	AccessRole:    {"access.role", 403, "A role is missing", "The route's roles name none of the caller's."},
	AccessScope:   {"access.scope", 403, "A scope is missing", "The key or token lacks a scope of the route, or the route declares none."},
	AccessAddress: {"access.address", 403, "The credential is not accepted from this address", "The API key is limited to other addresses: `sallyport key show` tells which. Where a proxy stands before the listener, `trusted_proxies` names it."},

	OwnerDenied:    {"owner.denied", 404, "Not found", "The object is not the caller's, or there is none."},
	OwnerUnchecked: {"owner.unchecked", 500, "Internal error", "The handler of an `owner: code` route did not call guard.Owns; its answer was withheld."},

	TokenUnavailable: {"token.unavailable", 503, "The inside token cannot be made", "The token service or its signing key is not available."},

	InsideTokenMissing: {"inside.token_missing", 401, "The inside token is missing", "The service was called past the gateway."},
	InsideTokenInvalid: {"inside.token_invalid", 401, "The inside token is not valid", "Signature, type, issuer, zone or key do not hold."},
	InsideTokenExpired: {"inside.token_expired", 401, "The inside token is not in its lifetime", "Expired or not yet valid; check the clocks."},
	InsideRoute:        {"inside.route", 404, "Not found", "The service's map declares no such route."},
	InsideCall:         {"inside.call", 403, "The call is not declared", "The caller's map declares no such call."},
	InsideStale:        {"inside.stale", 503, "The guard's map is too old", "The guard has not heard from control within `staleness`."},
	InsideUnavailable:  {"inside.unavailable", 503, "The guard is not ready", "The guard has no map or no keys yet."},
	InsidePeer:         {"inside.peer", 403, "The peer is not accepted", "The certificate of the other workload is not of this zone, not in its lifetime, not the one that was expected, or not allowed here."},
	InsideHandle:       {"inside.handle", 403, "The request handle is not valid", "The service sent a Sallyport-Request that is not of a request which is open at its sidecar now: send back the one of the request in hand, once, and make calls before answering."},

	ProofMissing:     {"proof.missing", 400, "The proof of the request is missing", "The route demands a proof (mac or signature) that the sender did not make. 400, not 401: no credential of the caller is asked for."},
	ProofInvalid:     {"proof.invalid", 400, "The proof of the request is not valid", "What the proof covers was changed on the way, its form is not the one profile accepted, or the key is not the sender's."},
	ProofExpired:     {"proof.expired", 400, "The proof of the request is not in its lifetime", "Expired, made in the future, or made before the receiver started; check the clocks."},
	ProofReplayed:    {"proof.replayed", 400, "The proof of the request was used before", "Each proof is accepted once; the sender makes a new one for each attempt."},
	ProofDigest:      {"proof.digest", 400, "The content differs from its digest", "The content was changed on the way, or Content-Digest is not exactly one sha-256."},
	ProofDowngraded:  {"proof.downgraded", 400, "The proof of the request is too weak", "The route demands a stronger proof than the one that was sent."},
	ProofUnavailable: {"proof.unavailable", 503, "The proof of the request cannot be checked", "The memory of used proofs or the space for large bodies is full, or their shared store cannot be reached."},

	JoinRefused: {"join.refused", 403, "The join token is not accepted", "It is unknown, spent or older than ten minutes, or of another zone: run `sallyport join NAME` again."},

	UpstreamUnreachable: {"upstream.unreachable", 502, "The service cannot be reached", "No instance of the service takes connections."},
	UpstreamTimeout:     {"upstream.timeout", 504, "The service took too long", "The service did not answer within its bound."},
	UpstreamProtocol:    {"upstream.protocol", 502, "The service answered badly", "The service closed early or broke HTTP."},
	UpstreamBusy:        {"upstream.busy", 503, "The service is at its limit", "Every instance has as many requests under way as the gateway allows, or more than half of that with this client address at its share of an eighth; try again later."},

	ZoneNotEnforced: {"zone.not_enforced", 503, "Not available", "The route declares a restriction that this version does not enforce yet; it is closed rather than open."},
	ZoneDraining:    {"zone.draining", 503, "Shutting down", "The process is draining; try another instance."},

	JournalFull:        {"journal.full", 503, "Not available", "The journal is full and nothing can be freed; raise journal.size or shorten retain."},
	JournalUnavailable: {"journal.unavailable", 503, "Not available", "The journal cannot be written; the door stops before the record does."},

	AccountInvalid:  {"account.invalid", 400, "The request is not valid", "See detail for the field."},
	AccountExists:   {"account.exists", 409, "The account exists", "Log in instead."},
	AccountUnknown:  {"account.unknown", 404, "Not found", "No such account or session."},
	AccountPassword: {"account.password", 422, "The password is not accepted", "See detail: 8 to 128 characters, not commonly used."},
	AccountClosed:   {"account.closed", 404, "Not found", "Registration is closed in this zone."},
	AccountFlow:     {"account.flow", 410, "This step has ended", "The link or step is unknown, used, expired, of another browser, or had too many wrong answers; begin anew."},
	AccountFactor:   {"account.factor", 401, "The second factor is not right", "The code, passkey or recovery code does not hold, or was used before."},
	AccountConflict: {"account.conflict", 409, "This cannot be done now", "See detail."},

	ProviderUnknown:     {"provider.unknown", 404, "Not found", "The map lists no provider of this name that logs users in."},
	ProviderDenied:      {"provider.denied", 403, "The provider did not log you in", "The login was cancelled there, or the provider refuses this user."},
	ProviderInvalid:     {"provider.invalid", 401, "The provider's answer is not valid", "It is not the answer to what was asked, was used before, or does not hold; the log has the cause. Log in again."},
	ProviderUnavailable: {"provider.unavailable", 503, "The provider cannot be reached", "It does not answer, or answers badly; the log has the cause. Try again later, or log in another way."},

	OAuthRequest: {"oauth.request", 400, "The request of the program is not valid", "A parameter is missing, malformed, there twice, or not what the client was registered with; the answer's `error` says more."},
	OAuthClient:  {"oauth.client", 401, "The program is not known", "The client id is unknown, or the client could not show who it is; a secret that was rotated is taken for its overlap only."},
	OAuthGrant:   {"oauth.grant", 400, "The code or token is not valid", "It is unknown, used, expired or another client's, or its user, session or grant has ended; begin anew. A code or refresh token that comes again ends all that came of it."},
	OAuthProof:   {"oauth.proof", 400, "The proof of possession is not valid", "The DPoP proof is missing, of another key, address or time, was used before, or lacks the nonce that the answer gives."},
	OAuthScope:   {"oauth.scope", 400, "The scope is not allowed", "The client is not registered for it, or no route has it."},
	OAuthDenied:  {"oauth.denied", 403, "The program was not allowed", "The user said no, or the client is not registered for this."},
	OAuthPending: {"oauth.pending", 400, "The user has not decided yet", "The device asks again after its interval."},

	AdminInvalid:  {"admin.invalid", 400, "The request is not valid", "See detail."},
	AdminUnknown:  {"admin.unknown", 404, "Not found", "No such object."},
	AdminConflict: {"admin.conflict", 409, "The object exists or changed", "See detail."},

	ClientClosed: {"client.closed", 499, "The client went away", "Recorded only: the client closed before the answer was whole."},
}

func (r Reason) info() info {
	if r >= reasonCount {
		r = InternalError
	}
	return reasons[r]
}

// Code returns the stable code, `family.name` (or `ok`).
func (r Reason) Code() string { return r.info().code }

// Status returns the HTTP status that goes with the reason.
func (r Reason) Status() int { return r.info().status }

// Title returns the public one-line text. It never depends on the request.
func (r Reason) Title() string { return r.info().title }

// Mend returns what the documentation says about the reason.
func (r Reason) Mend() string { return r.info().mend }

// String is Code.
func (r Reason) String() string { return r.Code() }

// MarshalText writes the code.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.Code()), nil }

// UnmarshalText reads a code of the closed list and refuses all others.
func (r *Reason) UnmarshalText(b []byte) error {
	got, ok := Parse(string(b))
	if !ok {
		return fmt.Errorf("problem: unknown reason %q", b)
	}
	*r = got
	return nil
}

// Parse returns the reason of a code; ok is false for a code that is not in the list.
func Parse(code string) (r Reason, ok bool) {
	for r := range reasonCount {
		if reasons[r].code == code {
			return r, true
		}
	}
	return InternalError, false
}

// All returns the closed list in the order of this file.
func All() []Reason {
	all := make([]Reason, 0, reasonCount)
	for r := range reasonCount {
		all = append(all, r)
	}
	return all
}
