package zone

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// randomMap writes a small map of which many pairs overlap.
func randomMap(rng *rand.Rand) string {
	pick := func(list ...string) string { return list[rng.IntN(len(list))] }
	var b strings.Builder
	b.WriteString("zone: shop.example\nlisteners: {public: {address: ':1'}, other: {address: ':2'}}\nservices:\n")
	for _, s := range []string{"a", "b"} {
		fmt.Fprintf(&b, "  %s:\n    upstream: unix:/run/%s.sock\n    routes:\n", s, s)
		var seen []string
		for range 1 + rng.IntN(3) {
			op := pick("GET ", "GET ", "POST ") + pick("/", "/x", "/x/{id}", "/x/y", "/x/{rest...}", "/x/{$}", "/x/", "/{$}", "/{p}")
			if slices.Contains(seen, op) {
				continue
			}
			seen = append(seen, op)
			route := pick("user", "anonymous", "{allow: user, roles: [admin]}", "{allow: user, roles: [staff, admin]}", "service", "{allow: [service, user]}")
			if rng.IntN(3) == 0 {
				route = pick("{allow: user, listener: other}", "{allow: anonymous, listener: other}")
			}
			fmt.Fprintf(&b, "      %s: %s\n", op, route)
		}
	}
	return b.String()
}

// passes lists who passes where: listener, method, path, principal. The value
// is the route that lets it pass.
func passes(z *Zone) map[string]*Route {
	found := map[string]*Route{}
	w := reachOf(z)
	for _, l := range z.Listeners {
		for _, method := range []string{"GET", "POST"} {
			for _, path := range []string{"/", "/x", "/x/", "/x/y", "/x/z", "/x/y/z", "/w", "/w/v"} {
				rt := w.taker(l.Name, method, path)
				if rt == nil {
					continue
				}
				for _, who := range []string{"anonymous", "user", "staff", "admin"} {
					ok := rt.Allow.Has(AllowAnonymous) || who != "anonymous" && rt.Allow.Has(AllowUser) &&
						(len(rt.Roles) == 0 || slices.Contains(rt.Roles, who))
					if ok {
						found[l.Name+" "+method+" "+path+" "+who] = rt
					}
				}
			}
		}
	}
	return found
}

// TestDiffHidesNoGain compares Diff with brute force: whoever passes after and
// did not before is told, at the route that lets it pass or the one that did not.
func TestDiffHidesNoGain(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var zones []*Zone
	for len(zones) < 120 {
		if z, err := Parse("map", []byte(randomMap(rng))); err == nil {
			zones = append(zones, z)
		}
	}
	gains := 0
	for range 1000 {
		before, after := zones[rng.IntN(len(zones))], zones[rng.IntN(len(zones))]
		changes := Diff(before, after)
		was := passes(before)
		for request, rt := range passes(after) {
			if was[request] != nil {
				continue
			}
			gains++
			name := rt.Pattern() + " of " + rt.Service.Name
			if !slices.ContainsFunc(changes, func(c Change) bool {
				return c.Direction == Gain && (c.What == name || strings.Contains(c.Text, "now by "+name+" on")) ||
					c.Direction == Alter && c.What == name && strings.HasPrefix(c.Text, "listener: ")
			}) {
				t.Fatalf("%s passes now by %s, and the difference does not say so:\n%v\nbefore %+v\nafter %+v", request, name, changes, before.Access(), after.Access())
			}
		}
	}
	if gains < 500 {
		t.Errorf("only %d gains tried: the maps overlap too little", gains)
	}
}
