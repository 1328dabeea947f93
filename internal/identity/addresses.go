package identity

import (
	"net/netip"
	"sync"
	"time"

	"sallyport.dev/internal/guess"
	"sallyport.dev/internal/page"
	"sallyport.dev/internal/problem"
)

// hashAddress is how many requests of one client address wait for a hash or
// compute one, at most.
const hashAddress = 8

// addressGate bounds how many requests of one client address wait for a hash or
// compute one: it stands before the memory of package password, so that one
// address cannot fill the queue there. It holds one entry for each address with a
// request in flight, so the listener's connections bound it.
type addressGate struct {
	most int

	mu     sync.Mutex
	inside map[netip.Prefix]int // guarded by mu
}

func newAddressGate(most int) *addressGate {
	return &addressGate{most: most, inside: make(map[netip.Prefix]int)}
}

// enter admits a request, or refuses it with limit.address.
func (g *addressGate) enter(client netip.Addr) (leave func(), err error) {
	from := guess.Network(client)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inside[from] >= g.most {
		return nil, page.Later(problem.LimitAddress, time.Second)
	}
	g.inside[from]++
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.inside[from]--; g.inside[from] <= 0 {
			delete(g.inside, from)
		}
	}, nil
}
