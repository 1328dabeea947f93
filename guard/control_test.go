package guard

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// newTLSControl serves c over TLS and returns the server and the PEM of its root.
func newTLSControl(t *testing.T, c *fakeControl, version uint16) (*httptest.Server, []byte) {
	t.Helper()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		res, err := c.RoundTrip(r)
		if err != nil {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		_, _ = io.Copy(w, res.Body)
	}))
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	srv.TLS = &tls.Config{MaxVersion: version}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
}

func TestControlOverTLS(t *testing.T) {
	key := newTestKey(t, "k1")
	c := &fakeControl{slice: testSlice(t, "/a"), keys: jwks(t, key)}
	srv, root := newTLSControl(t, c, tls.VersionTLS13)
	old, oldRoot := newTLSControl(t, c, tls.VersionTLS12)
	foreign := foreignRoot(t)
	dir := t.TempDir()
	file := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, tt := range []struct {
		name, url, ca, want string
	}{
		{"pinned", srv.URL, file("ca.pem", root), ""},
		{"foreign root", srv.URL, file("foreign.pem", foreign), "certificate"},
		{"TLS 1.2", old.URL, file("old.pem", oldRoot), "protocol version"},
		{"no CA yet", srv.URL, filepath.Join(dir, "none.pem"), "no such file"},
		{"no certificate in the CA", srv.URL, file("empty.pem", []byte("-----BEGIN")), "holds no certificate"},
		{"CA too large", srv.URL, file("large.pem", make([]byte, maxCA+1)), "larger than"},
	} {
		cfg, err := Config{Service: "orders", Control: tt.url, CA: tt.ca}.resolve()
		if err != nil {
			t.Fatal(err)
		}
		ctl := newControl(cfg)
		slice, keys, err := ctl.fetch(t.Context())
		ctl.close()
		if tt.want == "" && (err != nil || string(slice) != string(c.slice) || string(keys) != string(c.keys)) {
			t.Errorf("%s: %d and %d bytes, %v", tt.name, len(slice), len(keys), err)
		}
		if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: error %v, want %q in it", tt.name, err, tt.want)
		}
	}
}

// foreignRoot returns the PEM of a root that signed nothing here.
func foreignRoot(t *testing.T) []byte {
	t.Helper()
	key := newTestKey(t, "foreign").key
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// TestCAChanges: a CA file that comes late, and one that is replaced, are taken up.
func TestCAChanges(t *testing.T) {
	key := newTestKey(t, "k1")
	c := &fakeControl{slice: testSlice(t, "/a"), keys: jwks(t, key)}
	srv, root := newTLSControl(t, c, tls.VersionTLS13)
	foreign := foreignRoot(t)
	path := filepath.Join(t.TempDir(), "ca.pem")
	cfg, err := Config{Service: "orders", Control: srv.URL, CA: path}.resolve()
	if err != nil {
		t.Fatal(err)
	}
	ctl := newControl(cfg)
	defer ctl.close()
	for _, tt := range []struct {
		name string
		pem  []byte // nil: no file
		ok   bool
	}{
		{"no file", nil, false}, {"the root", root, true}, {"half written", root[:20], true}, {"file gone", nil, true},
		{"another root", foreign, false}, {"both", append(append([]byte{}, foreign...), root...), true},
	} {
		_ = os.Remove(path)
		if tt.pem != nil {
			if err := os.WriteFile(path, tt.pem, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := ctl.fetch(t.Context()); (err == nil) != tt.ok {
			t.Errorf("%s: %v, want success %v", tt.name, err, tt.ok)
		}
	}
}

func TestControlAnswersBadly(t *testing.T) {
	status := http.StatusOK
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
	}))
	defer srv.Close()
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := Config{Service: "orders", Control: srv.URL, CA: path}.resolve()
	if err != nil {
		t.Fatal(err)
	}
	ctl := newControl(cfg)
	defer ctl.close()
	for _, status = range []int{200, 204, 302, 404, 503} {
		if _, _, err := ctl.fetch(t.Context()); (err == nil) != (status == 200) {
			t.Errorf("status %d: %v", status, err)
		}
	}
}

// TestControlDoesNotRedirect: not even where the program brought a client that
// follows.
func TestControlDoesNotRedirect(t *testing.T) {
	redirects := false
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if redirects && r.URL.Path != "/elsewhere" {
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		}
	}))
	defer srv.Close()
	client := srv.Client()
	cfg, err := Config{Service: "orders", Control: srv.URL, HTTPClient: client}.resolve()
	if err != nil {
		t.Fatal(err)
	}
	ctl := newControl(cfg)
	defer ctl.close()
	for _, redirects = range []bool{false, true} {
		if _, _, err := ctl.fetch(t.Context()); (err == nil) == redirects {
			t.Errorf("redirects %v: %v", redirects, err)
		}
	}
	if client.CheckRedirect != nil {
		t.Error("the program's client was changed")
	}
}

func TestConfig(t *testing.T) {
	env := func(service, control, ca string) {
		t.Setenv(EnvService, service)
		t.Setenv(EnvControl, control)
		t.Setenv(EnvCA, ca)
	}
	env("orders", "https://127.0.0.1:9441/", "/run/ca.pem")
	got, err := Config{}.resolve()
	if err != nil || got.Service != "orders" || got.Control != "https://127.0.0.1:9441" || got.CA != "/run/ca.pem" {
		t.Errorf("from the environment: %+v, %v", got, err)
	}
	if got.Log == nil || got.Clock == nil || got.CallTimeout != 30*time.Second {
		t.Errorf("defaults: %+v", got)
	}
	got, err = Config{Service: "a", Control: "https://b", CA: "c"}.resolve()
	if err != nil || got.Service != "a" || got.Control != "https://b" || got.CA != "c" {
		t.Errorf("written values do not win: %+v, %v", got, err)
	}
	env("", "", "")
	if got, err := (Config{Service: "a", CA: "c"}).resolve(); err != nil || got.Control != "https://127.0.0.1:8441" {
		t.Errorf("default control: %+v, %v", got, err)
	}
	if _, err := (Config{Service: "a", HTTPClient: http.DefaultClient}).resolve(); err != nil {
		t.Errorf("a client of one's own needs no CA: %v", err)
	}
	for name, bad := range map[string]Config{
		"no service":       {CA: "c"},
		"no CA":            {Service: "a"},
		"plain control":    {Service: "a", CA: "c", Control: "http://127.0.0.1:8441"},
		"no host":          {Service: "a", CA: "c", Control: "https://"},
		"user in control":  {Service: "a", CA: "c", Control: "https://u:p@127.0.0.1"},
		"query in control": {Service: "a", CA: "c", Control: "https://127.0.0.1/?x"},
		"negative timeout": {Service: "a", CA: "c", CallTimeout: -1},
	} {
		if g, err := New(t.Context(), bad); err == nil {
			t.Errorf("%s: %+v, want an error", name, g)
		}
	}
}
