package guard

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"sallyport.dev/internal/httpsig"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/token"
	"sallyport.dev/zone"
)

const (
	defaultStaleness = 5 * time.Minute
	defaultBody      = 16 << 20 // bytes of a body where the map has no bound: between services
	defaultHold      = 1 << 20  // bytes of an answer that is held back
	maxHold          = 64 << 20 // whatever the map says
)

// book is all that requests are judged by, compiled from what control said at
// one time. It is immutable.
type book struct {
	slice     *zone.Slice
	raw       []byte // the slice as it came
	tag       string // control's name for it
	heard     time.Time
	staleness time.Duration
	keys      token.KeySet
	rawKeys   []byte // the keys as they came
	verifier  *token.Verifier
	matcher   *zone.Matcher
	rules     map[*zone.Route]*rule
	calls     *calls
}

// rule is a compiled route.
type rule struct {
	route   *zone.Route
	callers policy.Callers // with a user's token
	own     policy.Callers // with a token of their own
	proof   httpsig.Profile
	body    int64 // bytes of the request's body
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

// withKeys returns old with other keys. Without old it is a book that is not in
// force: one without a map.
func withKeys(old *book, keys []byte) (*book, error) {
	if old != nil && bytes.Equal(old.rawKeys, keys) {
		b := *old
		return &b, nil
	}
	set, err := token.ParseJWKS(keys)
	if err != nil {
		return nil, err
	}
	if old == nil {
		return &book{keys: set, rawKeys: keys}, nil
	}
	b := *old
	b.keys, b.rawKeys = set, keys
	return &b, nil
}

// newBook compiles what control said of the map. What did not change is taken
// over from old, so that remembered tokens stay remembered.
func (g *Guard) newBook(old *book, said answer, heard time.Time) (*book, error) {
	if said.same || old.slice != nil && bytes.Equal(old.raw, said.body) {
		if old.slice == nil {
			return nil, errors.New("control did not send the map")
		}
		b := *old
		b.heard = heard
		return &b, nil
	}
	s, err := zone.ParseSlice(said.body)
	if err != nil {
		return nil, err
	}
	if s.Service != g.cfg.Service {
		return nil, fmt.Errorf("control sent the slice of service %q, not of %q", s.Service, g.cfg.Service)
	}
	own, err := g.source.Current()
	if err != nil {
		return nil, err
	}
	if td := own.ID.TrustDomain().Name(); s.Zone != td {
		return nil, fmt.Errorf("control sent a slice of the zone %q, the identity is of %q", s.Zone, td)
	}
	b := &book{slice: s, raw: said.body, tag: firstOf(said.tag, `"`+s.Revision+`"`), heard: heard, staleness: s.Staleness, keys: old.keys, rawKeys: old.rawKeys}
	if b.staleness <= 0 {
		b.staleness = defaultStaleness
	}
	if err := b.compileRoutes(g.cfg.Log); err != nil {
		return nil, err
	}
	if b.calls, err = compileCalls(g, s); err != nil {
		return nil, err
	}
	if old.slice != nil && old.slice.Zone == s.Zone && old.slice.Issuer == s.Issuer {
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
	ru := &rule{route: rt, callers: sr.Callers, own: sr.ServiceCallers, proof: profileOf(rt), body: defaultBody, hold: defaultHold}
	if sr.BodyLimit > 0 {
		ru.body, ru.hold = sr.BodyLimit, int(max(defaultHold, min(sr.BodyLimit, maxHold)))
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

// profileOf returns what a route asks of the proof; nothing satisfies that of a
// proof which this version does not know.
func profileOf(rt *zone.Route) httpsig.Profile {
	stream := rt.Stream != zone.NoStream
	switch rt.Proof {
	case zone.ProofChannel:
		return httpsig.Profile{Demand: httpsig.Channel, NoDigest: true}
	case zone.ProofMAC:
		return httpsig.Profile{Demand: httpsig.MAC, NoDigest: stream}
	case zone.ProofSignature:
		return httpsig.Profile{Demand: httpsig.Signature, NoDigest: stream}
	default:
		return httpsig.Profile{}
	}
}
