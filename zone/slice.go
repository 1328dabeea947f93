package zone

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// SliceVersion is the version of the slice that this package writes and reads.
// It changes only when an old guard could misread a new slice; what an old guard
// may overlook is added as a member, what it must not is named in Critical.
const SliceVersion = 1

// Slice is what one service's guard may know of the map: its own routes, who
// may call them, and what it may call. It travels as JSON from control to guards
// of other versions, so members that are unknown are passed over on reading. A
// restriction must never be lost that way: a word that is not known (a kind of
// caller, of owner, of parameter, a proof, a stream) and an unknown name in
// Critical make Route refuse the route.
type Slice struct {
	Version   int           `json:"version"`
	Zone      string        `json:"zone"`      // trust domain: the `aud` of inside tokens
	Issuer    string        `json:"issuer"`    // the `iss` of inside tokens
	Revision  string        `json:"revision"`  // of the map
	Staleness time.Duration `json:"staleness"` // nanoseconds; a guard that has not heard from control for longer refuses
	Service   string        `json:"service"`
	Embedded  bool          `json:"embedded,omitempty"` // the service is its own inner door
	Health    string        `json:"health,omitempty"`   // path that the gateway asks with GET, without a token
	Routes    []SliceRoute  `json:"routes"`
	Calls     []SliceCall   `json:"calls"`
}

// SliceRoute is a route of the service, in the words of the map.
type SliceRoute struct {
	Listener     string        `json:"listener,omitempty"`
	Method       string        `json:"method"`
	Path         string        `json:"path"`
	Allow        []string      `json:"allow"`
	Roles        []string      `json:"roles,omitempty"`
	Scopes       []string      `json:"scopes,omitempty"`
	MFA          bool          `json:"mfa,omitempty"`     // critical
	MaxAge       time.Duration `json:"max_age,omitempty"` // nanoseconds; critical
	Owner        *SliceOwner   `json:"owner,omitempty"`
	Params       []SliceParam  `json:"params,omitempty"`
	EncodedSlash bool          `json:"encoded_slash,omitempty"`
	Stream       string        `json:"stream,omitempty"`
	Proof        string        `json:"proof,omitempty"`
	BodyLimit    int64         `json:"body_limit,omitempty"` // bytes; the listener's limits.body

	// The services whose calls name this operation, sorted: with the token in
	// hand, and `as: service`, with a token of their own.
	Callers        []string `json:"callers,omitempty"`
	ServiceCallers []string `json:"service_callers,omitempty"`

	NotEnforced []string `json:"not_enforced,omitempty"` // why the route is refused whoever asks
	Critical    []string `json:"critical,omitempty"`     // members that a reader must know (compare crit, RFC 7515 section 4.1.11)
}

// SliceOwner is an ownership check.
type SliceOwner struct {
	Kind string `json:"kind"` // path, response, read, code
	Arg  string `json:"arg,omitempty"`
}

// SliceParam is the declared type of a path or query value.
type SliceParam struct {
	Name   string   `json:"name"`
	Kind   string   `json:"kind"` // uuid, int, date, enum, regexp
	Enum   []string `json:"enum,omitempty"`
	Regexp string   `json:"regexp,omitempty"`
}

// SliceCall is an operation of another service that the service may call.
type SliceCall struct {
	Service      string          `json:"service"`
	Method       string          `json:"method"`
	Path         string          `json:"path"` // as the callee's route declares it
	EncodedSlash bool            `json:"encoded_slash,omitempty"`
	AsService    bool            `json:"as_service,omitempty"`
	Proof        string          `json:"proof,omitempty"`      // that the callee's route demands
	Stream       string          `json:"stream,omitempty"`     // of the callee's route
	BodyLimit    int64           `json:"body_limit,omitempty"` // bytes; of the callee's route
	InnerDoor    bool            `json:"inner_door,omitempty"` // the callee is reached over mutual TLS with proof, never in plain
	Upstreams    []SliceUpstream `json:"upstreams"`            // of the inner door where there is one
	Critical     []string        `json:"critical,omitempty"`   // members that a reader must know
}

// SliceUpstream is an instance of the callee.
type SliceUpstream struct {
	Scheme  string `json:"scheme"`  // http; https: mutual TLS, over unix sockets too
	Network string `json:"network"` // tcp, unix
	Address string `json:"address"` // host:port or socket path
}

// Slice returns what the guard of a service may know; false when the zone has
// no such service.
func (z *Zone) Slice(service string) (*Slice, bool) {
	svc := z.Service(service)
	if svc == nil {
		return nil, false
	}
	s := &Slice{
		Version: SliceVersion, Zone: z.Name, Issuer: z.Issuer(), Revision: z.Revision, Staleness: z.Staleness,
		Service: svc.Name, Embedded: svc.Embedded, Health: svc.Health,
		Routes: make([]SliceRoute, 0, len(svc.Routes)), Calls: make([]SliceCall, 0, len(svc.Calls)),
	}
	for _, rt := range svc.Routes {
		s.Routes = append(s.Routes, z.sliceRoute(svc, rt))
	}
	for _, c := range svc.Calls {
		s.Calls = append(s.Calls, z.sliceCall(c))
	}
	return s, true
}

func (z *Zone) sliceRoute(svc *Service, rt *Route) SliceRoute {
	sr := SliceRoute{
		Listener: rt.Listener, Method: rt.Method, Path: rt.Path,
		Allow: rt.Allow.Kinds(), Roles: rt.Roles, Scopes: rt.Scopes,
		EncodedSlash: rt.EncodedSlash, Stream: rt.Stream.String(), Proof: rt.Proof.String(),
		Callers: z.callers(svc, rt, false), ServiceCallers: z.callers(svc, rt, true), NotEnforced: rt.NotEnforced,
	}
	if l := z.Listener(rt.Listener); l != nil {
		sr.BodyLimit = l.Limits.Body
	}
	if rt.Owner.Kind != NoOwner {
		sr.Owner = &SliceOwner{textOf(ownerWords(), rt.Owner.Kind), rt.Owner.Arg}
	}
	if rt.MFA {
		sr.MFA, sr.Critical = true, append(sr.Critical, criticalMFA)
	}
	if rt.MaxAge > 0 {
		sr.MaxAge, sr.Critical = rt.MaxAge, append(sr.Critical, criticalMaxAge)
	}
	for _, p := range rt.Params {
		sr.Params = append(sr.Params, SliceParam{p.Name, textOf(sliceParamWords(), p.Kind), p.Enum, p.Regexp})
	}
	return sr
}

// callers names the services that may call a route: with the token in hand, or
// as themselves.
func (z *Zone) callers(svc *Service, rt *Route, asService bool) []string {
	var names []string
	for _, s := range z.Services {
		if slices.ContainsFunc(s.Calls, func(c Call) bool {
			return c.AsService == asService && c.Service == svc.Name && c.Method == rt.Method && c.Path == rt.Path
		}) {
			names = append(names, s.Name)
		}
	}
	slices.Sort(names)
	return names
}

func (z *Zone) sliceCall(c Call) SliceCall {
	sc := SliceCall{Service: c.Service, Method: c.Method, Path: c.Path, AsService: c.AsService, Upstreams: []SliceUpstream{}}
	callee := z.Service(c.Service)
	if callee == nil {
		return sc
	}
	sc.InnerDoor, sc.Upstreams = callee.InnerDoor(), innerDoors(callee)
	for _, rt := range callee.Routes {
		if rt.Method != c.Method || rt.Path != c.Path {
			continue
		}
		sc.EncodedSlash, sc.Proof, sc.Stream = rt.EncodedSlash, rt.Proof.String(), rt.Stream.String()
		if l := z.Listener(rt.Listener); l != nil {
			sc.BodyLimit = l.Limits.Body
		}
	}
	return sc
}

// innerDoors are the addresses at which a service is called: those of its inner door
// where it has one, which are never plain.
func innerDoors(callee *Service) []SliceUpstream {
	list := []SliceUpstream{}
	if callee.Sidecar != "" {
		return append(list, SliceUpstream{"https", "tcp", callee.Sidecar})
	}
	for _, u := range callee.Upstreams {
		switch {
		case !callee.Embedded:
			list = append(list, SliceUpstream{u.Scheme, u.Network, u.Address})
		case u.Scheme == "https" || u.Network == "unix":
			list = append(list, SliceUpstream{"https", u.Network, u.Address})
		}
	}
	return list
}

// ParseSlice reads a slice. It refuses another version and a slice that names no
// zone, issuer or service; what it does not know of a route is left to Route.
func ParseSlice(data []byte) (*Slice, error) {
	var s Slice
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("slice: %w", err)
	}
	if s.Version != SliceVersion {
		return nil, fmt.Errorf("slice: version %d, this program reads %d", s.Version, SliceVersion)
	}
	if s.Zone == "" || s.Issuer == "" || s.Service == "" {
		return nil, fmt.Errorf("slice: zone %q, issuer %q or service %q is missing", s.Zone, s.Issuer, s.Service)
	}
	return &s, nil
}

// Route returns the route in the types of the model. What it does not know it
// names in NotEnforced, which refuses the route.
func (sr *SliceRoute) Route() *Route {
	rt := &Route{
		Listener: sr.Listener, Method: sr.Method, Path: sr.Path,
		Roles: sr.Roles, Scopes: sr.Scopes, MFA: sr.MFA, MaxAge: sr.MaxAge, EncodedSlash: sr.EncodedSlash,
		NotEnforced: slices.Clone(sr.NotEnforced),
	}
	for _, text := range sr.Allow {
		rt.Allow |= known(rt, "allow", allowWords(), text)
	}
	if sr.Owner != nil {
		rt.Owner = Owner{known(rt, "owner", ownerWords(), sr.Owner.Kind), sr.Owner.Arg}
	}
	if sr.Stream != "" {
		rt.Stream = known(rt, "stream", streamWords(), sr.Stream)
	}
	if sr.Proof != "" {
		rt.Proof = known(rt, "proof", proofWords(), sr.Proof)
	}
	for _, p := range sr.Params {
		rt.Params = append(rt.Params, Param{p.Name, known(rt, "params", sliceParamWords(), p.Kind), p.Enum, p.Regexp})
	}
	for _, name := range sr.Critical {
		if name != criticalMFA && name != criticalMaxAge {
			rt.NotEnforced = append(rt.NotEnforced, "critical: "+name)
		}
	}
	return rt
}

// The members that guards of the first versions do not know.
const (
	criticalMFA    = "mfa"
	criticalMaxAge = "max_age"
)

// Route returns the called operation in the types of the model, for a Matcher.
// What it does not know it names in NotEnforced, which refuses the call.
func (sc *SliceCall) Route() *Route {
	rt := &Route{Method: sc.Method, Path: sc.Path, EncodedSlash: sc.EncodedSlash}
	if sc.Proof != "" {
		rt.Proof = known(rt, "proof", proofWords(), sc.Proof)
	}
	if sc.Stream != "" {
		rt.Stream = known(rt, "stream", streamWords(), sc.Stream)
	}
	for _, name := range sc.Critical {
		rt.NotEnforced = append(rt.NotEnforced, "critical: "+name)
	}
	return rt
}

// known returns the value of a word. A word that it does not know refuses the route.
func known[V any](rt *Route, key string, words []word[V], text string) V {
	for _, w := range words {
		if w.text == text {
			return w.value
		}
	}
	rt.NotEnforced = append(rt.NotEnforced, key+": "+text)
	var zero V
	return zero
}

func ownerWords() []word[OwnerKind] {
	return []word[OwnerKind]{{"path", OwnerPath}, {"response", OwnerResponse}, {"read", OwnerRead}, {"code", OwnerCode}}
}

func sliceParamWords() []word[ParamKind] {
	return append(paramWords(), word[ParamKind]{"enum", ParamEnum}, word[ParamKind]{"regexp", ParamRegexp})
}
