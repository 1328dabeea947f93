package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"syscall"

	"sallyport.dev/zone"
)

const (
	mostPlaces  = 512 // that are dialled
	atOnce      = 16
	mostPerName = 3 // places that do not answer, as they are told
)

// services connects to each place where a service is reached. Nothing is sent.
func (e *examination) services(ctx context.Context) {
	if e.Zone == nil {
		return // said by the check of the map
	}
	if e.Host.Dial == nil {
		e.unknown("services", "", "they were not tried")
		return
	}
	results := e.dialAll(ctx)
	for _, svc := range e.Zone.Services {
		e.service(svc, results)
	}
}

// dialAll connects to all places, a few at a time. A place that was not tried is
// not in the result.
func (e *examination) dialAll(ctx context.Context) map[string]error {
	places := map[string]zone.Upstream{}
	for _, svc := range e.Zone.Services {
		for _, u := range placesOf(svc) {
			if len(places) < mostPlaces {
				places[u.Network+" "+u.Address] = u
			}
		}
	}
	var (
		mu      sync.Mutex
		results = make(map[string]error, len(places))
		wait    sync.WaitGroup
		slots   = make(chan struct{}, atOnce)
	)
	for key, u := range places {
		slots <- struct{}{}
		wait.Go(func() {
			defer func() { <-slots }()
			one, cancel := context.WithTimeout(ctx, e.Host.dialTime())
			defer cancel()
			c, err := e.Host.Dial(one, u.Network, u.Address)
			if err == nil {
				_ = c.Close() // nothing was said
			}
			mu.Lock()
			defer mu.Unlock()
			results[key] = err
		})
	}
	wait.Wait()
	return results
}

// placesOf are the doors of a service and, behind a sidecar of this host, its own
// socket.
func placesOf(svc *zone.Service) []zone.Upstream {
	list := svc.Doors()
	if svc.Sidecar != "" && loopbackOnly(svc.Sidecar) {
		list = append(list[:len(list):len(list)], svc.Upstreams...)
	}
	return list
}

func (e *examination) service(svc *zone.Service, results map[string]error) {
	name, door := svc.Name, "its upstream"
	switch {
	case svc.Sidecar != "":
		door = "the sidecar"
	case svc.Embedded:
		door = "its inner door"
	}
	places := placesOf(svc)
	up, untried := 0, 0
	var down []string
	for _, u := range places {
		err, tried := results[u.Network+" "+u.Address]
		switch {
		case !tried:
			untried++
		case err == nil:
			up++
		case len(down) < mostPerName:
			down = append(down, fmt.Sprintf("%s (%s)", u.Address, e.dialError(err)))
		}
	}
	if untried > 0 {
		e.unknown(name, "", "%d of its %d places were not tried: there are too many", untried, len(places))
		return
	}
	mend := "start it; `sallyport check ZONE` shows where it is declared"
	if svc.Sidecar != "" {
		mend = "start service and sidecar: sallyport sidecar ZONE " + svc.Name + " --data DIR"
	}
	switch {
	case up == len(places):
		e.ok(name, "%d of %d places take connections (%s)", up, len(places), door)
	case up > 0 || e.Running == nil: // it may be started after the zone
		e.warn(name, mend, "%d of %d places take connections (%s); not %s", up, len(places), door, strings.Join(down, ", "))
	default:
		e.fail(name, mend, "none of %d places takes connections (%s): %s", len(places), door, strings.Join(down, ", "))
	}
}

// dialError says in a few words why a place takes no connection.
func (e *examination) dialError(err error) string {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, fs.ErrNotExist):
		return "no such socket"
	case errors.Is(err, fs.ErrPermission):
		return "no permission"
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in " + e.Host.dialTime().String()
	}
	return err.Error()
}
