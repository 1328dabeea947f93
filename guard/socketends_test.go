package guard

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// TestSocketEnds: each cause ends the socket that it concerns, on both sides, and
// says so; the twin lives on.
func TestSocketEnds(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(w *world, over context.CancelCauseFunc)
		want func(error) bool
	}{
		{"the request in hand", func(_ *world, over context.CancelCauseFunc) { over(errDraining) }, func(err error) bool { return errors.Is(err, errDraining) }},
		{"the map of the caller", func(w *world, _ context.CancelCauseFunc) {
			less := w.parse(w.withPlaces(strings.Replace(socketShop, "[GET /mac, ", "[", 1)))
			w.controls["front"].set(func(c *fakeControl) { c.slice = w.slice(less, "front") })
		}, func(err error) bool { return errors.Is(err, ErrUndeclared) }},
		{"the map of the callee", func(w *world, _ context.CancelCauseFunc) {
			less := w.parse(w.withPlaces(strings.Replace(socketShop, "GET /mac: {allow: user,", "GET /mac: {allow: [user, service], roles: [admin],", 1)))
			w.controls["orders"].set(func(c *fakeControl) { c.slice = w.slice(less, "orders") })
		}, func(err error) bool { return err != nil }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, front, far := pairOfGuards(t)
			life, over := context.WithCancelCause(t.Context())
			defer over(nil)
			opening, opened := context.WithCancel(context.WithoutCancel(w.inHand(life)))
			lost := connect(opening, t, front, "/mac")
			opened() // the handshake is over
			kept := connect(w.inHand(t.Context()), t, front, "/signed")
			lost.echo("still here")
			tt.end(w, over)
			if n, err := lost.in.Read(make([]byte, 10)); n != 0 || !tt.want(err) {
				t.Errorf("the caller read %d bytes, %v", n, err)
			}
			if _, err := lost.Write([]byte("x")); err == nil && tt.name != "the map of the callee" {
				t.Error("the caller still writes")
			}
			<-far.ended
			_ = lost.Close()
			kept.echo("the twin")
		})
	}
}

// TestSilentSocketEnds: one on which nothing is said ends when its time is over,
// and not before; one on which something is said lives on.
func TestSilentSocketEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := &handClock{now: time.Now()}
		w := newWorld(t, socketShop, clock.Now)
		far := &far{heads: make(chan *http.Request, 64), ended: make(chan error, 64)}
		orders, front := w.guard("orders", func(c *Config) { c.StreamIdle = 10 * streamIdle }), w.guard("front", nil)
		p := newPipes()
		w.serve(orders, p, far)
		clock.set(clock.Now().Add(2 * time.Second))
		front.book.Load().calls.to["orders"].sockets.(*innerWire).connect = func(context.Context) (net.Conn, error) { return p.dial(), nil }
		silent, kept := connect(w.inHand(t.Context()), t, front, "/mac"), connect(w.inHand(t.Context()), t, front, "/signed")
		for _, pause := range []time.Duration{streamIdle * 2 / 5, streamIdle - time.Second, streamIdle / 2, streamIdle - time.Second} {
			time.Sleep(pause)
			silent.echo("still here")
			kept.echo("the twin")
		}
		last := time.Now()
		time.Sleep(streamIdle - time.Second)
		kept.echo("the twin")
		if n, err := silent.in.Read(make([]byte, 10)); n != 0 || problem.ReasonOf(err) != problem.UpstreamTimeout || time.Since(last) != streamIdle {
			t.Errorf("the caller read %d bytes, %v, after %s", n, err, time.Since(last))
		}
		if _, err := silent.Write([]byte("x")); err == nil {
			t.Error("the caller still writes")
		}
		<-far.ended
		kept.echo("the twin")
		_ = kept.Close()
		<-far.ended
	})
}

// withPlaces fills in where the services of a map listen.
func (w *world) withPlaces(text string) string {
	for name, l := range w.listeners {
		text = strings.Replace(text, "@"+name+"\n", l.Addr().String()+"\n", 1)
	}
	return text
}

// TestSocketOfTheMapBefore: a socket whose call the map lost while its handshake
// was under way is none.
func TestSocketOfTheMapBefore(t *testing.T) {
	w := newWorld(t, socketShop, time.Now)
	orders, front := w.guard("orders", nil), w.guard("front", nil)
	arrived, changed := make(chan struct{}), make(chan struct{})
	var late atomic.Bool
	w.open(orders, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if late.Load() {
			close(arrived)
			<-changed
		}
		switching(rw, r)
	}))
	res, err := handshake(w.inHand(t.Context()), front, "/mac")
	if err != nil || res.StatusCode != 101 {
		t.Fatalf("control: %v, %v", res, err)
	}
	_ = res.Body.Close()
	late.Store(true)
	before := front.book.Load().slice
	go func() {
		<-arrived
		less := w.parse(w.withPlaces(strings.Replace(socketShop, "[GET /mac, ", "[", 1)))
		w.controls["front"].set(func(c *fakeControl) { c.slice = w.slice(less, "front") })
		awaitMapAfter(front, before)
		close(changed)
	}()
	if res, err := handshake(w.inHand(t.Context()), front, "/mac"); !errors.Is(err, ErrUndeclared) {
		t.Errorf("%v, %v, want %v", res, err, ErrUndeclared)
	}
}

// TestOwnSocket: one that a service opens as itself belongs to no request.
func TestOwnSocket(t *testing.T) {
	w, front, far := pairOfGuards(t)
	life, over := context.WithCancel(t.Context())
	mine, users := connect(w.inHand(life), t, front, "/own"), connect(w.inHand(life), t, front, "/mac")
	if h := <-far.heads; PrincipalFrom(h.Context()).Subject != "spiffe://shop.example/front" {
		t.Errorf("the callee is told of %s", PrincipalFrom(h.Context()).Subject)
	}
	over()
	if _, err := users.in.ReadByte(); err == nil {
		t.Error("the user's lives on")
	}
	mine.echo("still here")
}

// TestSocketsAreBounded: one service takes so many places at another, and gives
// them back.
func TestSocketsAreBounded(t *testing.T) {
	w, front, _ := pairOfGuards(t)
	o := prepared(w.inHand(t.Context()), t, front, front.book.Load())
	var last *socket
	for range socketMost {
		var err error
		if last, err = front.reserve(o); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := front.reserve(o); problem.ReasonOf(err) != problem.UpstreamBusy {
		t.Errorf("one more: %v", err)
	}
	if !front.sockets.add(&socket{to: "another"}) {
		t.Error("no place at another")
	}
	last.drop()
	if _, err := front.reserve(o); err != nil {
		t.Errorf("after one was given back: %v", err)
	}
}

// TestSocketJudgedByTheMapBefore: a handshake that one map let pass and that is
// about to be sent under the next, which does not, is not.
func TestSocketJudgedByTheMapBefore(t *testing.T) {
	w, front, _ := pairOfGuards(t)
	before := front.book.Load()
	o := prepared(w.inHand(t.Context()), t, front, before)
	if s, err := front.reserve(o); err != nil {
		t.Fatalf("control: %v", err)
	} else {
		s.drop()
	}
	less := w.parse(w.withPlaces(strings.Replace(socketShop, "[GET /mac, ", "[", 1)))
	w.controls["front"].set(func(c *fakeControl) { c.slice = w.slice(less, "front") })
	awaitMapAfter(front, before.slice)
	if _, err := front.reserve(o); !errors.Is(err, ErrUndeclared) || len(front.sockets.open) != 0 {
		t.Errorf("%v, and %d are open", err, len(front.sockets.open))
	}
}

// awaitMapAfter waits until another map than that of before is in force.
func awaitMapAfter(g *Guard, before *zone.Slice) {
	for g.book.Load().slice == before {
		time.Sleep(time.Millisecond)
	}
}

// prepared is the handshake of /mac as a book lets it pass.
func prepared(ctx context.Context, t *testing.T, g *Guard, b *book) *outbound {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://orders/mac", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "websocket")
	o, err := g.prepare(ctx, b, r)
	if err != nil || !o.socket {
		t.Fatalf("%+v, %v", o, err)
	}
	return o
}
