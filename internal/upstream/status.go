package upstream

// Status is how one instance stands.
type Status struct {
	URL         string // as written in the map
	Healthy     bool   // neither ejected nor failing its health check; so is one that nobody has dialled yet
	Outstanding int    // requests under way
	Failures    int    // exchanges that broke, in a row
	Idle        int    // connections kept for the next request
}

// Status tells how the instances stand, in the order of the map.
func (s *Set) Status() []Status {
	list := make([]Status, 0, len(s.instances))
	for _, in := range s.instances {
		in.mu.Lock()
		idle := len(in.idle)
		in.mu.Unlock()
		list = append(list, Status{
			URL:         in.URL,
			Healthy:     in.ejection() == closedBreaker && !in.unhealthy.Load(),
			Outstanding: int(in.outstanding.Load()),
			Failures:    int(in.failures.Load()),
			Idle:        idle + in.calls.idle(),
		})
	}
	return list
}
