package app

import (
	"context"
	"net/http"
	"time"

	"sallyport.dev/internal/problem"
)

// status answers GET /v1/status.
func (s *system) status(ctx context.Context, _ *http.Request) (any, error) {
	waiting := s.waiting(ctx)
	st := Status{
		Ready: len(waiting) == 0, NotReady: waiting, Zone: s.zone.Name, Revision: s.zone.Revision, Version: s.version,
		Started: stamp(s.started), Listeners: []ListenerStatus{}, Services: []ServiceStatus{}, Notices: len(s.zone.Notices),
	}
	for _, l := range s.zone.Listeners {
		st.Listeners = append(st.Listeners, ListenerStatus{Name: l.Name, Address: s.doors[l.Name].Addr().String()})
	}
	for _, svc := range s.gateway.Services() {
		st.Services = append(st.Services, ServiceStatus{Name: svc.Name, Instances: svc.Instances, Healthy: svc.Healthy})
	}
	return st, nil
}

// pingTime bounds the question whether the store answers.
const pingTime = 2 * time.Second

// waiting names what the zone waits for; empty means ready. A service that is
// down does not make the zone unready: its routes answer 502.
func (s *system) waiting(ctx context.Context) []string {
	ctx, cancel := context.WithTimeout(ctx, pingTime)
	defer cancel()
	var list []string
	if s.draining.Load() {
		list = append(list, "draining")
	}
	if err := s.journal.Admit(false); err != nil {
		list = append(list, "journal: "+problem.ReasonOf(err).Code())
	}
	if err := s.db.Ping(ctx); err != nil {
		list = append(list, "store")
	}
	return list
}
