package guardtest

import (
	"time"

	"sallyport.dev/internal/svid"
)

// Identity returns the identity of a workload of the test's zone, gateway and
// control among them, for tests that make real connections to Guard.Serve. It
// lives for years by the test's clock.
func (g *Guard) Identity(name string) *svid.Source {
	g.t.Helper()
	return g.ca.Source(g.t, name, g.clock)
}

// ShortIdentity is Identity for one that ends after life.
func (g *Guard) ShortIdentity(name string, life time.Duration) *svid.Source {
	g.t.Helper()
	now := g.clock()
	s := svid.NewSource(g.clock)
	s.Set(g.ca.Identity(g.t, name, now.Add(-life), now.Add(life)))
	return s
}
