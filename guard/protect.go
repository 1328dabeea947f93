package guard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"

	"sallyport.dev/guard/internal/channel"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/svid"
	"sallyport.dev/internal/token"
	"sallyport.dev/zone"
)

// Protect returns a handler that judges each request by the map and serves it
// with next only if it holds. What next sees is the request without the inside
// token and the proof; its context answers PrincipalFrom, CorrelationID, Caller,
// TraceID and Owns, and carries Guard.Client's calls.
//
// ListenAndServe and Serve do this by themselves. Protect is for a server of the
// program's own, which needs Listener and ConnContext of the guard as well:
// requests that came another way are refused.
//
// Wrap the mux of the service as a whole, once: routes come from the map, not
// from the mux, and `owner: read:` asks next for other methods of the path.
func (g *Guard) Protect(next http.Handler) http.Handler {
	if p, ok := next.(*protected); ok && p.g == g {
		return p // a second look would find neither token nor proof
	}
	return &protected{g, next}
}

type protected struct {
	g    *Guard
	next http.Handler
}

// ServeHTTP goes through the checks in the order in which each relies on those
// before it: a channel, a map, a token, a route, a proof, a caller and rights,
// then the body, which may be long, and the owner.
func (p *protected) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	in := &inbound{correlationID: correlationOf(r.Header), trace: traceOf(r.Header), client: nobody}
	ch, err := in.come(r.Context())
	if err != nil {
		p.refuse(w, r, in, err)
		return
	}
	b, err := p.g.current()
	if err != nil {
		w.Header().Set("Retry-After", "1")
		p.refuse(w, r, in, err)
		return
	}
	if in.peer.TrustDomain().Name() != b.slice.Zone {
		p.refuse(w, r, in, problem.New(problem.InsidePeer, fmt.Errorf("%s is not of the zone", in.peer)))
		return
	}
	if b.health(r, in) {
		in.actsFor(Principal{Kind: Anonymous, Subject: policy.AnonymousSubject})
		p.serve(w, r, in, &rule{route: &zone.Route{}}, nil)
		return
	}
	var values zone.Values
	ru, digest, err := p.judge(b, r, in, ch, &values)
	if err != nil {
		p.refuse(w, r, in, err)
		return
	}
	r, release, err := p.g.takeBody(w, r, ru, digest)
	if err != nil {
		p.refuse(w, r, in, err)
		return
	}
	defer release()
	p.serve(w, r, in, ru, &values)
}

// judge holds the head of a request against the map. It returns the digest that
// the body must have; empty: none was asked for.
func (p *protected) judge(b *book, r *http.Request, in *inbound, ch *channel.Channel, values *zone.Values) (*rule, string, error) {
	if err := b.identify(r, in); err != nil {
		return nil, "", err
	}
	rt, found := b.matcher.Match(r.Method, r.URL.EscapedPath(), values)
	if found != zone.Matched {
		return nil, "", problem.New(problem.InsideRoute, nil)
	}
	ru := b.rules[rt]
	digest, err := p.g.prove(r, in, ru, ch)
	if err != nil {
		return nil, "", err
	}
	return ru, digest, b.admit(r, in, ru, values)
}

// come learns who sent the request: the workload whose certificate the
// connection was made with, and nothing that the request says.
func (in *inbound) come(ctx context.Context) (*channel.Channel, error) {
	ch, peer, err := channel.From(ctx)
	if err != nil {
		return nil, problem.New(problem.InsidePeer, err)
	}
	in.peer = peer
	switch name := nameOf(peer); {
	case !mayEnter(name):
		return nil, problem.New(problem.InsidePeer, fmt.Errorf("%s is no caller", peer))
	case name != svid.GatewayName:
		in.caller = name
	}
	return ch, nil
}

// health says whether a request is the gateway's question after the service's
// health, which carries no token. It opens the one declared path with GET, and
// only where no route of the map asks for more.
func (b *book) health(r *http.Request, in *inbound) bool {
	if b.slice.Health == "" || r.Method != http.MethodGet || r.URL.EscapedPath() != b.slice.Health ||
		r.URL.RawQuery != "" || r.ContentLength != 0 || len(r.Header[headerToken]) != 0 || in.caller != "" {
		return false
	}
	rt, found := b.matcher.Match(r.Method, b.slice.Health, nil)
	return found != zone.Matched || b.rules[rt].open()
}

// identify verifies the inside token and learns whom the request acts for.
func (b *book) identify(r *http.Request, in *inbound) error {
	switch values := r.Header[headerToken]; len(values) {
	case 0:
		return problem.New(problem.InsideTokenMissing, nil)
	case 1:
		in.token = values[0]
	default: // exactly one (draft-ietf-oauth-transaction-tokens)
		return problem.New(problem.InsideTokenInvalid, errors.New("more than one token"))
	}
	claims, err := b.verifier.Verify(r.Context(), in.token)
	if err != nil {
		return err
	}
	if in.itself = claims.Requester.Method == token.MethodSVID; in.itself {
		// It is worth something in one hand only, and is never passed on.
		if self := in.peer.String(); in.caller == "" || claims.Subject != self || claims.Workload != self {
			return problem.New(problem.InsideTokenInvalid, fmt.Errorf("the token is of %s, the peer is %s", clip(claims.Subject), self))
		}
	}
	in.actsFor(principalOf(claims))
	in.listener = claims.Requester.Listener
	return nil
}

// admit judges caller, principal and parameters by the route.
func (b *book) admit(r *http.Request, in *inbound, ru *rule, values *zone.Values) error {
	rt, judged := ru.route, in.principal.policy()
	reason := problem.InternalError
	switch {
	case in.caller != "" && in.itself:
		if reason = ru.own.Check(in.caller); reason == problem.OK {
			reason = policy.AuthorizeCall(rt, &judged)
		}
	case in.caller != "":
		if reason = ru.callers.Check(in.caller); reason == problem.OK {
			reason = policy.AuthorizeCall(rt, &judged)
		}
	case rt.Allow&^zone.AllowService == 0, rt.Listener == "", rt.Listener != in.listener:
		// It does not exist on the listener that took the request in: a wider route
		// there led here.
		reason = problem.InsideRoute
	default:
		reason = policy.Authorize(rt, &judged)
	}
	if reason == problem.OK && !ru.params.Empty() {
		reason = checkParams(ru.params, r, values)
	}
	if reason != problem.OK {
		return problem.New(reason, nil)
	}
	if ru.closed != "" {
		return problem.New(problem.ZoneNotEnforced, errors.New(ru.closed))
	}
	if rt.Owner.Kind == zone.OwnerRead {
		// A more specific GET may stand in the way of the one that shows the object.
		if get, _ := b.matcher.Match(http.MethodGet, r.URL.EscapedPath(), nil); get == nil || !get.SamePath(rt) {
			return problem.New(problem.OwnerDenied, errors.New("GET of this path is not the read of this route"))
		}
	}
	return nil
}

func checkParams(params *policy.Params, r *http.Request, values *zone.Values) problem.Reason {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return problem.RequestQuery
	}
	return params.Check(values, query)
}

// serve runs the handler under the route's ownership check.
func (p *protected) serve(w http.ResponseWriter, r *http.Request, in *inbound, ru *rule, values *zone.Values) {
	if ru.route.Owner.Kind == zone.OwnerCode {
		in.ownership = &ownership{}
	}
	ctx := withInbound(r.Context(), in)
	in.stream = ru.route.Stream
	if in.stream == zone.NoStream {
		w = &writer{ResponseWriter: w}
	} else {
		var s *stream
		s, ctx = p.g.begin(ctx, w, r, in, ru)
		defer p.g.finish(s)
		// A new map has ended the streams that it found, which this one was not among
		// when it was judged.
		if err := p.g.book.Load().stillMay(s); err != nil {
			p.refuse(w, r, in, err)
			return
		}
		w = s.writer(w)
		if r.Body != nil && r.Body != http.NoBody && in.stream == zone.StreamGRPC {
			body := r.Body
			r = r.WithContext(ctx)
			r.Body = &streamBody{body, s}
		}
	}
	in.life = ctx
	r = r.WithContext(ctx)
	r.Header = forHandler(r.Header, in)
	if ru.route.Owner.Kind != zone.NoOwner && in.principal.Anonymous() { // owns nothing: the handler need not run
		p.refuse(w, r, in, problem.New(problem.OwnerDenied, errors.New("nobody is logged in")))
		return
	}
	switch ru.route.Owner.Kind {
	case zone.NoOwner:
		p.next.ServeHTTP(w, r)
	case zone.OwnerPath:
		if !in.principal.owns(values.Get(ru.route.Owner.Arg)) {
			p.refuse(w, r, in, problem.New(problem.OwnerDenied, nil))
			return
		}
		p.next.ServeHTTP(w, r)
	case zone.OwnerResponse:
		p.serveOwnResponse(w, r, in, ru)
	case zone.OwnerRead:
		p.serveOwnRead(w, r, in, ru)
	case zone.OwnerCode:
		p.serveOwnCode(w, r, in, ru)
	default: // compileRoute closed it
		p.refuse(w, r, in, problem.New(problem.ZoneNotEnforced, nil))
	}
}

// refuse answers with the problem document of err and logs it with its cause.
func (p *protected) refuse(w http.ResponseWriter, r *http.Request, in *inbound, err error) {
	if r.Body != nil && r.Body != http.NoBody { // which net/http reads on, to be polite
		(&patientBody{conn: http.NewResponseController(w)}).until(bodyLeft)
	}
	reason := problem.ReasonOf(err)
	level := slog.LevelInfo
	if reason.Status() >= http.StatusInternalServerError {
		level = slog.LevelWarn
	}
	if log := p.g.cfg.Log; log.Enabled(r.Context(), level) {
		attrs := []slog.Attr{
			slog.String("reason", reason.Code()), slog.String("correlation_id", in.correlationID), slog.String("method", clip(r.Method)),
		}
		if in.caller != "" {
			attrs = append(attrs, slog.String("caller", clip(in.caller)))
		}
		if cause := errors.Unwrap(err); cause != nil {
			attrs = append(attrs, slog.String("cause", cause.Error()))
		}
		log.LogAttrs(r.Context(), level, "guard: request refused", attrs...)
	}
	problem.Write(w, reason, "", in.correlationID)
}

// clip bounds foreign text in the log.
func clip(s string) string {
	const most = 64
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
