package app

import (
	"context"
	"net"
	"net/http"
	"os"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// status answers GET /v1/status. Nothing in it is a reason to be unready but
// what waiting tells.
func (s *system) status(ctx context.Context, _ *http.Request) (any, error) {
	z, now, waiting := s.zone(), s.clock(), s.waiting(ctx)
	st := Status{
		Ready: len(waiting) == 0, NotReady: waiting, Zone: z.Name, Revision: z.Revision, Version: s.version, PID: os.Getpid(),
		Started: stamp(s.started), Uptime: int64(now.Sub(s.started) / time.Second),
		Map: mapStatus(z, s.reloads.get()), Journal: s.journalStatus(z, now), Keys: s.keysStatus(ctx),
		Certificates: s.observed.certificates(s.ca.Roots()), Listeners: []ListenerStatus{}, Services: []ServiceStatus{},
		Issuers: s.issuerStatus(), Exports: s.exportStatus(z), Mail: s.mailStatus(ctx), Notices: len(z.Notices),
	}
	st.Store, st.KV, st.Revocations = s.storeStatus(z, waiting), s.kvStatus(z), s.revocationsStatus(now)
	addresses := s.gateway.Addresses()
	for _, l := range z.Listeners {
		st.Listeners = append(st.Listeners, ListenerStatus{Name: l.Name, Address: addressOf(addresses, l)})
	}
	for _, svc := range s.gateway.Services() {
		one := ServiceStatus{Name: svc.Name, Instances: svc.Instances, Healthy: svc.Healthy}
		if declared := z.Service(svc.Name); declared != nil {
			one.Door = doorOf(declared)
		}
		if at, current, ok := s.observed.guard(svc.Name); ok {
			one.Guard = &GuardStatus{Seen: stamp(at), Current: current}
		}
		st.Services = append(st.Services, one)
	}
	return st, nil
}

// addressOf is where a listener listens: the map may leave the port open.
func addressOf(open map[string]net.Addr, l *zone.Listener) string {
	if a := open[l.Name]; a != nil {
		return a.String()
	}
	return l.Address
}

// doorOf says where the inner door of a service is.
func doorOf(svc *zone.Service) string {
	switch {
	case svc.Sidecar != "":
		return "sidecar"
	case svc.Embedded:
		return "embedded"
	}
	return "none"
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
		list = append(list, waitsForStore)
	}
	return list
}

// waitsForStore is among what a zone waits for whose store does not answer.
const waitsForStore = "store"
