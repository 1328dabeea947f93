package guard

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"sallyport.dev/guard/internal/channel"
	"sallyport.dev/internal/svid"
)

// Bounds of what callers may take.
const (
	maxStreams = 100              // of one HTTP/2 connection
	maxHeader  = 128 << 10        // bytes
	headerTime = 5 * time.Second  // of a handshake, and of a request's header
	idleTime   = 90 * time.Second // longer than callers keep a connection idle
	writeStall = 30 * time.Second // that a caller may take nothing
	drainTime  = 30 * time.Second // for requests under way at the end
)

// places are how many connections there may be.
type places struct{ all, services, service int }

// standardPlaces leave some for the gateway whatever the services do, and some
// for the other services whatever one does.
func standardPlaces() places { return places{all: 1024, services: 768, service: 512} }

// ListenAndServe serves handler on addr (host:port or unix:/path) until ctx ends,
// and then returns nil when the requests under way are done. It is the whole
// inner door: mutual TLS with the service's identity, and Protect around handler.
// It listens once the identity is there.
func (g *Guard) ListenAndServe(ctx context.Context, addr string, handler http.Handler) error {
	if err := g.identified(ctx); err != nil {
		return err
	}
	l, err := listen(ctx, addr)
	if err != nil {
		return fmt.Errorf("guard: %w", err)
	}
	return g.Serve(ctx, l, handler)
}

// Serve is ListenAndServe on a listener that is there; it closes it. The error is
// that of the listener, or what no waiting mends of the identity.
func (g *Guard) Serve(ctx context.Context, l net.Listener, handler http.Handler) error {
	if handler == nil { // net/http's own default would be a mux that nobody chose
		_ = l.Close()
		return errors.New("guard: serve: no handler")
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	run := &serving{drain: make(chan struct{})}
	srv := &http.Server{
		Handler:     svid.Retire(g.Protect(handler)),
		ConnContext: g.ConnContext,
		BaseContext: func(net.Listener) context.Context {
			return context.WithValue(context.WithoutCancel(ctx), servingKey{}, run)
		},
		ReadHeaderTimeout: max(headerTime, g.patience),
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHeader,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams, SendPingTimeout: idleTime, WriteByteTimeout: writeStall},
		ErrorLog:          log.New(&sparse{log: g.cfg.Log, clock: time.Now}, "", 0),

		DisableGeneralOptionsHandler: true, // net/http would answer OPTIONS * in our place
	}
	// Signatures of the guard's first second count as made before its start: it is
	// better to let callers wait than to refuse them.
	if wait := g.settle.Sub(g.cfg.Clock()); !g.settle.IsZero() && wait > 0 {
		timer := time.NewTimer(min(wait, time.Second))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(g.Listener(l)) }()
	var end error
	select {
	case err := <-done:
		return fmt.Errorf("guard: serve: %w", err)
	case end = <-g.lost(ctx):
	case <-ctx.Done():
	}
	close(run.drain)
	patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	if err := srv.Shutdown(patience); err != nil {
		_ = srv.Close()
		end = errors.Join(end, fmt.Errorf("guard: requests under way were cut: %w", err))
	} else {
		run.await(patience)
	}
	<-done
	return end
}

// Listener returns the guard's listener on inner: mutual TLS, callers of the zone
// only, connections bounded in number (1024; services 768, one of them 512) and by
// the lives of the certificates. It is for servers of the program's own; Serve has
// it already.
//
//	srv := &http.Server{Handler: g.Protect(mux), ConnContext: g.ConnContext, ReadHeaderTimeout: 5 * time.Second}
//	err := srv.Serve(g.Listener(l))
func (g *Guard) Listener(inner net.Listener) net.Listener {
	return g.callers.Listener(bound(inner, g.places.all), g.inner)
}

// ConnContext is for http.Server, beside Listener: it makes Protect know who the
// caller is.
func (g *Guard) ConnContext(ctx context.Context, c net.Conn) context.Context {
	return channel.ConnContext(ctx, c)
}

// innerTLS is the handshake with callers.
func (g *Guard) innerTLS() *tls.Config {
	cfg := svid.ServerTLS(g.source, func(p svid.Peer) error {
		if !mayEnter(nameOf(p.ID)) {
			return errors.New("neither the gateway nor a service")
		}
		return nil
	})
	cfg.NextProtos = []string{"h2", "http/1.1"}
	return cfg
}

// admit is svid.Conns.Admit.
func (g *Guard) admit(p svid.Peer) error {
	err := g.place(p.ID)
	if err != nil {
		g.turnedAway.say(fmt.Sprintf("%s: %v", p.ID, err))
	}
	return err
}

// place says why a caller gets no further connection: any workload of the zone
// may connect, and one that was breached must not keep the others out.
func (g *Guard) place(id svid.ID) error {
	if nameOf(id) == svid.GatewayName {
		return nil
	}
	its, all := 0, 0 // this connection is among them
	g.callers.Each(func(p svid.Peer) {
		if p.ID == id {
			its++
		}
		if nameOf(p.ID) != svid.GatewayName {
			all++
		}
	})
	if its > g.places.service || all > g.places.services {
		return fmt.Errorf("it has %d connections, all services have %d", its-1, all-1)
	}
	return nil
}

// identified waits for the identity.
func (g *Guard) identified(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-g.failed:
			cancel(g.failure)
		case <-ctx.Done():
		}
	}()
	if err := g.source.Wait(ctx); err != nil {
		return fmt.Errorf("guard: wait for the identity of %s: %w", g.cfg.Service, context.Cause(ctx))
	}
	return nil
}

// lost returns a channel that tells when there is no identity any more and will
// be none.
func (g *Guard) lost(ctx context.Context) <-chan error {
	tell := make(chan error, 1)
	go func() {
		select {
		case <-ctx.Done():
			return
		case <-g.failed:
		}
		for {
			changed := g.source.Changed()
			own, err := g.source.Current()
			if err != nil {
				tell <- fmt.Errorf("guard: %w", g.failure)
				return
			}
			timer := time.NewTimer(own.NotAfter.Sub(g.cfg.Clock()) + time.Second)
			select {
			case <-ctx.Done():
				timer.Stop()
				return
			case <-changed:
				timer.Stop()
			case <-timer.C:
			}
		}
	}()
	return tell
}

// serving is one run of Serve, as its requests know it.
type serving struct {
	drain chan struct{}  // closed when the server begins to drain
	taken sync.WaitGroup // connections that handlers took over
}

type servingKey struct{}

func servingFrom(ctx context.Context) *serving {
	s, _ := ctx.Value(servingKey{}).(*serving)
	return s
}

// await waits for the handlers that took a connection over; their server does not.
func (s *serving) await(ctx context.Context) {
	done := make(chan struct{})
	go func() { s.taken.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
	}
}
