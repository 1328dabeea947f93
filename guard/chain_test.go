package guard

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/guard/internal/standin"
	"sallyport.dev/internal/httpsig"
	"sallyport.dev/internal/svid"
)

// chainShop is a chain of four services, each hop proved in another way.
const chainShop = `
zone: shop.example
services:
  a:
    upstream: https://@a
    embedded: true
    routes:
      POST /a: user
    calls:
      b: [POST /b]
  b:
    upstream: https://@b
    embedded: true
    routes:
      POST /b: {allow: service, proof: signature}
    calls:
      c: [POST /c]
  c:
    upstream: https://@c
    embedded: true
    routes:
      POST /c: {allow: service, proof: channel}
    calls:
      d: [POST /d, {call: POST /own, as: service}]
  d:
    upstream: https://@d
    embedded: true
    routes:
      POST /d: service
      POST /own: service
`

// control serves a zone's control part over mutual TLS, as it is outside of tests.
func (w *world) control() string {
	w.t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/jwks.json", func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write(jwks(w.t, w.key)) })
	mux.HandleFunc("GET /v1/services/{name}", func(rw http.ResponseWriter, r *http.Request) {
		peer, ok := svid.PeerFrom(r.Context())
		if name := r.PathValue("name"); !ok || nameOf(peer.ID) != name {
			http.Error(rw, "not yours", http.StatusForbidden)
			return
		}
		if tag := `"` + w.zone.Revision + `"`; r.Header.Get("If-None-Match") == tag {
			select {
			case <-time.After(time.Second):
			case <-r.Context().Done():
			}
			rw.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = rw.Write(w.slice(w.zone, r.PathValue("name")))
	})
	mux.HandleFunc("POST /v1/token", func(rw http.ResponseWriter, r *http.Request) {
		peer, _ := svid.PeerFrom(r.Context())
		_, _ = io.WriteString(rw, w.own(nameOf(peer.ID))())
	})
	mux.HandleFunc("POST /v1/once", func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, `{"first":true}`) })
	l, err := (&net.ListenConfig{}).Listen(w.t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	cfg := svid.ControlTLS(w.ca.Source(w.t, "control", w.clock), func(svid.Peer) error { return nil })
	srv := &http.Server{Handler: mux, ConnContext: svid.ConnContext, ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	conns := svid.NewConns(w.clock)
	conns.Patience = patience
	go func() { _ = srv.Serve(conns.Listener(l, cfg)) }()
	w.t.Cleanup(func() { _ = srv.Close() })
	return "https://" + l.Addr().String()
}

// joined returns a ready guard that asks a control over TLS.
func (w *world) joined(service, control string, source *svid.Source) *Guard {
	w.t.Helper()
	ctx := standin.With(w.t.Context(), standin.Parts{Source: source, Patience: patience})
	g, err := New(ctx, Config{Service: service, Control: control, Clock: w.clock, Log: slog.New(slog.DiscardHandler), Spool: w.t.TempDir()})
	if err == nil {
		err = g.Wait(w.t.Context())
	}
	if err != nil {
		w.t.Fatalf("%s: %v", service, err)
	}
	return g
}

// passOn returns a handler that calls on with the body it got.
func passOn(g *Guard, url string) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		req, err := http.NewRequestWithContext(r.Context(), http.MethodPost, url, r.Body)
		if err != nil {
			http.Error(rw, err.Error(), http.StatusInternalServerError)
			return
		}
		res, err := g.Client().Do(req)
		if err != nil {
			http.Error(rw, err.Error(), http.StatusBadGateway)
			return
		}
		defer res.Body.Close()
		rw.WriteHeader(res.StatusCode)
		_, _ = io.Copy(rw, res.Body)
	})
}

// TestChain: user, correlation id and client come through four services, whatever
// the proof of the hop and the size of the body; and an own token does not.
func TestChain(t *testing.T) {
	clock := &handClock{now: time.Now()}
	w := newWorld(t, chainShop, clock.Now)
	control := w.control()
	guards := map[string]*Guard{}
	for _, name := range []string{"a", "b", "c", "d"} {
		guards[name] = w.joined(name, control, w.ca.Source(t, name, clock.Now))
	}
	w.open(guards["b"], passOn(guards["b"], "http://c/c"))
	w.open(guards["d"], http.HandlerFunc(told))
	var last atomic.Value
	last.Store("http://d/d")
	w.open(guards["c"], http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		passOn(guards["c"], last.Load().(string)).ServeHTTP(rw, r)
	}))
	w.open(guards["a"], passOn(guards["a"], "http://b/b"))
	clock.set(clock.Now().Add(2 * time.Second))

	raw, err := net.Dial("tcp", w.listeners["a"].Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	l := w.overTo(raw, w.ca.Source(t, "gateway", clock.Now), "a")
	for _, tt := range []struct{ body, last, sub, caller string }{
		{"", "http://d/d", "u1", "c"},
		{"small", "http://d/d", "u1", "c"},
		{strings.Repeat("large ", 50_000), "http://d/d", "u1", "c"},
		{"mine", "http://d/own", "spiffe://shop.example/c", "c"},
	} {
		last.Store(tt.last)
		got, text := l.exchange(bytesOf(t, l.prove(message(t, "POST", "/a", w.token("u1"), tt.body), httpsig.MAC)))
		var saw map[string]string
		if err := json.Unmarshal([]byte(text), &saw); got != "200" || err != nil {
			t.Fatalf("%d bytes: %s %.200s", len(tt.body), got, text)
		}
		if saw["sub"] != tt.sub || saw["caller"] != tt.caller || saw["correlation"] != correlation || saw["client"] != "192.0.2.7;listener=public" {
			t.Errorf("%d bytes: the last service saw %.300v", len(tt.body), saw)
		}
		if saw["body"] != tt.body {
			t.Errorf("%d bytes: %d arrive", len(tt.body), len(saw["body"]))
		}
	}
	for name, g := range guards {
		if left, _ := os.ReadDir(g.cfg.Spool); len(left) > 0 || g.spool.Used() != 0 {
			t.Errorf("%s left %d files and %d bytes behind", name, len(left), g.spool.Used())
		}
	}
}

// TestCalleeMustBeItself: who answers at the callee's address without being it
// gets nothing.
func TestCalleeMustBeItself(t *testing.T) {
	w := newWorld(t, innerShop, time.Now)
	var seen atomic.Int32
	orders := w.guard("orders", nil)
	ctx := withInbound(t.Context(), &inbound{token: w.token("u1"), correlationID: correlation, client: nobody})
	answering := svid.NewSource(nil)
	conns := svid.NewConns(nil)
	conns.Patience = patience
	srv := &http.Server{ReadHeaderTimeout: patience, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0), Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { seen.Add(1) })}
	go func() {
		_ = srv.Serve(conns.Listener(w.listeners["catalog"], svid.ServerTLS(answering, func(svid.Peer) error { return nil })))
	}()
	t.Cleanup(func() { _ = srv.Close() })
	for _, tt := range []struct {
		answers string
		ok      bool
	}{{"catalog", true}, {"nosy", false}, {"gateway", false}} {
		identity, err := w.ca.Source(t, tt.answers, time.Now).Current()
		if err != nil {
			t.Fatal(err)
		}
		answering.Set(identity)
		before := seen.Load()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://catalog/products", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		res, err := orders.Client().Do(r)
		if err == nil {
			res.Body.Close()
		}
		if (err == nil) != tt.ok || seen.Load() > before != tt.ok {
			t.Errorf("%s answers: %v, saw %d requests; want ok %v", tt.answers, err, seen.Load()-before, tt.ok)
		}
		orders.client.CloseIdleConnections()
	}
}

// TestRotationUnderLoad: both sides get new certificates all the time, and no
// call fails.
func TestRotationUnderLoad(t *testing.T) {
	w := newWorld(t, innerShop, time.Now)
	orders, catalog := w.guard("orders", nil), w.guard("catalog", nil)
	w.open(orders, http.HandlerFunc(told))
	stop, tick := make(chan struct{}), make(chan error)
	var wg sync.WaitGroup
	ctx := withInbound(t.Context(), &inbound{token: w.token("u1"), correlationID: correlation, client: nobody})
	call := func() error {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://orders/mac", strings.NewReader("body"))
		if err != nil {
			return err
		}
		res, err := catalog.Client().Do(r)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err == nil && (res.StatusCode != http.StatusOK || !bytes.Contains(text, []byte(`"caller":"catalog"`))) {
			err = fmt.Errorf("%d %s", res.StatusCode, text)
		}
		return err
	}
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case tick <- call():
				case <-stop:
					return
				}
			}
		})
	}
	for range 10 {
		for range 20 {
			if err := <-tick; err != nil {
				t.Error(err)
			}
		}
		for _, g := range []*Guard{orders, catalog} {
			g.source.Set(w.ca.Identity(t, g.cfg.Service, time.Now().Add(-time.Minute), time.Now().Add(time.Hour)))
		}
	}
	close(stop)
	wg.Wait()
}

// TestSniffing: a planted word is on the wire to a service without inner door,
// and not on that to one with.
func TestSniffing(t *testing.T) {
	const word = "planted-word"
	for _, tt := range []struct {
		name, door string
		seen       bool
	}{
		{"without inner door", "    upstream: http://@orders\n", true},
		{"with inner door", "    upstream: https://@orders\n    embedded: true\n", false},
	} {
		text := strings.Replace(innerShop, "    upstream: https://@orders\n    embedded: true\n", tt.door, 1)
		text = strings.Replace(text, "http://@orders", "https://@orders", 1)
		w := newWorld(t, text, time.Now)
		if tt.seen {
			text = strings.Replace(text, "https://@orders", "http://"+w.listeners["orders"].Addr().String(), 1)
			for name, l := range w.listeners {
				text = strings.Replace(text, "@"+name+"\n", l.Addr().String()+"\n", 1)
			}
			w.zone = w.parse(text)
		}
		wire := &recorded{Listener: w.listeners["orders"]}
		answer := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { _, _ = io.Copy(rw, r.Body) })
		if tt.seen {
			srv := &http.Server{Handler: answer, ReadHeaderTimeout: time.Minute}
			go func() { _ = srv.Serve(wire) }()
			t.Cleanup(func() { _ = srv.Close() })
		} else {
			w.serve(w.guard("orders", nil), wire, answer)
		}
		catalog := w.guard("catalog", nil)
		ctx := withInbound(t.Context(), &inbound{token: w.token("u1"), correlationID: correlation, client: nobody})
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://orders/mac", strings.NewReader(word))
		if err != nil {
			t.Fatal(err)
		}
		res, err := catalog.Client().Do(r)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		got, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || string(got) != word {
			t.Errorf("%s: answer %q, %v", tt.name, got, err)
		}
		if seen := bytes.Contains(wire.bytes(), []byte(word)); seen != tt.seen || len(wire.bytes()) == 0 {
			t.Errorf("%s: of %d bytes on the wire the word is among: %v, want %v", tt.name, len(wire.bytes()), seen, tt.seen)
		}
	}
}

// recorded is a listener that keeps what its connections carry.
type recorded struct {
	net.Listener
	mu   sync.Mutex
	data []byte
}

func (l *recorded) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return &recordedConn{c, l}, err
}

func (l *recorded) bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.data)
}

func (l *recorded) keep(p []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.data = append(l.data, p...)
}

type recordedConn struct {
	net.Conn
	l *recorded
}

func (c *recordedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.l.keep(p[:n])
	return n, err
}

func (c *recordedConn) Write(p []byte) (int, error) {
	c.l.keep(p)
	return c.Conn.Write(p)
}

// TestRetriedCall: a call that net/http sends again, since the connection it had
// kept was gone, is proved anew for the next one.
func TestRetriedCall(t *testing.T) {
	w := newWorld(t, innerShop, time.Now)
	orders, catalog := w.guard("orders", nil), w.guard("catalog", nil)
	w.open(orders, http.HandlerFunc(told))
	ctx := withInbound(t.Context(), &inbound{token: w.token("u1"), correlationID: correlation, client: nobody})
	for i := range 20 {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://orders/mac", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		res, err := catalog.Client().Do(r)
		if err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
		text, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Errorf("call %d: %d %s", i, res.StatusCode, text)
		}
		// The callee ends what it has open; the caller may not know it yet.
		if orders.callers.CloseWhere(func(svid.Peer) bool { return true }) == 0 {
			t.Error("no connection was kept")
		}
	}
}
