package gateway

import (
	"maps"
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
	list := make([]ServiceStatus, 0, len(g.services))
	for _, name := range slices.Sorted(maps.Keys(g.services)) {
		st := ServiceStatus{Name: name}
		for _, in := range g.services[name].Status() {
			st.Instances++
			if in.Healthy {
				st.Healthy++
			}
		}
		list = append(list, st)
	}
	return list
}
