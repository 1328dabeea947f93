package gateway

import (
	"bufio"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"weak"

	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// two is a zone of the listeners public and partners in an order, each with a route.
func two(upstream string, names ...string) *zone.Zone {
	z := testZone(upstream, get("/public"))
	z.Listeners = nil
	for _, name := range names {
		z.Listeners = append(z.Listeners, &zone.Listener{Name: name, Address: "127.0.0.1:0", Hosts: testHosts, Anonymous: true, Limits: testLimits()})
	}
	partners := &zone.Route{Method: "GET", Path: "/partners", Listener: "partners", Allow: zone.AllowUser, Service: z.Services[0]}
	user := &zone.Route{Method: "GET", Path: "/user", Listener: "public", Allow: zone.AllowUser, Service: z.Services[0]}
	z.Services[0].Routes = append(z.Services[0].Routes, partners, user)
	return z
}

// TestReloadTokens: a token that was asked for under one map, where its listener
// had another place, is not used for the listener that has the place now.
func TestReloadTokens(t *testing.T) {
	var first sync.Once
	asked, goOn := make(chan struct{}), make(chan struct{})
	d := openDoor(t, nil, func(c *Config) {
		c.Zone = two(c.Zone.Services[0].Upstreams[0].Address, "public", "partners")
		c.Fresh = func(time.Time) bool { // a place where a request can be held
			first.Do(func() { close(asked); <-goOn })
			return true
		}
	})
	slow := make(chan result, 1)
	go func() { slow <- d.do(d.client(false), "GET", "/user", "", "Authorization: Bearer "+aliceToken) }()
	<-asked
	d.reload(two(d.service.address, "partners", "public"))
	tokenOf := func(listener, path string) string {
		t.Helper()
		c := d.dialWith(listener, tlsTo("shop.example"))
		request := "GET " + path + " HTTP/1.1\r\nHost: shop.example\r\nAuthorization: Bearer " + aliceToken + "\r\n\r\n"
		_, _ = io.WriteString(c, request)
		if got := d.read(c, request); got.status != 200 {
			t.Fatalf("%s: %d %s", path, got.status, got.body)
		}
		all := d.service.all()
		return all[len(all)-1].header.Get("Txn-Token")
	}
	close(goOn)
	if got := <-slow; got.status != 200 {
		t.Fatalf("the request from before: %d %s", got.status, got.body)
	}
	for listener, path := range map[string]string{"partners": "/partners", "public": "/user"} {
		if got := tokenOf(listener, path); !strings.HasPrefix(got, "inside.alice."+listener+".") {
			t.Errorf("%s: the token says %s", listener, got)
		}
	}
}

// TestReloadProxies: whether a peer is a trusted proxy is a matter of the map in
// force, also on a connection that was made under another.
func TestReloadProxies(t *testing.T) {
	d := openDoor(t, []*zone.Route{get("/a")})
	c := d.dial("shop.example", "http/1.1")
	const request = "GET /a HTTP/1.1\r\nHost: shop.example\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n"
	for _, step := range []struct {
		trusted []netip.Prefix
		want    string
	}{
		{nil, "127.0.0.1"},
		{[]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, "203.0.113.9"},
		{nil, "127.0.0.1"},
	} {
		z := testZone(d.service.address, get("/a"))
		z.Listeners[0].TrustedProxies = step.trusted
		d.reload(z)
		_, _ = io.WriteString(c, request)
		if got := d.read(c, request); got.status != 200 {
			t.Fatalf("%v: %d %s", step.trusted, got.status, got.body)
		}
		if got := d.last().Client.String(); got != step.want {
			t.Errorf("trusted proxies %v: the client is %s, want %s", step.trusted, got, step.want)
		}
	}
}

// lateSocket has one connection left when it is closed: it was accepted already.
type lateSocket struct {
	net.Listener
	late   net.Conn
	closed chan struct{}
	once   sync.Once
	given  bool
}

func (s *lateSocket) Close() error { s.once.Do(func() { close(s.closed) }); return s.Listener.Close() }

func (s *lateSocket) Accept() (net.Conn, error) {
	<-s.closed
	if s.given {
		return nil, net.ErrClosed
	}
	s.given = true
	return s.late, nil
}

// TestReloadLateConnection: a connection that was being accepted while its
// doorway left is judged by the rules in force, however many maps later.
func TestReloadLateConnection(t *testing.T) {
	d := openDoor(t, []*zone.Route{get("/old")})
	<-d.gateway.Serving()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	near, far := net.Pipe()
	g := d.gateway
	leaving := newDoorway(g, g.now().listener("public"), &lateSocket{Listener: socket, late: near, closed: make(chan struct{})})
	g.openDoor(leaving)
	leaving.leave()
	d.reload(testZone(d.service.address, get("/new")))

	c := tls.Client(far, &tls.Config{ServerName: "shop.example", RootCAs: theCA().pool, NextProtos: []string{"http/1.1"}})
	const request = "GET /old HTTP/1.1\r\nHost: shop.example\r\n\r\n"
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	d.refused("a route that is gone", d.read(c, request), problem.RouteUnknown)
	_ = c.Close()
	eventually(t, "the doorway is forgotten with its last connection", func() bool { return len(g.allDoors()) == 1 })
}

// TestReloadSocketFree: the address of a listener that was removed is free for
// the next map at once.
func TestReloadSocketFree(t *testing.T) {
	d := openDoor(t, []*zone.Route{get("/a")})
	<-d.gateway.Serving()
	rounds, at := 0, freeAddress(t)
	for ports := 1; rounds < 50; {
		z := testZone(d.service.address, get("/a"))
		z.Listeners = append(z.Listeners, &zone.Listener{Name: "second", Address: at, Hosts: testHosts, Anonymous: true, Limits: testLimits()})
		switch err := d.gateway.Reload(z, certificatesOf(z), nil); {
		case err == nil:
			rounds++
		case errors.Is(err, syscall.EADDRINUSE) && ports < 5: // somebody else may have taken it: not five times
			rounds, at = 0, freeAddress(t)
			ports++
			continue
		default:
			t.Fatalf("round %d on port %d: %v", rounds, ports, err)
		}
		d.reload(testZone(d.service.address, get("/a")))
	}
}

// TestReloadAddressHeld: what stands in the way of an address may be this
// process's own socket, and the error says so.
func TestReloadAddressHeld(t *testing.T) {
	d := openDoor(t, []*zone.Route{get("/a")})
	<-d.gateway.Serving()
	_, port, _ := net.SplitHostPort(d.addrs["public"])
	z := testZone(d.service.address, get("/a"))
	z.Listeners[0].Address = "0.0.0.0:" + port
	err := d.gateway.Reload(z, certificatesOf(z), nil)
	if err == nil || !strings.Contains(err.Error(), "restart") || !strings.Contains(err.Error(), "public") {
		t.Errorf("got %v, want to hear that this process holds the port, and what to do", err)
	}
}

// TestReloadConnections: the bound on connections counts those that there are.
func TestReloadConnections(t *testing.T) {
	d := openDoor(t, []*zone.Route{get("/a")})
	bounded := func(n int) {
		z := testZone(d.service.address, get("/a"))
		z.Listeners[0].Limits.Connections = n
		d.reload(z)
	}
	served := func() (net.Conn, bool) {
		t.Helper()
		nc, err := net.Dial("tcp", d.addrs["public"])
		if err != nil {
			t.Fatal(err)
		}
		c := tls.Client(nc, &tls.Config{ServerName: "shop.example", RootCAs: theCA().pool, NextProtos: []string{"http/1.1"}})
		_, err = io.WriteString(c, "GET /a HTTP/1.1\r\nHost: shop.example\r\n\r\n")
		if err == nil {
			_, err = http.ReadResponse(bufio.NewReader(c), nil)
		}
		return c, err == nil
	}
	bounded(3)
	var open []net.Conn
	for i := range 3 {
		c, ok := served()
		if open = append(open, c); !ok {
			t.Fatalf("connection %d of 3 was closed", i+1)
		}
	}
	bounded(2)
	if c, ok := served(); ok {
		t.Error("a fourth connection is served where two may be")
		_ = c.Close()
	}
	bounded(4)
	if c, ok := served(); !ok { // positive control
		t.Error("a fourth connection is closed where four may be")
	} else {
		_ = c.Close()
	}
	for _, c := range open {
		_ = c.Close()
	}
}

// TestReloadStreamsAnew: a stream lives on while the map in force would let its
// request in, as it is and from where it came.
func TestReloadStreamsAnew(t *testing.T) {
	const request = "GET /users/alice/events/7 HTTP/1.1\r\nHost: shop.example\r\nAuthorization: Bearer " + aliceToken + "\r\n\r\n"
	route := func(path string, params ...zone.Param) *zone.Route {
		owner, _, _ := strings.Cut(path[strings.Index(path, "{user")+1:], "}")
		return &zone.Route{
			Method: "GET", Path: path, Allow: zone.AllowUser, Stream: zone.StreamSSE, Params: params,
			Owner: zone.Owner{Kind: zone.OwnerPath, Arg: owner},
		}
	}
	for _, c := range []struct {
		name   string
		path   string
		params []zone.Param
		edit   func(*testing.T, *zone.Listener)
		reason problem.Reason // OK: it lives on
	}{
		{"control", "/users/{user}/events/{n}", nil, nil, problem.OK},
		{"another name for the owner", "/users/{user_id}/events/{n}", nil, nil, problem.OK},
		{"another part is the owner", "/users/{n}/events/{user}", nil, nil, problem.OwnerDenied},
		{"a parameter that it is not", "/users/{user}/events/{n}", []zone.Param{{Name: "n", Kind: zone.ParamUUID}}, nil, problem.RequestParam},
		{"a parameter that it is", "/users/{user}/events/{n}", []zone.Param{{Name: "n", Kind: zone.ParamInt}}, nil, problem.OK},
		{"another host", "/users/{user}/events/{n}", nil, func(_ *testing.T, l *zone.Listener) { l.Hosts = []string{"other.example"} }, problem.ListenerHost},
		{"clients with certificates alone", "/users/{user}/events/{n}", nil, func(t *testing.T, l *zone.Listener) {
			l.ClientCA = filepath.Join(t.TempDir(), "partners.pem")
			if err := os.WriteFile(l.ClientCA, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: theCA().cert.Raw}), 0o600); err != nil {
				t.Fatal(err)
			}
		}, problem.ListenerCertificate},
		{"signed requests alone", "/users/{user}/events/{n}", nil, nil, problem.ProofMissing},
		{"fresh logins alone", "/users/{user}/events/{n}", nil, nil, problem.AuthStepUp},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel() // each waits for a look
			say, begun := make(chan struct{}), make(chan struct{})
			s := newService(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/event-stream")
				_, _ = io.WriteString(w, "data: first\n\n")
				_ = http.NewResponseController(w).Flush()
				close(begun)
				select {
				case <-say:
					_, _ = io.WriteString(w, "data: second\n\n")
				case <-r.Context().Done():
				}
			})
			d := openDoor(t, nil, func(cfg *Config) {
				cfg.Zone, cfg.Spool = testZone(s.address, route("/users/{user}/events/{n}")), t.TempDir()
			})
			nc := d.dial("shop.example", "http/1.1")
			if _, err := io.WriteString(nc, request); err != nil {
				t.Fatal(err)
			}
			<-begun
			z := testZone(s.address, route(c.path, c.params...))
			if c.edit != nil {
				c.edit(t, z.Listeners[0])
			}
			now := z.Services[0].Routes[0]
			switch c.reason {
			case problem.ProofMissing:
				now.Signed = true
			case problem.AuthStepUp:
				now.MaxAge = time.Minute // the login of nobody here is known
			}
			d.reload(z)
			var heard syncBuffer
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_, _ = io.Copy(&heard, nc)
			}()
			if c.reason == problem.OK {
				// Looks are taken each second. One by hand instead of a wait for them.
				d.gateway.Forget(hashOf(aliceToken))
				close(say)
				eventually(t, "the rest is heard", func() bool { return strings.Contains(heard.String(), "second") })
			} else {
				<-ended // it is cut
			}
			eventually(t, "the end is recorded", func() bool { return len(d.journal.all()) == 2 })
			if got := d.last().Reason; got != c.reason.Code() {
				t.Errorf("it ended with %s, want %s", got, c.reason.Code())
			}
			_ = nc.Close()
			<-ended
			if all := heard.String(); strings.Contains(all, "second") != (c.reason == problem.OK) {
				t.Errorf("the client got %q", all)
			}
		})
	}
}

// TestReloadKeepsNoMap: a connection that lives on does not keep the map under
// which it was made.
func TestReloadKeepsNoMap(t *testing.T) {
	d := openDoor(t, []*zone.Route{get("/a")})
	c := d.dial("shop.example", "http/1.1")
	const request = "GET /a HTTP/1.1\r\nHost: shop.example\r\n\r\n"
	ask := func() {
		t.Helper()
		_, _ = io.WriteString(c, request)
		if got := d.read(c, request); got.status != 200 || got.closed {
			t.Fatalf("%d, closed %v", got.status, got.closed)
		}
	}
	ask()
	first := weak.Make(d.gateway.now())
	d.reload(testZone(d.service.address, get("/a"), get("/b")))
	ask()
	eventually(t, "the first rules are collected", func() bool { runtime.GC(); return first.Value() == nil })
	ask()
}
