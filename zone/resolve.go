package zone

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
)

// The bounds of a zone: some checks, and the matchers of the gateway, compare each
// with each other.
const (
	maxServices  = 2000
	maxListeners = 100
	maxRoutes    = 10_000
	maxCalls     = 10_000
)

// The defaults that depend on other parts of the map; the rest stand in the
// table of keys.
const (
	defaultAddress = ":8443"
	defaultAdmin   = "127.0.0.1:8440"
	defaultControl = "127.0.0.1:8441"
	publicListener = "public"
)

// finish turns what was read into the model, or into all that is wrong with it.
func (r *reader) finish(file, base string, m *mapFile) (*Zone, error) {
	z := &m.Zone
	z.File, z.Files = file, r.files
	for _, pattern := range m.includes {
		z.Includes = append(z.Includes, filepath.Join(globLiteral(filepath.Dir(file)), pattern))
	}
	r.bind(m)
	if r.bounded(z) {
		r.check(z)
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	r.observe(z)
	z.sort()
	revision, err := z.revision()
	if err != nil {
		return nil, fmt.Errorf("revision of the map: %w", err)
	}
	z.Revision = revision
	z.locate(base) // after the revision: equal maps in two folders are equal
	order := byPlace(r.files)
	slices.SortStableFunc(r.notices, func(a, b Notice) int { return order(a.Pos, b.Pos) })
	z.Notices = r.notices
	return z, nil
}

// bounded refuses a zone that is too large to be checked.
func (r *reader) bounded(z *Zone) bool {
	var routes []*Route
	var calls []Call
	for _, s := range z.Services {
		routes, calls = append(routes, s.Routes...), append(calls, s.Calls...)
	}
	var at Pos
	var what string
	switch {
	case len(z.Services) > maxServices:
		at, what = z.Services[maxServices].Pos, fmt.Sprintf("%d services", maxServices)
	case len(z.Listeners) > maxListeners:
		at, what = r.at(pathOf("listeners", z.Listeners[maxListeners].Name)).key, fmt.Sprintf("%d listeners", maxListeners)
	case len(routes) > maxRoutes:
		at, what = routes[maxRoutes].Pos, fmt.Sprintf("%d routes", maxRoutes)
	case len(calls) > maxCalls:
		at, what = calls[maxCalls].Pos, fmt.Sprintf("%d calls", maxCalls)
	default:
		return true
	}
	r.fail(at, "more than "+what, "spread the services over several zones")
	return false
}

// bind fills in the defaults that depend on other parts of the map.
func (r *reader) bind(m *mapFile) {
	z := &m.Zone
	z.Listeners = m.doors.outside
	if len(z.Listeners) == 0 {
		l := listenerType().empty()
		l.Name, l.Address = publicListener, defaultAddress
		z.Listeners = []*Listener{&l}
	}
	for _, l := range z.Listeners {
		if len(l.Hosts) == 0 {
			l.Hosts = slices.Compact([]string{z.Name, "localhost", "127.0.0.1"})
		}
	}
	z.Admin = cmp.Or(m.doors.admin, defaultAdmin)
	z.Control = m.doors.control
	if z.Control == "" && slices.ContainsFunc(z.Services, (*Service).InnerDoor) {
		z.Control = defaultControl
	}
	if z.Identity.URL == "" {
		z.Identity.URL = z.Issuer()
	}
	if z.Identity.Listener == "" {
		z.Identity.Listener = z.identityListener()
	}
	for n := range z.Identity.Providers {
		if p := &z.Identity.Providers[n]; (p.Kind == bearerKind || p.Kind == "oidc") && len(p.Algorithms) == 0 {
			p.Algorithms = defaultAlgorithms()
		}
		if p := &z.Identity.Providers[n]; p.Kind == "oidc" && len(p.Scopes) == 0 {
			p.Scopes = defaultScopes()
		}
	}
	for _, s := range z.Services {
		_, s.ProofWritten = r.places[servicePath(s)+".proof"]
		for _, rt := range s.Routes {
			rt.Service = s
			if _, written := r.places[routePath(rt)+".proof"]; !written {
				rt.Proof = s.Proof
			}
		}
	}
}

// identityListener is the default of identity.listener; empty when it is ambiguous.
func (z *Zone) identityListener() string {
	switch {
	case z.Listener(publicListener) != nil:
		return publicListener
	case len(z.Listeners) == 1:
		return z.Listeners[0].Name
	default:
		return ""
	}
}

func servicePath(s *Service) string { return pathOf("services", s.Name) }
func routePath(rt *Route) string    { return pathOf(servicePath(rt.Service)+".routes", rt.Pattern()) }

// sort orders what has no order of its own, so that equal maps are equal.
// Hosts and upstreams keep theirs.
func (z *Zone) sort() {
	slices.SortFunc(z.Listeners, func(a, b *Listener) int { return cmp.Compare(a.Name, b.Name) })
	for _, l := range z.Listeners {
		slices.SortFunc(l.TrustedProxies, netip.Prefix.Compare)
	}
	slices.SortFunc(z.Identity.Providers, func(a, b Provider) int { return cmp.Compare(a.Name, b.Name) })
	for _, p := range z.Identity.Providers {
		p.sort()
	}
	slices.SortFunc(z.Identity.Clients, func(a, b Client) int { return cmp.Compare(a.ID, b.ID) })
	for _, c := range z.Identity.Clients {
		slices.Sort(c.RedirectURIs)
		slices.Sort(c.Scopes)
	}
	slices.SortFunc(z.Services, func(a, b *Service) int { return cmp.Compare(a.Name, b.Name) })
	for _, s := range z.Services {
		s.sort()
	}
	slices.Sort(z.Policies)
}

func (s *Service) sort() {
	slices.SortFunc(s.Routes, func(a, b *Route) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Method, b.Method))
	})
	slices.SortFunc(s.Calls, func(a, b Call) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Method, b.Method))
	})
	slices.SortFunc(s.Data, func(a, b Data) int { return cmp.Compare(a.Name, b.Name) })
	slices.Sort(s.Egress)
	for _, rt := range s.Routes {
		slices.Sort(rt.Roles)
		slices.Sort(rt.Scopes)
		slices.SortFunc(rt.Params, func(a, b Param) int { return cmp.Compare(a.Name, b.Name) })
		for _, p := range rt.Params {
			slices.Sort(p.Enum)
		}
		if rt.Upload != nil {
			slices.Sort(rt.Upload.Types)
		}
		if rt.CORS != nil {
			slices.Sort(rt.CORS.Origins)
			slices.Sort(rt.CORS.Headers)
		}
	}
	for _, d := range s.Data {
		for _, t := range d.Tables {
			slices.Sort(t.Rights)
		}
	}
	for _, values := range s.Selectors {
		slices.Sort(values)
	}
}

// revision is the SHA-256 of the model. The fields that depend on where the
// map stands or on what this version enforces are not part of its JSON.
func (z *Zone) revision() (string, error) {
	canonical, err := json.Marshal(z) // struct fields in order, map keys sorted
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(canonical)
	return hex.EncodeToString(sum[:]), nil
}

// locate makes the paths of the map absolute (relative to the working folder
// when the map was parsed from memory).
func (z *Zone) locate(base string) {
	secret := func(s *Secret) {
		if s != nil {
			s.File = inFolder(base, s.File)
		}
	}
	for _, l := range z.Listeners {
		l.Certificate.Cert = inFolder(base, l.Certificate.Cert)
		l.Certificate.Key = inFolder(base, l.Certificate.Key)
		l.ClientCA = inFolder(base, l.ClientCA)
	}
	if z.Identity.Mail != nil {
		secret(&z.Identity.Mail.SMTP)
	}
	for n := range z.Identity.Providers {
		p := &z.Identity.Providers[n]
		secret(p.ClientSecret)
		p.CA = inFolder(base, p.CA)
		if !isURL(p.Metadata) {
			p.Metadata = inFolder(base, p.Metadata)
		}
	}
	z.Identity.Theme = inFolder(base, z.Identity.Theme)
	for _, s := range z.Services {
		for i := range s.Data {
			secret(&s.Data[i].URL)
		}
	}
	secret(z.Store.Postgres)
	secret(z.Store.Valkey)
	for i := range z.Export {
		if z.Export[i].Kind == "jsonl" {
			z.Export[i].Target = inFolder(base, z.Export[i].Target)
		}
	}
}
