package guard

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/internal/httpsig"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/svid"
)

// shared is a memory of several replicas.
type shared struct {
	mu   sync.Mutex
	seen map[string]bool
	down bool
}

func (s *shared) Once(_ context.Context, key string, _ time.Duration) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return false, errors.New("down")
	}
	first := !s.seen[key]
	s.seen[key] = true
	return first, nil
}

// TestReplay: the same bytes again, on the same connection, on another one, and
// to another replica.
func TestReplay(t *testing.T) {
	clock := &handClock{now: time.Now()}
	w := newWorld(t, innerShop, clock.Now)
	memory := &shared{seen: map[string]bool{}}
	share := func(c *Config) { c.Replays = memory }
	listen := func() (string, net.Listener) {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l.Addr().String(), l
	}
	replica := func(change func(*Config)) string {
		address, l := listen()
		w.serve(w.guard("orders", change), l, http.HandlerFunc(told))
		return address
	}
	one, two, alone := replica(share), replica(share), replica(nil)
	clock.set(clock.Now().Add(2 * time.Second))
	gateway := w.ca.Source(t, "gateway", clock.Now)
	for _, tt := range []struct {
		name        string
		strength    httpsig.Strength
		to          string
		same        bool // connection
		want, fresh string
	}{
		{"mac, same connection", httpsig.MAC, one, true, "proof.replayed", "200"},
		{"mac, another connection", httpsig.MAC, one, false, "proof.invalid", "200"},
		{"mac, another replica", httpsig.MAC, two, false, "proof.invalid", "200"},
		{"signature, same connection", httpsig.Signature, one, true, "proof.replayed", "200"},
		{"signature, another connection", httpsig.Signature, one, false, "proof.replayed", "200"},
		{"signature, another replica", httpsig.Signature, two, false, "proof.replayed", "200"},
		{"signature, a replica that shares nothing", httpsig.Signature, alone, false, "200", "200"}, // what Config.Replays is for
	} {
		first := w.dial(one, gateway)
		request := bytesOf(t, first.prove(message(t, "POST", "/mac", w.token("u1"), "body"), tt.strength))
		if got := first.send(request); got != "200" {
			t.Errorf("%s: the request itself = %s", tt.name, got)
			continue
		}
		second := first
		if !tt.same {
			second = w.dial(tt.to, gateway)
		}
		if got := second.send(request); got != tt.want {
			t.Errorf("%s: the replay = %s, want %s", tt.name, got, tt.want)
		}
		again := bytesOf(t, second.prove(message(t, "POST", "/mac", w.token("u1"), "body"), tt.strength))
		if got := second.send(again); got != tt.fresh {
			t.Errorf("%s: a new proof after it = %s, want %s", tt.name, got, tt.fresh)
		}
	}
	l := w.dial(one, gateway)
	memory.down = true
	if got := l.send(bytesOf(t, l.prove(message(t, "POST", "/mac", w.token("u1"), ""), httpsig.Signature))); got != "proof.unavailable" {
		t.Errorf("with the shared memory down: %s, want proof.unavailable", got)
	}
	if got := l.send(bytesOf(t, l.prove(message(t, "POST", "/mac", w.token("u1"), ""), httpsig.MAC))); got != "200" {
		t.Errorf("mac with the shared memory down: %s, want 200", got)
	}
}

// TestProofLives: proofs that are too old, and signatures from before the start.
func TestProofLives(t *testing.T) {
	clock := &handClock{now: time.Unix(1_800_000_000, 0)}
	w := newWorld(t, innerShop, clock.Now)
	address := w.open(w.guard("orders", nil), http.HandlerFunc(told))
	gateway := w.ca.Source(t, "gateway", clock.Now)
	for _, tt := range []struct {
		name     string
		strength httpsig.Strength
		after    time.Duration // between proof and arrival
		want     string
	}{
		{"mac of the second of the start", httpsig.MAC, 0, "200"},
		{"signature of the second of the start", httpsig.Signature, 0, "200"}, // the start was on the second
		{"mac, in time", httpsig.MAC, 40 * time.Second, "200"},
		{"signature, in time", httpsig.Signature, 40 * time.Second, "200"},
		{"mac, late", httpsig.MAC, 2 * time.Minute, "proof.expired"},
		{"signature, late", httpsig.Signature, 2 * time.Minute, "proof.expired"},
		{"mac, from the future", httpsig.MAC, -time.Minute, "proof.expired"},
		{"signature, from the future", httpsig.Signature, -time.Minute, "proof.expired"},
	} {
		l := w.dial(address, gateway)
		made := clock.Now()
		clock.set(made.Add(tt.after)) // the token is of the arrival
		tok := w.token("u1")
		clock.set(made)
		r := l.prove(message(t, "POST", "/mac", tok, ""), tt.strength)
		clock.set(made.Add(tt.after))
		if got := l.send(bytesOf(t, r)); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
		clock.set(made.Add(max(tt.after, 0)))
	}
}

// TestHTTP2: streams that overtake each other are proved by mac one by one.
func TestHTTP2(t *testing.T) {
	w := newWorld(t, innerShop, time.Now)
	address := w.open(w.guard("orders", nil), http.HandlerFunc(told))
	own := w.ca.Source(t, "catalog", time.Now)
	orders, err := svid.ServiceID("shop.example", "orders")
	if err != nil {
		t.Fatal(err)
	}
	var mac *httpsig.MACSigner
	tr := &http.Transport{ForceAttemptHTTP2: true, Protocols: new(http.Protocols)}
	tr.Protocols.SetHTTP2(true)
	tr.DialTLSContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			return nil, err
		}
		cfg := svid.ClientTLS(own, orders)
		cfg.NextProtos = []string{"h2"}
		c := tls.Client(raw, cfg)
		if err := c.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		state := c.ConnectionState()
		key, err := httpsig.MACKey(&state)
		if err == nil {
			mac, err = httpsig.NewMACSigner(key)
		}
		return c, err
	}
	defer tr.CloseIdleConnections()
	tok := w.token("u1")
	do := func(r *http.Request) string {
		res, err := tr.RoundTrip(r)
		if err != nil {
			return err.Error()
		}
		defer res.Body.Close()
		if res.ProtoMajor != 2 {
			return res.Proto
		}
		if reason := res.Header.Get(problem.ReasonHeader); reason != "" {
			return reason
		}
		return res.Status[:3]
	}
	build := func() *http.Request {
		r := message(t, "POST", "/mac?a=1", tok, "body")
		r.URL.Scheme = "https"
		return r
	}
	if got := do(build()); got != "proof.missing" { // and the connection is there now
		t.Fatalf("without proof over HTTP/2: %s", got)
	}
	var requests []*http.Request
	for range 200 {
		r := build()
		m, err := httpsig.FromOutgoing(r)
		if err == nil {
			err = mac.Set(r.Header, &m, httpsig.Profile{Demand: httpsig.MAC}, time.Now())
		}
		if err != nil {
			t.Fatal(err)
		}
		requests = append(requests, r)
	}
	var wg sync.WaitGroup
	for i := range requests { // the last proof first, ten at a time
		r := requests[len(requests)-1-i]
		wg.Go(func() {
			if got := do(r); got != "200" {
				t.Errorf("proof %d over HTTP/2: %s", i, got)
			}
		})
		if i%10 == 9 {
			wg.Wait()
		}
	}
	wg.Wait()
	again := requests[0].Clone(t.Context())
	again.Body, _ = requests[0].GetBody()
	if got := do(again); got != "proof.replayed" {
		t.Errorf("a proof again: %s, want proof.replayed", got)
	}
	changed := build()
	changed.Header = requests[1].Header.Clone()
	changed.Body = http.NoBody
	changed.ContentLength = 0
	if got := do(changed); !strings.HasPrefix(got, "proof.") {
		t.Errorf("another body under a proof: %s", got)
	}
}

// TestOnceOverReplicas: without a memory of their own, the replicas of a service
// ask control, which takes a signed request that may change something once; one
// of a safe method is each replica's own affair, and without an answer there is no.
func TestOnceOverReplicas(t *testing.T) {
	clock := &handClock{now: time.Now()}
	w := newWorld(t, innerShop, clock.Now)
	replica := func() (*fakeControl, string) {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		w.serve(w.guard("orders", nil), l, http.HandlerFunc(told))
		return w.controls["orders"], l.Addr().String()
	}
	control, one := replica()
	other, two := replica()
	control.used = map[string]bool{}
	other.used = control.used // it is one control
	clock.set(clock.Now().Add(2 * time.Second))
	gateway := w.ca.Source(t, "gateway", clock.Now)
	for _, tt := range []struct{ method, path, want string }{
		{"POST", "/mac", "proof.replayed"},
		{"GET", "/mac", "200"},
	} {
		first, second := w.dial(one, gateway), w.dial(two, gateway)
		request := bytesOf(t, first.prove(message(t, tt.method, tt.path, w.token("u1"), ""), httpsig.Signature))
		if got := first.send(request); got != "200" {
			t.Errorf("%s: the request itself = %s", tt.method, got)
		}
		if got := second.send(request); got != tt.want {
			t.Errorf("%s at another replica = %s, want %s", tt.method, got, tt.want)
		}
	}
	l := w.dial(one, gateway)
	control.mu.Lock()
	control.down = true
	control.mu.Unlock()
	if got := l.send(bytesOf(t, l.prove(message(t, "POST", "/mac", w.token("u1"), ""), httpsig.Signature))); got != "proof.unavailable" {
		t.Errorf("without control: %s, want proof.unavailable", got)
	}
	if got := l.send(bytesOf(t, l.prove(message(t, "GET", "/mac", w.token("u1"), ""), httpsig.Signature))); got != "200" {
		t.Errorf("a safe method without control: %s, want 200", got)
	}
}
