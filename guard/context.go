package guard

import (
	"context"
	"slices"
	"sync/atomic"

	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/svid"
	"sallyport.dev/zone"
)

// inbound is what the guard knows of the request in hand. It is immutable but
// for the ownership that the handler tells.
type inbound struct {
	principal     Principal // judged by; its slices belong to the remembered token
	shown         Principal // the handler's own copy
	listener      string    // outside listener that took the request in
	peer          svid.ID   // at the other end of the connection
	caller        string    // its name when it is a service; empty: the gateway
	itself        bool      // the caller acts for itself (`as: service`)
	token         string    // passed on unchanged by Guard.Client
	client        string    // Sallyport-Client, passed on unchanged; nobody when there is none
	correlationID string
	trace         trace
	stream        zone.Stream
	reading       bool            // the request is the guard's own, see OwnerRead
	ownership     *ownership      // of an `owner: code` route, else nil
	life          context.Context //nolint:containedctx // how long the request is in hand
}

type inboundKey struct{}

func withInbound(ctx context.Context, in *inbound) context.Context {
	return context.WithValue(ctx, inboundKey{}, in)
}

// actsFor says whom the request acts for.
func (in *inbound) actsFor(p Principal) {
	in.principal, in.shown = p, p
	in.shown.Roles, in.shown.Scopes = slices.Clone(p.Roles), slices.Clone(p.Scopes)
}

func inboundFrom(ctx context.Context) *inbound {
	in, _ := ctx.Value(inboundKey{}).(*inbound)
	return in
}

// PrincipalFrom returns who the request acts for; an anonymous principal for a
// context that did not come through Protect, never nil.
func PrincipalFrom(ctx context.Context) *Principal {
	if in := inboundFrom(ctx); in != nil {
		return &in.shown
	}
	return &Principal{Kind: Anonymous, Subject: policy.AnonymousSubject}
}

// CorrelationID returns the id that names the business action over every hop, for
// log lines; empty for a context that did not come through Protect. It is a
// label that the client may have chosen: never decide by it.
func CorrelationID(ctx context.Context) string {
	if in := inboundFrom(ctx); in != nil {
		return in.correlationID
	}
	return ""
}

// TraceID returns the W3C trace id as 32 hexadecimal digits, for log lines;
// empty for a context that did not come through Protect.
func TraceID(ctx context.Context) string {
	if in := inboundFrom(ctx); in != nil {
		return in.trace.id()
	}
	return ""
}

// Caller returns the name of the service that called, as its certificate says,
// empty when the request came from the gateway.
func Caller(ctx context.Context) string {
	if in := inboundFrom(ctx); in != nil {
		return in.caller
	}
	return ""
}

// Stream returns what the route of the request declares as `stream`: sse,
// websocket or grpc; empty when it declares none.
func Stream(ctx context.Context) string {
	if in := inboundFrom(ctx); in != nil {
		switch in.stream {
		case zone.StreamSSE:
			return "sse"
		case zone.StreamWebSocket:
			return "websocket"
		case zone.StreamGRPC:
			return "grpc"
		case zone.NoStream:
		}
	}
	return ""
}

// OwnerRead says that the request is not the client's: it is the GET by which
// the guard learns the owner before a write (`owner: read:/pointer`). Its answer
// stays in the guard. A handler that counts or logs reads may leave it out.
func OwnerRead(ctx context.Context) bool {
	in := inboundFrom(ctx)
	return in != nil && in.reading
}

// Owns says whether owner, as the service stores it, is the principal of the
// request, and tells the guard. On a route with `owner: code` the handler must
// call it before it answers, and before it changes anything: the guard can keep
// an answer back, not undo a write.
//
//	if !guard.Owns(r.Context(), order.Customer) {
//		return // the guard answers 404
//	}
//
// The answer leaves only when Owns was called and was true every time. For an
// object that does not exist, call it with the empty string, which nobody is:
// then the client cannot tell the two apart. On other routes Owns only compares.
func Owns(ctx context.Context, owner string) bool {
	in := inboundFrom(ctx)
	if in == nil {
		return false
	}
	owns := in.principal.owns(owner)
	if in.ownership != nil {
		in.ownership.tell(owns)
	}
	return owns
}

// ownership is what a handler said about the object of the request.
type ownership struct {
	said atomic.Int32 // unsaid, owned, or denied, which is final
}

const (
	unsaid int32 = iota
	owned
	denied
)

func (o *ownership) tell(owns bool) {
	if owns {
		o.said.CompareAndSwap(unsaid, owned)
	} else {
		o.said.Store(denied)
	}
}
