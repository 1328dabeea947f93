package app

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"sallyport.dev/zone"
)

// testMap is a small zone. parsed gives it addresses that are free.
const testMap = `
zone: shop.example
journal: {size: 64MiB}
listeners:
  public: {address: "127.0.0.1:1"}
  admin: {address: "127.0.0.1:2"}
  control: {address: "127.0.0.1:3"}
services:
  catalog:
    upstream: http://127.0.0.1:9
    embedded: true
    routes: {GET /products: anonymous}
`

// parsed is testMap on the given addresses, of public, admin and control; each
// that is empty takes whatever port is free.
func parsed(t *testing.T, addresses ...string) *zone.Zone {
	t.Helper()
	z, err := zone.Parse("zone.yaml", []byte(testMap))
	if err != nil {
		t.Fatal(err)
	}
	for i, into := range []*string{&z.Listeners[0].Address, &z.Admin, &z.Control} {
		*into = "127.0.0.1:0"
		if i < len(addresses) && addresses[i] != "" {
			*into = addresses[i]
		}
	}
	return z
}

// running is a zone that is served until the test ends.
type running struct {
	t     *testing.T
	data  string
	log   *buffer
	admin *http.Client
	stop  func() error
}

func serveZone(t *testing.T, z *zone.Zone, data string) *running {
	t.Helper()
	r := &running{t: t, data: data, log: &buffer{}, admin: overSocket(filepath.Join(data, "admin.sock"))}
	ctx, cancel := context.WithCancel(context.Background())
	ready, served := make(chan struct{}), make(chan error, 1)
	go func() {
		served <- Serve(ctx, z, Options{Data: data, Version: "test", Log: slog.New(slog.NewTextHandler(r.log, nil)), Ready: func() { close(ready) }})
	}()
	r.stop = sync.OnceValue(func() error {
		cancel()
		return <-served
	})
	t.Cleanup(func() { _ = r.stop() })
	select {
	case <-ready:
	case err := <-served:
		served <- err
		t.Fatalf("the zone does not serve: %v", err)
	}
	return r
}

// ask sends one request to the admin socket.
func (r *running) ask(method, path string, in any) (int, string) {
	r.t.Helper()
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			r.t.Fatal(err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(r.t.Context(), method, "http://admin"+path, body)
	if err != nil {
		r.t.Fatal(err)
	}
	res, err := r.admin.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// buffer is what was logged, readable meanwhile.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// TestCheckPaths: a route that meets one of the account service is told with its
// place; one that is more specific, elsewhere or for services alone is not.
func TestCheckPaths(t *testing.T) {
	for _, c := range []struct {
		route string
		wrong bool
	}{
		{"DELETE /{any}/sessions/7: anonymous", true},
		{"GET /{any}/login: anonymous", false}, // the account service's is more specific
		{"DELETE /other/sessions/7: anonymous", false},
		{"DELETE /{any}/sessions/7: {allow: anonymous, listener: second}", false},
		{"DELETE /{any}/sessions/7: service", false},
	} {
		z, err := zone.Parse("zone.yaml", []byte(`zone: shop.example
listeners:
  public: {address: "127.0.0.1:1"}
  second: {address: "127.0.0.1:2"}
identity: {listener: public}
services:
  any:
    upstream: https://127.0.0.1:3
    embedded: true
    routes:
      `+c.route+"\n"))
		if err != nil {
			t.Fatalf("%s: %v", c.route, err)
		}
		err = CheckPaths(z)
		if (err != nil) != c.wrong || err != nil && !strings.Contains(err.Error(), "zone.yaml:11:7: route ") {
			t.Errorf("%s: %v; want an error: %v", c.route, err, c.wrong)
		}
	}
}
