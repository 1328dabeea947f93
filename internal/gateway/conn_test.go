package gateway

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

func TestTLSVersionsAndSuites(t *testing.T) {
	d := everyMethod(t)
	for _, c := range []struct {
		what string
		tls  *tls.Config
		ok   bool
	}{
		{"1.3", &tls.Config{MinVersion: tls.VersionTLS13}, true},
		{"1.2", &tls.Config{MaxVersion: tls.VersionTLS12}, true},
		{"1.2 with ChaCha20", &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256}}, true},
		{"1.2 with CBC", &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA}}, false},
		{"1.2 without forward secrecy", &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}}, false},
		{"1.1", &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, false},
		{"1.0", &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}, false},
		{"a protocol nobody speaks", &tls.Config{NextProtos: []string{"spdy/3"}}, false},
	} {
		c.tls.RootCAs, c.tls.ServerName = theCA().pool, "shop.example"
		nc, err := tls.Dial("tcp", d.addrs["public"], c.tls)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v, want accepted %v", c.what, err, c.ok)
		}
		if err == nil {
			_ = nc.Close()
		}
	}
	for _, c := range []struct{ offered, want string }{{"h2", "h2"}, {"http/1.1", "http/1.1"}, {"", ""}} {
		var alpn []string
		if c.offered != "" {
			alpn = []string{c.offered}
		}
		if got := d.dial("shop.example", alpn...).ConnectionState().NegotiatedProtocol; got != c.want {
			t.Errorf("offered %q: got %q", c.offered, got)
		}
	}
}

func TestPlainHTTPIsNotServed(t *testing.T) {
	d := everyMethod(t)
	for _, hello := range []string{"GET /a HTTP/1.1\r\nHost: shop.example\r\n\r\n", http2.ClientPreface} {
		nc, err := net.Dial("tcp", d.addrs["public"])
		if err != nil {
			t.Fatal(err)
		}
		_ = nc.SetDeadline(time.Now().Add(tooLong))
		_, _ = io.WriteString(nc, hello)
		got, _ := io.ReadAll(nc)
		if bytes.Contains(got, []byte("200")) || bytes.Contains(got, []byte("served")) {
			t.Errorf("%.10q: got %q", hello, got)
		}
		_ = nc.Close()
	}
	if n := len(d.service.all()); n != 0 {
		t.Errorf("the service received %d requests", n)
	}
}

// partnerDoor has a second listener that wants a certificate of theCA.
func partnerDoor(t *testing.T) *door {
	t.Helper()
	file := filepath.Join(t.TempDir(), "partners.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: theCA().cert.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	partner := &zone.Route{Method: "GET", Path: "/a", Allow: zone.AllowAnonymous, Listener: "partner"}
	return openDoor(t, []*zone.Route{anything("GET"), partner}, func(c *Config) {
		c.Zone.Listeners = append(c.Zone.Listeners, &zone.Listener{Name: "partner", Address: "127.0.0.1:0", Hosts: testHosts, ClientCA: file, Limits: testLimits()})
	})
}

func TestClientCertificate(t *testing.T) {
	d := partnerDoor(t)
	stranger := (&testCA{}).issue("stranger") // signed by itself
	known := theCA().issue("partner one")
	const request = "GET /a HTTP/1.1\r\nHost: shop.example\r\n\r\n"
	try := func(cert *tls.Certificate) (int, error) {
		c := &tls.Config{RootCAs: theCA().pool, ServerName: "shop.example", NextProtos: []string{"http/1.1"}}
		if cert != nil {
			c.Certificates = []tls.Certificate{*cert}
		}
		nc, err := tls.Dial("tcp", d.addrs["partner"], c)
		if err != nil {
			return 0, err
		}
		defer nc.Close()
		_ = nc.SetDeadline(time.Now().Add(tooLong))
		_, _ = io.WriteString(nc, request)
		status, _, err := oneAnswer(nc) // TLS 1.3: the refusal comes after the client's handshake is done
		return status, err
	}
	if status, err := try(known); status != 200 {
		t.Errorf("positive control: got %d %v", status, err)
	}
	sum := sha256.Sum256(known.Certificate[0])
	if rec := d.last(); len(rec.Tags) != 1 || rec.Tags[0] != "client_cert:"+hex.EncodeToString(sum[:]) || rec.Principal != "anonymous" {
		t.Errorf("record %+v: want the certificate as a tag and as nothing else", rec)
	}
	for what, cert := range map[string]*tls.Certificate{"none": nil, "a stranger's": stranger} {
		if status, err := try(cert); err == nil {
			t.Errorf("%s: got %d", what, status)
		}
	}
	if n := len(d.service.all()); n != 1 {
		t.Errorf("the service received %d requests, want 1", n)
	}
}

// TestNoResumptionWithClientCertificates: a resumed session would carry the
// verdict of an earlier handshake.
func TestNoResumptionWithClientCertificates(t *testing.T) {
	d := partnerDoor(t)
	for listener, want := range map[string]bool{"public": true, "partner": false} {
		c := tlsTo("shop.example")
		c.Certificates = []tls.Certificate{*theCA().issue("partner one")}
		c.ClientSessionCache = tls.NewLRUClientSessionCache(4)
		for i := range 2 {
			nc := d.dialWith(listener, c.Clone())
			request := "GET /a HTTP/1.1\r\nHost: shop.example\r\n\r\n" // tickets come with the first bytes
			_, _ = io.WriteString(nc, request)
			d.read(nc, request)
			if got := nc.ConnectionState().DidResume; i == 1 && got != want {
				t.Errorf("%s: resumed %v, want %v", listener, got, want)
			}
			_ = nc.Close()
		}
	}
}

// TestCertificateOverOnALiveConnection: a connection may outlive its certificate.
func TestCertificateOverOnALiveConnection(t *testing.T) {
	d := partnerDoor(t)
	g := d.gateway
	cert := theCA().issue("partner one").Leaf
	for _, c := range []struct {
		what  string
		state tls.ConnectionState
		after time.Duration
		want  problem.Reason
	}{
		{"good", chain(cert.Raw, true), 0, problem.OK},
		{"over", chain(cert.Raw, true), 48 * time.Hour, problem.ListenerCertificate},
		{"not verified", chain(cert.Raw, false), 0, problem.ListenerCertificate},
		{"none", tls.ConnectionState{}, 0, problem.ListenerCertificate},
	} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", "/a", nil)
		r.TLS = &c.state
		tr := &trip{r: r, listener: g.now().listeners[1], out: writer{inner: w}}
		clock := g.clock
		g.clock = func() time.Time { return time.Now().Add(c.after) }
		got := acceptStage(g, tr)
		g.clock = clock
		if got != c.want || (got != problem.OK) != (w.Header().Get("Connection") == "close") {
			t.Errorf("%s: got %s, Connection %q; want %s", c.what, got, w.Header().Get("Connection"), c.want)
		}
	}
	tr := &trip{r: httptest.NewRequest("GET", "/a", nil), listener: g.now().listeners[0]}
	if got := acceptStage(g, tr); got != problem.RequestTarget {
		t.Errorf("without a TLS state: got %s", got)
	}
}

func TestConnectionCap(t *testing.T) {
	d := openDoor(t, []*zone.Route{anything("GET")}, func(c *Config) { c.Zone.Listeners[0].Limits.Connections = 2 })
	first, _ := d.dial("shop.example"), d.dial("shop.example")
	if _, err := tls.Dial("tcp", d.addrs["public"], tlsTo("shop.example")); err == nil {
		t.Error("a third connection was served")
	}
	if !d.metric("sallyport_requests_total reason=listener.busy route= service= 1") {
		t.Error("the refusal is not in the metric")
	}
	_ = first.Close()
	c := &tls.Config{ServerName: "shop.example", RootCAs: theCA().pool}
	eventually(t, "there is room again", func() bool {
		nc, err := tls.Dial("tcp", d.addrs["public"], c)
		if err == nil {
			_ = nc.Close()
		}
		return err == nil
	})
}

// TestConnectionsOfOneAddress: one address does not take all places, and what it
// has given back is free again. Behind a trusted proxy are many.
func TestConnectionsOfOneAddress(t *testing.T) {
	for _, c := range []struct {
		what     string
		loopback bool // is bounded as any address
		trusted  string
		served   int
	}{
		{"an address", true, "", 8},
		{"this host", false, "", 16},
		{"a trusted proxy", true, "127.0.0.0/8", 16},
	} {
		d := openDoor(t, []*zone.Route{anything("GET")}, func(cfg *Config) {
			cfg.Zone.Listeners[0].Limits.Connections = 16
			cfg.Addresses = AddressBounds{Connections: zone.Rate{Count: 1000, Window: time.Second}, Loopback: c.loopback}
			if c.trusted != "" {
				cfg.Zone.Listeners[0].TrustedProxies = []netip.Prefix{netip.MustParsePrefix(c.trusted)}
			}
		})
		for round := range 2 {
			var open []io.Closer
			for range 20 {
				if nc, err := tls.Dial("tcp", d.addrs["public"], &tls.Config{ServerName: "shop.example", RootCAs: theCA().pool}); err == nil {
					open = append(open, nc)
				}
			}
			if len(open) != c.served {
				t.Errorf("%s, round %d: %d of 20 connections were served, want %d", c.what, round, len(open), c.served)
			}
			for _, nc := range open {
				_ = nc.Close()
			}
			eventually(t, "all places are free", func() bool {
				d.gateway.now().listeners[0].places.mu.Lock()
				defer d.gateway.now().listeners[0].places.mu.Unlock()
				return d.gateway.now().listeners[0].places.used == 0 && len(d.gateway.now().listeners[0].places.holders) == 0
			})
		}
	}
}

func TestNewConnectionsPerAddress(t *testing.T) {
	for _, c := range []struct {
		what   string
		bounds AddressBounds
		served int
	}{
		{"bounded", AddressBounds{Connections: zone.Rate{Count: 3, Window: time.Hour}, Loopback: true}, 3},
		{"loopback is not, unless it is said", AddressBounds{Connections: zone.Rate{Count: 3, Window: time.Hour}}, 6},
	} {
		d := openDoor(t, []*zone.Route{anything("GET")}, func(cfg *Config) { cfg.Addresses = c.bounds })
		served := 0
		for range 6 {
			nc, err := tls.Dial("tcp", d.addrs["public"], &tls.Config{ServerName: "shop.example", RootCAs: theCA().pool})
			if err == nil {
				served++
				_ = nc.Close()
			}
		}
		if served != c.served {
			t.Errorf("%s: %d of 6 connections were served, want %d", c.what, served, c.served)
		}
		if n := 6 - c.served; n > 0 && !d.metric(fmt.Sprintf("sallyport_requests_total reason=limit.address route= service= %d", n)) {
			t.Errorf("%s: the refusals are not in the metric", c.what)
		}
	}
}

// TestRapidReset opens streams only to take them back (CVE-2023-44487).
func TestRapidReset(t *testing.T) {
	d := openDoor(t, []*zone.Route{anything("GET")})
	conn := d.dial("shop.example", "h2")
	_, _ = io.WriteString(conn, http2.ClientPreface)
	fr := http2.NewFramer(conn, conn)
	_ = fr.WriteSettings()
	_ = fr.WriteSettingsAck()
	var buf bytes.Buffer
	enc := hpack.NewEncoder(&buf)
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		_, _ = io.Copy(io.Discard, conn)
	}()
	var err error
	sent := uint32(0)
	for id := uint32(1); err == nil; id += 2 { // the sockets between hold many, so their number is no bound
		buf.Reset()
		for _, h := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "shop.example"}, {":path", "/a"}} {
			_ = enc.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]})
		}
		if err = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: buf.Bytes(), EndStream: true, EndHeaders: true}); err == nil {
			err = fr.WriteRSTStream(id, http2.ErrCodeCancel)
		}
		sent++
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%d streams were opened and reset on one connection", sent)
	}
	<-closed
	if got := d.do(d.client(true), "GET", "/a", ""); got.status != 200 {
		t.Errorf("another client: got %d", got.status)
	}
}

// TestHTTP2Bounds reads what the door announces, and sends more than that.
func TestHTTP2Bounds(t *testing.T) {
	d := openDoor(t, []*zone.Route{anything("GET")}, func(c *Config) {
		c.Zone.Listeners[0].Limits.Streams, c.Zone.Listeners[0].Limits.Header = 7, 8<<10
	})
	conn := d.dial("shop.example", "h2")
	_, _ = io.WriteString(conn, http2.ClientPreface)
	fr := http2.NewFramer(conn, conn)
	_ = fr.WriteSettings()
	got := map[http2.SettingID]uint32{}
	for len(got) == 0 {
		f, err := fr.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if s, ok := f.(*http2.SettingsFrame); ok && !s.IsAck() {
			_ = s.ForeachSetting(func(s http2.Setting) error { got[s.ID] = s.Val; return nil })
		}
	}
	if n := got[http2.SettingMaxConcurrentStreams]; n != 7 {
		t.Errorf("streams at once: %d, want 7", n)
	}
	if n := got[http2.SettingMaxHeaderListSize]; n < 8<<10 || n > 12<<10 {
		t.Errorf("header list: %d, want little more than 8 KiB", n)
	}
	if n := got[http2.SettingMaxFrameSize]; n != 0 && n > 16<<10 {
		t.Errorf("frame: %d", n)
	}
	pair := []string{":method", "GET", ":scheme", "https", ":authority", "shop.example", ":path", "/a"}
	if got := d.http2Head(pair); got != "200" {
		t.Errorf("positive control: got %s", got)
	}
	for i := range 100 { // 16 KiB in small fields: what matters is what they take in memory
		pair = append(pair, fmt.Sprintf("x-%d", i), strings.Repeat("a", 100))
	}
	if got := d.http2Head(pair); got != "431" && got != "RESET" {
		t.Errorf("a flood of fields: got %s", got)
	}
	if n := len(d.service.all()); n != 1 {
		t.Errorf("the service received %d requests", n)
	}
}

func TestResetsAmongRequests(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	g := idleGateway(t)
	door := newDoorway(g, g.now().listeners[0], nil)
	places := door.current.Load().places
	c := &conn{Conn: near, door: door, places: places}
	if !places.take(c.holder, 1) {
		t.Fatal("no place")
	}
	for i := range 10 * resetsFree { // a third of the requests is taken back: a browser that is being scrolled
		c.serving()
		c.ended(i%3 == 0)
	}
	if places.used != 1 {
		t.Fatal("a client that takes back every third request was cut off")
	}
	for range 10 * resetsFree {
		c.serving()
		c.ended(true)
	}
	if places.used != 0 {
		t.Error("a client that takes back nearly every request was not cut off")
	}
}

func idleGateway(t *testing.T) *Gateway {
	t.Helper()
	d := &door{t: t}
	g, err := New(testConfig(d, testZone("127.0.0.1:1")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	return g
}

func chain(raw []byte, verified bool) tls.ConnectionState {
	cert, err := x509.ParseCertificates(raw)
	if err != nil {
		panic(err)
	}
	s := tls.ConnectionState{PeerCertificates: cert}
	if verified {
		s.VerifiedChains = append(s.VerifiedChains, cert)
	}
	return s
}
