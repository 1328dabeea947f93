package guard

import (
	"errors"
	"log/slog"
	"net/http"
	"net/url"

	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// Protect returns a handler that judges each request by the map and serves it
// with next only if it holds. What next sees is the request without the inside
// token; its context answers PrincipalFrom, CorrelationID, Caller, TraceID and
// Owns, and carries Guard.Client's calls.
//
// Wrap the mux of the service as a whole, once: routes come from the map, not
// from the mux, and `owner: read:` asks next for other methods of the path.
func (g *Guard) Protect(next http.Handler) http.Handler {
	return &protected{g, next}
}

type protected struct {
	g    *Guard
	next http.Handler
}

// ServeHTTP goes through the checks in the order in which each relies on those
// before it: a map, a token, a route, a caller, rights, and the owner.
func (p *protected) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	in := &inbound{correlationID: correlationOf(r.Header), trace: traceOf(r.Header)}
	b, err := p.g.current()
	if err != nil {
		w.Header().Set("Retry-After", "1")
		p.refuse(w, r, in, err)
		return
	}
	if b.health(r) {
		in.actsFor(Principal{Kind: Anonymous, Subject: policy.AnonymousSubject})
		p.serve(w, r, in, &rule{route: &zone.Route{}}, nil)
		return
	}
	if err := b.identify(r, in); err != nil {
		p.refuse(w, r, in, err)
		return
	}
	var values zone.Values
	ru, err := b.admit(r, in, &values)
	if err != nil {
		p.refuse(w, r, in, err)
		return
	}
	p.serve(w, r, in, ru, &values)
}

// health says whether a request is the gateway's question after the service's
// health, which carries no token. It opens the one declared path with GET, and
// only where no route of the map asks for more.
func (b *book) health(r *http.Request) bool {
	if b.slice.Health == "" || r.Method != http.MethodGet || r.URL.EscapedPath() != b.slice.Health ||
		r.URL.RawQuery != "" || len(r.Header[headerToken]) != 0 || len(r.Header[headerCaller]) != 0 {
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
	in.actsFor(principalOf(claims))
	in.listener = claims.Requester.Listener
	return nil
}

// admit finds the route and judges caller, principal and parameters by it.
func (b *book) admit(r *http.Request, in *inbound, values *zone.Values) (*rule, error) {
	rt, found := b.matcher.Match(r.Method, r.URL.EscapedPath(), values)
	if found != zone.Matched {
		return nil, problem.New(problem.InsideRoute, nil)
	}
	ru := b.rules[rt]
	caller, called, err := callerOf(r)
	if err != nil {
		return nil, err
	}
	in.caller = caller
	judged := in.principal.policy()
	reason := problem.InternalError
	switch {
	case called:
		if reason = ru.callers.Check(caller); reason == problem.OK {
			reason = policy.AuthorizeCall(rt, &judged)
		}
	case rt.Allow&^zone.AllowService == 0, rt.Listener == "", rt.Listener != in.listener:
		// It does not exist on the listener that took the request in: a wider route
		// there led here, or nobody's gateway did.
		reason = problem.InsideRoute
	default:
		reason = policy.Authorize(rt, &judged)
	}
	if reason == problem.OK && !ru.params.Empty() {
		reason = checkParams(ru.params, r, values)
	}
	if reason != problem.OK {
		return nil, problem.New(reason, nil)
	}
	if ru.closed != "" {
		return nil, problem.New(problem.ZoneNotEnforced, errors.New(ru.closed))
	}
	if rt.Owner.Kind == zone.OwnerRead {
		// A more specific GET may stand in the way of the one that shows the object.
		if get, _ := b.matcher.Match(http.MethodGet, r.URL.EscapedPath(), nil); get == nil || !get.SamePath(rt) {
			return nil, problem.New(problem.OwnerDenied, errors.New("GET of this path is not the read of this route"))
		}
	}
	return ru, nil
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
	r = r.WithContext(withInbound(r.Context(), in))
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

// callerOf returns the name of the service that sent the request; called is
// false for a request of the gateway.
//
// The name is only a claim yet: the header X-Caller, which the gateway removes
// from what comes from outside and which every Guard.Client sets. Whoever can
// reach the service past the gateway with a live token can write it. Mutual TLS
// between the services will put the name of the peer's certificate in its
// place, here and nowhere else.
func callerOf(r *http.Request) (name string, called bool, err error) {
	switch values := r.Header[headerCaller]; {
	case len(values) == 0:
		return "", false, nil
	case len(values) == 1 && values[0] != "":
		return values[0], true, nil
	default:
		return "", true, problem.New(problem.InsideCall, errors.New("the caller is empty or named twice"))
	}
}

// refuse answers with the problem document of err and logs it with its cause.
func (p *protected) refuse(w http.ResponseWriter, r *http.Request, in *inbound, err error) {
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
