package sidecar

import (
	"context"
	"net/http"
	"strings"

	"sallyport.dev/guard"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/upstream"
	"sallyport.dev/zone"
)

// inbound is the handler behind guard.Protect: it passes what was let through
// on to the service.
type inbound struct {
	cfg     Config
	handles *handles
	service *upstream.Set
}

func newInbound(c Config, svc *zone.Service, t *handles) *inbound {
	return &inbound{cfg: c, handles: t, service: newService(c, svc)}
}

// run watches the service until ctx ends.
func (d *inbound) run(ctx context.Context) {
	d.service.Run(ctx)
	d.service.Close()
}

// ServeHTTP serves one request that the guard let through.
func (d *inbound) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	upgrade, err := upgradeOf(r)
	switch {
	case err != nil:
		d.refuse(w, r, err)
		return
	case !originForm(r) || strings.HasPrefix(r.URL.Path, "//") || !oneReading(r.URL.Path):
		d.refuse(w, r, problem.New(problem.RequestTarget, nil))
		return
	}
	f, err := factsOf(r)
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	h, ok := d.handles.issue(r.Context())
	if !ok {
		w.Header().Set("Retry-After", "1")
		d.refuse(w, r, problem.New(problem.UpstreamBusy, nil))
		return
	}
	defer d.handles.withdraw(h)
	if guard.Stream(r.Context()) == "grpc" {
		err = d.forwardGRPC(w, r, &f, h)
	} else {
		err = d.forward(w, r, &f, h, upgrade)
	}
	if err != nil {
		d.refuse(w, r, err)
	}
}

// upgradeOf returns the opening handshake of a WebSocket, nil when the request asks
// for no upgrade. Any other upgrade, and one on a route that is no such stream, is
// refused.
func upgradeOf(r *http.Request) (*upstream.Handshake, error) {
	if !asksUpgrade(r) {
		return nil, nil
	}
	if guard.Stream(r.Context()) != "websocket" {
		return nil, problem.New(problem.RequestUpgrade, nil)
	}
	return handshakeOf(r)
}

// handshakeOf returns the opening handshake that a request with an upgrade is.
func handshakeOf(r *http.Request) (*upstream.Handshake, error) {
	if r.Method != http.MethodGet || r.ProtoMajor != 1 || r.ProtoMinor != 1 || r.ContentLength != 0 {
		return nil, problem.New(problem.RequestUpgrade, nil)
	}
	h, err := upstream.ReadHandshake(r.Header)
	if err != nil {
		return nil, problem.New(problem.RequestUpgrade, err)
	}
	return h, nil
}

func (d *inbound) refuse(w http.ResponseWriter, r *http.Request, err error) {
	logRefusal(d.cfg.Log, r, "sidecar: request not answered by the service", err)
	problem.WriteError(w, err, correlationOf(r.Context()))
}
