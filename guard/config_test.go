package guard

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport.dev/guard/internal/testca"
	"sallyport.dev/internal/svid"
)

func TestConfig(t *testing.T) {
	env := func(service, control, data string) {
		t.Setenv(EnvService, service)
		t.Setenv(EnvControl, control)
		t.Setenv(EnvData, data)
	}
	env("orders", "https://127.0.0.1:9441/", "/var/lib/orders")
	got, err := Config{}.resolve()
	if err != nil || got.Service != "orders" || got.Control != "https://127.0.0.1:9441" || got.Data != "/var/lib/orders" {
		t.Errorf("from the environment: %+v, %v", got, err)
	}
	if got.Log == nil || got.Clock == nil || got.CallTimeout != 30*time.Second || got.Spool != os.TempDir() {
		t.Errorf("defaults: %+v", got)
	}
	got, err = Config{Service: "a", Control: "https://b", Data: "c", Spool: "d"}.resolve()
	if err != nil || got.Service != "a" || got.Control != "https://b" || got.Data != "c" || got.Spool != "d" {
		t.Errorf("written values do not win: %+v, %v", got, err)
	}
	env("", "", "")
	if got, err := (Config{Service: "a"}).resolve(); err != nil || got.Control != "https://127.0.0.1:8441" {
		t.Errorf("default control: %+v, %v", got, err)
	}
	if g, err := New(t.Context(), Config{Service: "a", Socket: filepath.Join(t.TempDir(), "none.sock")}); err != nil || g.Ready() {
		t.Errorf("a zone that is not there yet: %v", err)
	}
	for name, bad := range map[string]Config{
		"no service":       {},
		"plain control":    {Service: "a", Control: "http://127.0.0.1:8441"},
		"no host":          {Service: "a", Control: "https://"},
		"user in control":  {Service: "a", Control: "https://u:p@127.0.0.1"},
		"query in control": {Service: "a", Control: "https://127.0.0.1/?x"},
		"negative timeout": {Service: "a", CallTimeout: -1},
		"two identities":   {Service: "a", Socket: "/run/a.sock", JoinFile: "/run/token"},
		"no join token":    {Service: "a", Join: "token"},
	} {
		if g, err := New(t.Context(), bad); err == nil {
			t.Errorf("%s: %+v, want an error", name, g)
		}
	}
}

func TestJoinTokenDoesNotPrint(t *testing.T) {
	cfg := Config{Join: "spj_secret"}
	text, err := json.Marshal(map[string]any{"join": cfg.Join})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{fmt.Sprintf("%v %+v %#v %s", cfg, cfg, cfg, cfg.Join), string(text), cfg.Join.LogValue().String()} {
		if strings.Contains(s, "secret") {
			t.Errorf("prints %s", s)
		}
	}
}

func TestSupplier(t *testing.T) {
	for _, name := range []string{EnvSocket, EnvJoinFile, EnvData} {
		t.Setenv(name, "")
	}
	ca := testca.New(t, "shop.example", time.Now())
	root := ca.Identity(t, "orders", time.Now(), time.Now().Add(time.Hour)).RootCerts[0]
	tok := svid.JoinToken{ID: [16]byte{1}, Secret: [32]byte{2}, Root: sha256.Sum256(root.Raw)}
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(tok.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name         string
		cfg          Config
		socket, join string // environment
		wantSocket   string // empty: joins
		wantToken    svid.JoinToken
	}{
		{"nothing", Config{}, "", "", svid.DefaultSocket(), svid.JoinToken{}},
		{"socket of the environment", Config{}, "unix:///run/w.sock", file, "unix:///run/w.sock", svid.JoinToken{}},
		{"join file of the environment", Config{}, "", file, "", tok},
		{"socket", Config{Socket: "/run/w.sock"}, "unix:///run/other.sock", file, "/run/w.sock", svid.JoinToken{}},
		{"join file", Config{JoinFile: file}, "unix:///run/w.sock", "", "", tok},
		{"token", Config{Join: JoinToken(tok.String())}, "unix:///run/w.sock", "", "", tok},
		{"join file that is gone", Config{JoinFile: file + ".gone", Data: "/var/lib/a"}, "", "", "", svid.JoinToken{}},
	} {
		t.Setenv(EnvSocket, tt.socket)
		t.Setenv(EnvJoinFile, tt.join)
		tt.cfg.Service = "orders"
		got, err := tt.cfg.supplier()
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		switch s := got.(type) {
		case svid.WorkloadAPI:
			if s.Socket != tt.wantSocket || s.Service != "orders" {
				t.Errorf("%s: Workload API at %q for %q, want %q", tt.name, s.Socket, s.Service, tt.wantSocket)
			}
		case svid.Join:
			if tt.wantSocket != "" || s.Token != tt.wantToken || s.Dir != tt.cfg.Data {
				t.Errorf("%s: joins with %v in %q", tt.name, s.Token, s.Dir)
			}
		}
	}
}
