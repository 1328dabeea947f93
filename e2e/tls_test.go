package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

const doorsMap = `
zone: shop.example
journal: {size: 64MiB}
listeners:
  public: {address: "@public@", hosts: [shop.example, api.shop.example, localhost], limits: {header_time: 1min}}
  partner: {address: "@partner@", hosts: [partners.shop.example], client_ca: partners.pem, limits: {header_time: 1min}}
  plainpartner: {address: "@plainpartner@", hosts: [partners.shop.example, 127.0.0.1], limits: {header_time: 1min}}
  admin: {address: "@admin@"}
services:
  plain:
    upstream: http://@plain@
    routes:
      GET /open: anonymous
      GET /both: anonymous
      POST /callback: {allow: anonymous, listener: partner}
      GET /other: {allow: anonymous, listener: plainpartner}
      PUT /both: {allow: anonymous, listener: plainpartner}
      GET /wide/{rest...}: anonymous
      GET /wide/partner: {allow: anonymous, listener: plainpartner}
      GET /wide/{id}/edit: {allow: anonymous, listener: plainpartner}
      GET /wide/inside: service
      GET /wide/locked: {allow: user, once: true}
`

func startDoors(t *testing.T) (*zoned, *upstream, ca) {
	t.Helper()
	up, partners := startUpstream(t, nil), newCA(t, "partners")
	z := newZone(t, doorsMap, map[string]string{"plain": up.address})
	z.write("partners.pem", partners.pem)
	z.start()
	return z, up, partners
}

// TestHostAndServerName: a Host that is not the listener's is 421, and so is one
// that is not the name of the handshake.
func TestHostAndServerName(t *testing.T) {
	t.Parallel()
	z, up, _ := startDoors(t)
	for _, s := range []struct {
		listener, sni, host string
		status              int
		reason              string
	}{
		{"public", "localhost", "localhost", 200, ""},
		{"public", "localhost", "LOCALHOST:8443", 200, ""},
		{"public", "shop.example", "shop.example", 200, ""},
		{"public", "shop.example", "api.shop.example", 421, "listener.sni"},
		{"public", "api.shop.example", "shop.example", 421, "listener.sni"},
		{"public", "shop.example", "evil.example", 421, "listener.host"},
		{"public", "shop.example", "partners.shop.example", 421, "listener.host"},
		{"public", "localhost", "127.0.0.1", 421, "listener.host"}, // not among its hosts
		{"public", "", "localhost", 421, "listener.sni"},           // no address is among its hosts
		{"plainpartner", "", "127.0.0.1", 404, "route.unknown"},
		{"plainpartner", "partners.shop.example", "partners.shop.example", 404, "route.unknown"},
		{"plainpartner", "localhost", "partners.shop.example", 421, "listener.sni"},
		{"plainpartner", "partners.shop.example", "localhost", 421, "listener.host"},
	} {
		name := fmt.Sprintf("%s: server name %q, Host %q", s.listener, s.sni, s.host)
		c, err := z.dialTLS(s.listener, func(cfg *tls.Config) {
			cfg.ServerName = s.sni
			if s.sni == "" {
				cfg.InsecureSkipVerify = true //nolint:gosec // without a name there is nothing to verify
			}
		})
		if err != nil {
			if s.status != 421 { // it may be refused in the handshake already
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		id := newID()
		if _, err := io.WriteString(c, "GET /open HTTP/1.1\r\nHost: "+s.host+"\r\nX-Correlation-Id: "+id+"\r\nConnection: close\r\n\r\n"); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		answers, _ := readAnswers(t, c, 0)
		if len(answers) == 0 && s.status == 421 && s.sni == "" {
			continue // likewise
		}
		if len(answers) != 1 || answers[0].Status != s.status || !strings.Contains(answers[0].Body, s.reason) {
			t.Errorf("%s: %v, want %d %s", name, answers, s.status, s.reason)
		}
		want := s.reason
		if want == "" {
			want = "ok"
		}
		if rs := z.of(id); len(rs) != 1 || rs[0].Reason != want || (len(up.of(id)) == 1) != (s.status == 200) {
			t.Errorf("%s: records %+v, the service was asked %d times", name, rs, len(up.of(id)))
		}
	}
}

// TestListenersAreApart: a route exists on its own listener only; a method of
// another listener is no method of this one.
func TestListenersAreApart(t *testing.T) {
	t.Parallel()
	z, up, partners := startDoors(t)
	partner := z.client(func(tr *http.Transport) {
		tr.TLSClientConfig.Certificates = []tls.Certificate{partners.client(t, time.Now().Add(time.Hour), x509.ExtKeyUsageClientAuth)}
	})
	for _, s := range []struct {
		listener, host, method, path string
		status                       int
		allow                        string
	}{
		{"public", "localhost", "GET", "/open", 200, ""},
		{"public", "localhost", "GET", "/other", 404, ""},
		{"public", "localhost", "POST", "/callback", 404, ""},
		{"public", "localhost", "GET", "/callback", 404, ""},
		{"public", "localhost", "PUT", "/both", 405, "GET, HEAD"},
		// The service takes the most specific of all its routes: a wide route here
		// must not open a narrower one of another door.
		{"public", "localhost", "GET", "/wide/x", 200, ""},
		{"public", "localhost", "GET", "/wide/partner", 404, ""},
		{"public", "localhost", "GET", "/wide/7/edit", 404, ""},
		{"public", "localhost", "GET", "/wide/inside", 404, ""},
		{"public", "localhost", "HEAD", "/wide/inside", 404, ""},
		{"public", "localhost", "GET", "/wide/locked", 503, ""},
		{"plainpartner", "127.0.0.1", "GET", "/wide/partner", 200, ""},
		{"plainpartner", "127.0.0.1", "GET", "/wide/7/edit", 200, ""},
		{"plainpartner", "127.0.0.1", "GET", "/wide/x", 404, ""},
		{"plainpartner", "127.0.0.1", "GET", "/other", 200, ""},
		{"plainpartner", "127.0.0.1", "GET", "/open", 404, ""},
		{"plainpartner", "127.0.0.1", "GET", "/both", 405, "PUT"},
		{"plainpartner", "127.0.0.1", "POST", "/auth/login", 404, ""},
		{"partner", "partners.shop.example", "POST", "/callback", 200, ""},
		{"partner", "partners.shop.example", "GET", "/open", 404, ""},
		{"partner", "partners.shop.example", "GET", "/auth/me", 404, ""},
	} {
		got := z.do(call{listener: s.listener, host: s.host, method: s.method, path: s.path, client: partner})
		if got.Status != s.status || got.Header.Get("Allow") != s.allow {
			t.Errorf("%s %s on %s: %d with Allow %q, want %d with %q", s.method, s.path, s.listener, got.Status, got.Header.Get("Allow"), s.status, s.allow)
		}
		if asked := len(up.of(got.ID)); (asked == 1) != (s.status == 200) {
			t.Errorf("%s %s on %s: %d, the service was asked %d times", s.method, s.path, s.listener, got.Status, asked)
		}
	}
}

// TestWeakTLSIsRefused: TLS 1.3, and 1.2 with forward secrecy and AEAD; nothing else.
func TestWeakTLSIsRefused(t *testing.T) {
	t.Parallel()
	z, _, _ := startDoors(t)
	for _, s := range []struct {
		name     string
		min, max uint16
		suites   []uint16
		curves   []tls.CurveID
		ok       bool
	}{
		{"TLS 1.3", tls.VersionTLS13, tls.VersionTLS13, nil, nil, true},
		{"TLS 1.2", tls.VersionTLS12, tls.VersionTLS12, nil, nil, true},
		{"TLS 1.2 AES-GCM", tls.VersionTLS12, tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}, nil, true},
		{"TLS 1.2 ChaCha20", tls.VersionTLS12, tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256}, nil, true},
		{"TLS 1.1", tls.VersionTLS11, tls.VersionTLS11, nil, nil, false},
		{"TLS 1.0", tls.VersionTLS10, tls.VersionTLS10, nil, nil, false},
		{"TLS 1.0 to 1.1", tls.VersionTLS10, tls.VersionTLS11, nil, nil, false},
		{"TLS 1.2 CBC", tls.VersionTLS12, tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256}, nil, false},
		{"TLS 1.2 without forward secrecy", tls.VersionTLS12, tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_256_CBC_SHA}, nil, false},
		{"TLS 1.2 3DES", tls.VersionTLS12, tls.VersionTLS12, []uint16{tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA, tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA}, nil, false},
		{"TLS 1.2 RC4", tls.VersionTLS12, tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_RC4_128_SHA, tls.TLS_RSA_WITH_RC4_128_SHA}, nil, false},
	} {
		for _, listener := range []string{"public", "plainpartner"} {
			c, err := z.dialTLS(listener, func(cfg *tls.Config) {
				cfg.MinVersion, cfg.MaxVersion, cfg.CipherSuites, cfg.CurvePreferences = s.min, s.max, s.suites, s.curves //nolint:gosec // that is the test
			})
			if (err == nil) != s.ok {
				t.Errorf("%s on %s: %v, want accepted: %v", s.name, listener, err, s.ok)
			}
			if err == nil {
				_ = c.Close()
			}
		}
	}
	if _, err := z.dialTLS("public", func(cfg *tls.Config) { cfg.NextProtos = []string{"h3", "spdy/3"} }); err == nil {
		t.Error("a client of unknown protocols alone was let in")
	}
}
