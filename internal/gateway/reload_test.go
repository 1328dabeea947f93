package gateway

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// certificatesOf gives every listener of a zone the test's certificate.
func certificatesOf(z *zone.Zone) map[string]Certificates {
	list := map[string]Certificates{}
	for _, l := range z.Listeners {
		list[l.Name] = theCertificate()
	}
	return list
}

func (d *door) reload(z *zone.Zone) {
	d.t.Helper()
	<-d.gateway.Serving()
	if err := d.gateway.Reload(z, certificatesOf(z), nil); err != nil {
		d.t.Fatalf("reload: %v", err)
	}
}

func get(path string) *zone.Route {
	return &zone.Route{Method: "GET", Path: path, Allow: zone.AllowAnonymous}
}

// TestReloadRoutes: what the new map declares is there with the next request of a
// connection that lives on, and what it does not is gone.
func TestReloadRoutes(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		d := openDoor(t, []*zone.Route{get("/old"), get("/both")})
		c := d.client(http2)
		var opened atomic.Int32
		tr := c.Transport.(*http.Transport)
		dial := tr.DialContext
		tr.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			opened.Add(1)
			return dial(ctx, network, address)
		}
		try := func(when, path string, want int) {
			t.Helper()
			if got := d.do(c, "GET", path, ""); got.status != want {
				t.Errorf("%s: %s: got %d %s, want %d", when, path, got.status, got.body, want)
			}
		}
		try("before", "/old", 200)
		try("before", "/new", 404)
		d.reload(testZone(d.service.address, get("/new"), get("/both")))
		try("after", "/old", 404)
		try("after", "/new", 200)
		try("after", "/both", 200)
		d.reload(testZone(d.service.address, get("/old"), get("/both")))
		try("back", "/old", 200)
		try("back", "/new", 404)
		if n := opened.Load(); n != 1 {
			t.Errorf("http2 %v: %d connections, want the one", http2, n)
		}
	}
}

// TestReloadUnderLoad: no request fails while the map changes two hundred times,
// in everything that can change. net/http gives the client of a connection over
// HTTP/2 that it ends one second to hear of it, so where a failure comes with a
// pause of half of that, it may be the machine's, and another attempt decides.
func TestReloadUnderLoad(t *testing.T) {
	for end := time.Now().Add(2 * tooLong); ; {
		failure, pause := reloadUnderLoad(t)
		switch {
		case failure == "":
			return
		case pause < 500*time.Millisecond:
			t.Fatal(failure)
		case time.Now().After(end):
			t.Fatalf("%s; and in no attempt the machine was without pauses, the last of %v", failure, pause)
		}
	}
}

// reloadUnderLoad returns the first failure, and the longest pause of a client or
// of the test.
func reloadUnderLoad(t *testing.T) (failure string, pause time.Duration) {
	d := openDoor(t, []*zone.Route{get("/always"), {Method: "POST", Path: "/always", Allow: zone.AllowUser}})
	other := newService(t, nil)
	maps := func(i int) *zone.Zone {
		to := d.service.address
		if i%5 == 4 { // the service moves
			to = other.address
		}
		z := testZone(to, get("/always"), &zone.Route{Method: "POST", Path: "/always", Allow: zone.AllowUser}, get(fmt.Sprintf("/changes/%d", i)))
		l := z.Listeners[0]
		l.Limits.Body += int64(i)
		if i%3 == 2 { // another server
			l.Limits.Header += int64(i)
			l.Limits.Streams -= i % 7
		}
		if i%2 == 1 { // a listener comes and goes
			z.Listeners = append(z.Listeners, &zone.Listener{Name: "second", Address: "127.0.0.1:0", Hosts: testHosts, Anonymous: true, Limits: testLimits()})
		}
		return z
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var load sync.WaitGroup
	var sent, longest atomic.Int64
	var first atomic.Pointer[string]
	step := func(last *time.Time) {
		now := time.Now()
		for gap := int64(now.Sub(*last)); ; {
			if old := longest.Load(); gap <= old || longest.CompareAndSwap(old, gap) {
				break
			}
		}
		*last = now
	}
	for i := range 8 {
		c := d.client(i%2 == 0)
		c.Transport.(*http.Transport).DisableKeepAlives = i == 7
		load.Go(func() {
			last := time.Now()
			for ctx.Err() == nil && first.Load() == nil {
				method, body := "GET", io.Reader(nil)
				if i%3 == 0 {
					method, body = "POST", io.MultiReader(strings.NewReader("order")) // it cannot be sent twice
				}
				why := always(context.WithoutCancel(ctx), c, method, body)
				step(&last)
				if why != "" {
					why = fmt.Sprintf("client %d: %s", i, why)
					first.CompareAndSwap(nil, &why)
					return
				}
				sent.Add(1)
			}
		})
	}
	last := time.Now()
	for i := 0; i < 200 && first.Load() == nil; i++ {
		d.reload(maps(i))
		for before := sent.Load(); sent.Load() < before+4 && first.Load() == nil; { // some in each
			time.Sleep(100 * time.Microsecond)
			step(&last)
		}
	}
	stop()
	load.Wait()
	if why := first.Load(); why != nil {
		return *why, time.Duration(longest.Load())
	}
	if len(other.all()) == 0 || len(d.service.all()) == 0 {
		t.Errorf("the two services got %d and %d requests: the map did not take effect", len(d.service.all()), len(other.all()))
	}
	t.Logf("%d requests", sent.Load())
	return "", 0
}

// always sends one request of TestReloadUnderLoad, and says why it failed.
func always(ctx context.Context, c *http.Client, method string, body io.Reader) string {
	req, err := http.NewRequestWithContext(ctx, method, "https://shop.example/always", body)
	if err != nil {
		return err.Error()
	}
	req.Header.Set("Authorization", "Bearer "+aliceToken)
	resp, err := c.Do(req)
	if err != nil {
		return err.Error()
	}
	text, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil || resp.StatusCode != 200 {
		return fmt.Sprintf("%d %s %v", resp.StatusCode, text, err)
	}
	return ""
}

// TestReloadListeners: a listener that is added serves, one that is removed does
// not, and neither do its connections.
func TestReloadListeners(t *testing.T) {
	d := openDoor(t, []*zone.Route{get("/a")})
	with := testZone(d.service.address, get("/a"))
	with.Listeners = append(with.Listeners, &zone.Listener{Name: "second", Address: "127.0.0.1:0", Hosts: testHosts, Anonymous: true, Limits: testLimits()})
	second := get("/b")
	second.Listener, second.Service = "second", with.Services[0]
	with.Services[0].Routes = append(with.Services[0].Routes, second)
	d.reload(with)
	at := d.gateway.Addresses()["second"]
	if at == nil {
		t.Fatal("the listener that was added has no address")
	}
	d.addrs["second"] = at.String()

	const request = "GET /b HTTP/1.1\r\nHost: shop.example\r\n\r\n"
	c := d.dialWith("second", tlsTo("shop.example"))
	ask := func() result {
		t.Helper()
		if _, err := io.WriteString(c, request); err != nil {
			t.Fatal(err)
		}
		return d.read(c, request)
	}
	if got := ask(); got.status != 200 {
		t.Fatalf("the listener that was added: %d %s", got.status, got.body)
	}
	if got := d.do(d.client(false), "GET", "/b", ""); got.status != 404 {
		t.Errorf("its route on the other listener: %d", got.status)
	}

	d.reload(testZone(d.service.address, get("/a")))
	if d.gateway.Addresses()["second"] != nil {
		t.Error("the listener that was removed is still told of")
	}
	_, _ = io.WriteString(c, request) // it may be closed already
	if raw, _ := io.ReadAll(c); strings.Contains(string(raw), "200 OK") {
		t.Errorf("a connection of the listener that was removed is served: %s", raw)
	}
	if nc, err := net.DialTimeout("tcp", at.String(), time.Second); err == nil {
		_ = nc.Close()
		t.Error("the socket of the listener that was removed takes connections")
	}
	if got := d.do(d.client(false), "GET", "/a", ""); got.status != 200 {
		t.Errorf("the listener that stayed: %d", got.status)
	}
}

// TestReloadRefused: a map that cannot be served changes nothing.
func TestReloadRefused(t *testing.T) {
	d := openDoor(t, []*zone.Route{get("/a")})
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	<-d.gateway.Serving()
	for what, bad := range map[string]func(*zone.Zone){
		"another zone":           func(z *zone.Zone) { z.Name = "other.example" },
		"no listener":            func(z *zone.Zone) { z.Listeners = nil },
		"a port that is taken":   func(z *zone.Zone) { z.Listeners[0].Address = taken.Addr().String() },
		"no file of authorities": func(z *zone.Zone) { z.Listeners[0].ClientCA = "no.pem" },
		"a limit of nothing":     func(z *zone.Zone) { z.Listeners[0].Limits.Streams = 0 },
		"routes that conflict": func(z *zone.Zone) {
			z.Services[0].Routes = append(z.Services[0].Routes, &zone.Route{Method: "GET", Path: "/a", Listener: "public", Allow: zone.AllowUser, Service: z.Services[0]})
		},
	} {
		z := testZone(d.service.address, get("/b"))
		bad(z)
		if what == "routes that conflict" {
			z.Services[0].Routes[0].Path = "/a"
		}
		before := d.gateway.now()
		if err := d.gateway.Reload(z, certificatesOf(z), nil); err == nil {
			t.Errorf("%s: it was taken", what)
		}
		if d.gateway.now() != before {
			t.Errorf("%s: other rules are in force", what)
		}
	}
	c := d.client(false)
	if a, b := d.do(c, "GET", "/a", ""), d.do(c, "GET", "/b", ""); a.status != 200 || b.status != 404 {
		t.Errorf("after refusals: /a %d and /b %d, want 200 and 404", a.status, b.status)
	}
	d.reload(testZone(d.service.address, get("/b"))) // positive control
	if a, b := d.do(c, "GET", "/a", ""), d.do(c, "GET", "/b", ""); a.status != 404 || b.status != 200 {
		t.Errorf("after a reload: /a %d and /b %d, want 404 and 200", a.status, b.status)
	}
	d.stop()
	<-d.stopped
	if err := d.gateway.Reload(testZone(d.service.address, get("/a")), nil, nil); !errors.Is(err, errNotServing) {
		t.Errorf("a gateway that has stopped: %v", err)
	}
}

// TestReloadPools: the connections to a service that the map leaves as it was are
// used further, those to one that moved are closed when the last request is done.
func TestReloadPools(t *testing.T) {
	d := openDoor(t, []*zone.Route{get("/a")})
	first := d.gateway.now().pools["shop"]
	d.reload(testZone(d.service.address, get("/a"), get("/b")))
	if d.gateway.now().pools["shop"] != first {
		t.Error("a pool that the map left alone was replaced")
	}
	release, held := make(chan struct{}), make(chan struct{})
	other := newService(t, func(w http.ResponseWriter, _ *http.Request) {
		close(held)
		<-release
	})
	moved := testZone(other.address, get("/a"))
	d.reload(moved)
	second := d.gateway.now().pools["shop"]
	if second == first {
		t.Fatal("the pool of a service that moved was kept")
	}
	users := func(p *pool) int {
		d.gateway.pooling.Lock()
		defer d.gateway.pooling.Unlock()
		return p.users
	}
	if n := users(first); n != 0 {
		t.Errorf("the pool that nobody uses has %d users", n)
	}
	answer := make(chan result, 1)
	go func() { answer <- d.do(d.client(false), "GET", "/a", "") }()
	<-held
	d.reload(testZone(d.service.address, get("/a")))
	if n := users(second); n != 1 {
		t.Errorf("the pool of a request under way has %d users", n)
	}
	close(release)
	if got := <-answer; got.status != 200 {
		t.Errorf("the request under way: %d %s", got.status, got.body)
	}
	eventually(t, "the pool of a request that is done is let go", func() bool { return users(second) == 0 })
}

// TestReloadClientCA: a connection made under other authorities is not one of
// this listener's clients any more.
func TestReloadClientCA(t *testing.T) {
	d := openDoor(t, []*zone.Route{get("/a")})
	c := d.dial("shop.example", "http/1.1")
	const request = "GET /a HTTP/1.1\r\nHost: shop.example\r\n\r\n"
	_, _ = io.WriteString(c, request)
	if got := d.read(c, request); got.status != 200 {
		t.Fatalf("before: %d", got.status)
	}
	z := testZone(d.service.address, get("/a"))
	z.Listeners[0].ClientCA = filepath.Join(t.TempDir(), "partners.pem")
	if err := os.WriteFile(z.Listeners[0].ClientCA, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: theCA().cert.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	d.reload(z)
	_, _ = io.WriteString(c, request)
	d.refused("a connection from before", d.read(c, request), problem.ListenerCertificate)
	own := d.dialWith("public", &tls.Config{ServerName: "shop.example", NextProtos: []string{"http/1.1"}, Certificates: []tls.Certificate{*theCA().issue("partner one")}})
	_, _ = io.WriteString(own, request)
	if got := d.read(own, request); got.status != 200 {
		t.Errorf("a connection with a certificate: %d %s", got.status, got.body)
	}
}
