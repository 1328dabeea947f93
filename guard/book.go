package guard

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/token"
	"sallyport.dev/zone"
)

const (
	defaultStaleness = 5 * time.Minute
	defaultHold      = 1 << 20  // bytes of an answer that is held back
	maxHold          = 64 << 20 // whatever the map says
)

// book is all that requests are judged by, compiled from what control said at
// one time. It is immutable.
type book struct {
	slice     *zone.Slice
	raw       []byte // the slice as it came
	heard     time.Time
	staleness time.Duration
	keys      token.KeySet
	verifier  *token.Verifier
	matcher   *zone.Matcher
	rules     map[*zone.Route]*rule
	calls     *calls
}

// rule is a compiled route.
type rule struct {
	route   *zone.Route
	callers policy.Callers
	params  *policy.Params
	pointer pointer // of a response: or read: owner
	hold    int     // bytes of an answer that may be held back
	closed  string  // why the route is refused whoever asks; empty: it is not
}

// open says that a route is for everybody.
func (ru *rule) open() bool {
	rt := ru.route
	return ru.closed == "" && rt.Allow&zone.AllowAnonymous != 0 && len(rt.Roles) == 0 && rt.Owner.Kind == zone.NoOwner
}

// newBook compiles what control said. old may be nil; what did not change is
// taken over from it, so that remembered tokens stay remembered.
func (g *Guard) newBook(old *book, slice, keys []byte, heard time.Time) (*book, error) {
	set, err := token.ParseJWKS(keys)
	if err != nil {
		return nil, err
	}
	if old != nil && bytes.Equal(old.raw, slice) {
		b := *old
		b.keys, b.heard = set, heard
		return &b, nil
	}
	s, err := zone.ParseSlice(slice)
	if err != nil {
		return nil, err
	}
	if s.Service != g.cfg.Service {
		return nil, fmt.Errorf("control sent the slice of service %q, not of %q", s.Service, g.cfg.Service)
	}
	b := &book{slice: s, raw: slice, heard: heard, staleness: s.Staleness, keys: set}
	if b.staleness <= 0 {
		b.staleness = defaultStaleness
	}
	if err := b.compileRoutes(g.cfg.Log); err != nil {
		return nil, err
	}
	if b.calls, err = compileCalls(s.Calls, g.cfg.CallTimeout); err != nil {
		return nil, err
	}
	if old != nil && old.slice.Zone == s.Zone && old.slice.Issuer == s.Issuer {
		b.verifier = old.verifier
		return b, nil
	}
	b.verifier, err = token.NewVerifier(token.VerifierConfig{Zone: s.Zone, Issuer: s.Issuer, Keys: keySource{g}, Clock: g.cfg.Clock})
	return b, err
}

// compileRoutes builds matcher and rules. Routes that conflict spoil the whole
// slice; a route that cannot be enforced is closed and the others stay open.
func (b *book) compileRoutes(log *slog.Logger) error {
	routes := make([]*zone.Route, 0, len(b.slice.Routes))
	b.rules = make(map[*zone.Route]*rule, len(b.slice.Routes))
	for i := range b.slice.Routes {
		sr := &b.slice.Routes[i]
		ru := compileRoute(sr)
		if ru.closed != "" {
			log.Warn("guard: route is closed", "route", ru.route.Pattern(), "cause", ru.closed)
		}
		routes = append(routes, ru.route)
		b.rules[ru.route] = ru
	}
	var err error
	b.matcher, err = zone.NewMatcher(routes)
	return err
}

func compileRoute(sr *zone.SliceRoute) *rule {
	rt := sr.Route()
	ru := &rule{route: rt, callers: sr.Callers, hold: defaultHold}
	if sr.BodyLimit > 0 {
		ru.hold = int(min(sr.BodyLimit, maxHold))
	}
	closed := slices.Clone(rt.NotEnforced)
	var err error
	if ru.params, err = policy.CompileParams(rt.Params); err != nil {
		closed = append(closed, err.Error())
	}
	switch rt.Owner.Kind {
	case zone.NoOwner, zone.OwnerCode:
	case zone.OwnerPath:
		if !strings.Contains(rt.Path, "{"+rt.Owner.Arg+"}") && !strings.Contains(rt.Path, "{"+rt.Owner.Arg+"...}") {
			closed = append(closed, "owner: the path has no wildcard "+rt.Owner.Arg)
		}
	case zone.OwnerResponse, zone.OwnerRead:
		if ru.pointer, err = parsePointer(rt.Owner.Arg); err != nil {
			closed = append(closed, "owner: "+err.Error())
		}
		if rt.Owner.Kind == zone.OwnerResponse && rt.Method != "GET" {
			closed = append(closed, "owner: response: is for GET only")
		}
	default:
		closed = append(closed, "owner: unknown kind")
	}
	ru.closed = strings.Join(closed, ", ")
	return ru
}
