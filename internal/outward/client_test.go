package outward

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestClassOf(t *testing.T) {
	for text, want := range map[string]class{
		"127.0.0.1": loopback, "127.9.9.9": loopback, "::1": loopback, "::ffff:127.0.0.1": loopback,
		"10.1.2.3": private, "172.16.0.1": private, "192.168.0.1": private, "100.64.0.1": private, "fd00::1": private, "::ffff:10.0.0.1": private,
		"0.0.0.0": special, "::": special, "169.254.169.254": special, "fe80::1": special, "224.0.0.1": special, "ff02::1": special,
		"192.0.0.8": special, "198.18.0.1": special, "240.0.0.1": special, "255.255.255.255": special, "192.0.2.1": special,
		"64:ff9b::a9fe:a9fe": special, "2002:a00::1": special, "2001::1": special, "2001:db8::1": special, "::7f00:1": special, "fec0::1": special,
		"8.8.8.8": public, "140.82.121.3": public, "172.32.0.1": public, "2606:4700::1111": public, "2a00:1450::1": public,
	} {
		if got := classOf(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: got %d, want %d", text, got, want)
		}
	}
	if got := classOf(netip.Addr{}); got != special {
		t.Errorf("no address: %d", got)
	}
}

// TestAllowed: what a provider says chooses no host inside, unless the map named one
// there; and what was judged is what is dialled.
func TestAllowed(t *testing.T) {
	hosts := map[string]string{
		"sso.example": "93.184.216.34", "keys.example": "151.101.1.1", "rebound.example": "127.0.0.1", "inside.example": "10.0.0.7",
		"both.example": "10.0.0.7 151.101.1.1", "cloud.example": "169.254.169.254", "sso.corp.example": "10.0.0.5", "local.example": "127.0.0.1",
	}
	resolve := func(_ context.Context, host string) ([]netip.Addr, error) {
		var list []netip.Addr
		for a := range strings.FieldsSeq(hosts[host]) {
			list = append(list, netip.MustParseAddr(a))
		}
		if list == nil {
			return nil, errors.New("no such host")
		}
		return list, nil
	}
	for _, k := range []struct{ issuer, host, want string }{
		{"https://sso.example", "sso.example", "93.184.216.34"},
		{"https://sso.example", "keys.example", "151.101.1.1"},
		{"https://sso.example", "rebound.example", ""},
		{"https://sso.example", "inside.example", ""},
		{"https://sso.example", "both.example", "151.101.1.1"},
		{"https://sso.example", "cloud.example", ""},
		{"https://sso.example", "127.0.0.1", ""},
		{"https://sso.example", "::1", ""},
		{"https://sso.example", "nowhere.example", ""},
		{"https://sso.corp.example", "sso.corp.example", "10.0.0.5"},
		{"https://sso.corp.example", "inside.example", "10.0.0.7"},
		{"https://sso.corp.example", "keys.example", "151.101.1.1"},
		{"https://sso.corp.example", "local.example", ""},
		{"https://sso.corp.example", "169.254.169.254", ""},
		{"https://cloud.example", "cloud.example", ""},
		{"https://cloud.example", "169.254.169.254", ""},
		{"http://127.0.0.1:8180", "127.0.0.1", "127.0.0.1"},
		{"http://127.0.0.1:8180", "local.example", "127.0.0.1"},
		{"http://127.0.0.1:8180", "inside.example", ""},
	} {
		e, err := NewClient(k.issuer, Options{Resolve: resolve, Timeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		dialled := ""
		stop := errors.New("far enough")
		e.dial = func(_ context.Context, _, address string) (net.Conn, error) {
			dialled, _, _ = net.SplitHostPort(address)
			return nil, stop
		}
		_, err = e.dialContext(t.Context(), "tcp", net.JoinHostPort(k.host, "443"))
		if dialled != k.want || (k.want == "") == errors.Is(err, stop) {
			t.Errorf("%s: %s: dialled %q (%v), want %q", k.issuer, k.host, dialled, err, k.want)
		}
	}
}

func TestClient(t *testing.T) {
	elsewhere := 0
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere++ }))
	defer other.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("/good", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("User-Agent") != "sallyport" || r.Header.Get("Accept-Encoding") != "" {
			t.Errorf("headers %v", r.Header)
		}
		_, _ = w.Write([]byte(strings.Repeat("a", MaxBody)))
	})
	mux.HandleFunc("/long", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(strings.Repeat("a", MaxBody+1))) })
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) })
	mux.HandleFunc("/here", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/good", http.StatusFound) })
	server := httptest.NewServer(mux)
	defer server.Close()
	t.Setenv("HTTP_PROXY", other.URL)
	t.Setenv("http_proxy", other.URL)
	e, err := NewClient(server.URL, Options{Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	for path, fine := range map[string]bool{"/good": true, "/long": false, "/away": false, "/here": false, "/none": false} {
		if _, _, err := e.Get(t.Context(), server.URL+path); (err == nil) != fine {
			t.Errorf("%s: %v", path, err)
		}
	}
	if elsewhere != 0 {
		t.Errorf("another host was asked %d times", elsewhere)
	}
	for _, place := range []string{"http://sso.example/", "ftp://127.0.0.1/", "//127.0.0.1/", "https://u:p@sso.example/", "https://", "https://sso.example/#a", ":", ""} {
		if e.secure(place) == nil {
			t.Errorf("%q is secure", place)
		}
	}
	strict, err := NewClient("https://127.0.0.1", Options{Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if strict.secure("http://127.0.0.1/") == nil || strict.secure("https://127.0.0.1/") != nil {
		t.Error("an issuer over https was led to http, or not to https")
	}
	if _, _, err := strict.Get(t.Context(), server.URL+"/good"); err == nil {
		t.Error("plain http from an issuer over https")
	}
}

// TestRoots: a file of roots has certificates and nothing else, and a reload does not
// wait for whoever may write into a pipe.
func TestRoots(t *testing.T) {
	for text, fine := range map[string]bool{"": false, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n": false, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n": false} {
		if _, err := parseRoots([]byte(text)); (err == nil) != fine {
			t.Errorf("%q: %v", text, err)
		}
	}
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := NewClient("https://sso.example", Options{CA: path, Timeout: time.Minute}); err == nil || !strings.Contains(err.Error(), "read ca") {
		t.Errorf("roots of a pipe: %v, want an error", err)
	}
}
