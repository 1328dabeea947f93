package gateway

import (
	"maps"
	"net"
	"slices"
)

// ServiceStatus counts the instances of a service, and those in use.
type ServiceStatus struct {
	Name      string
	Instances int
	Healthy   int // neither ejected nor failing their health check
}

// Services tells how the services stand, sorted by name. An instance that
// nobody has dialled yet counts as healthy.
func (g *Gateway) Services() []ServiceStatus {
	pools := g.now().pools
	list := make([]ServiceStatus, 0, len(pools))
	for _, name := range slices.Sorted(maps.Keys(pools)) {
		st := ServiceStatus{Name: name}
		for _, in := range pools[name].Status() {
			st.Instances++
			if in.Healthy {
				st.Healthy++
			}
		}
		list = append(list, st)
	}
	return list
}

// Addresses returns where each listener listens, by name. It is empty while the
// gateway does not serve.
func (g *Gateway) Addresses() map[string]net.Addr {
	addresses := make(map[string]net.Addr)
	for _, d := range g.allDoors() {
		if !d.leaving.Load() {
			addresses[d.current.Load().Name] = d.Addr()
		}
	}
	return addresses
}
