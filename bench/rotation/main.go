// Rotation renews the identities of a hundred services under load and counts
// the requests that are lost: there should be none. A whole zone runs in this
// process, its identities live for seconds instead of an hour, and a client goes
// through gateway, mutual TLS and guard to each service in turn.
//
//	go run ./bench/rotation [-services 100] [-life 6s] [-seconds 20] [-clients 8]
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sallyport.dev/guard"
	"sallyport.dev/internal/app"
	"sallyport.dev/zone"
)

func main() {
	services := flag.Int("services", 100, "services with an inner door")
	life := flag.Duration("life", 6*time.Second, "of an identity; each is renewed at half of it")
	seconds := flag.Int("seconds", 20, "length of the load")
	clients := flag.Int("clients", 8, "clients at once")
	guards := flag.String("guards", "", "(inner use) run the guards FROM-TO,DIR")
	flag.Parse()
	if *guards != "" {
		if err := runGuards(*guards); err != nil {
			fmt.Fprintln(os.Stderr, "bench: guards:", err)
			os.Exit(1)
		}
		return
	}
	if err := run(*services, *life, time.Duration(*seconds)*time.Second, *clients); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(services int, life, length time.Duration, clients int) error {
	dir, err := os.MkdirTemp("", "sallyport-rotation-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	z, err := zone.Parse(filepath.Join(dir, "zone.yaml"), []byte(mapOf(services)))
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- app.Serve(ctx, z, app.Options{
			Data: filepath.Join(dir, "data"), Run: filepath.Join(dir, "run"), Log: slog.New(slog.DiscardHandler), SVIDLife: life, Ready: func() { close(ready) },
		})
	}()
	select {
	case <-ready:
	case err := <-ended:
		return fmt.Errorf("serve: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := tokens(ctx, dir, services); err != nil {
		return err
	}
	for from := 0; from < services; from += perProcess {
		spec := fmt.Sprintf("%d-%d,%s", from, min(from+perProcess, services), dir)
		cmd := exec.CommandContext(ctx, self, "-guards", spec) // #nosec G204 -- this program
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			return err
		}
		defer func() { stop(); _ = cmd.Wait() }()
	}
	pem, err := os.ReadFile(filepath.Join(dir, "data", "ca.pem"))
	if err != nil {
		return err
	}
	return load(services, life, length, clients, pem)
}

// perProcess is how many guards share a process.
const perProcess = 10

// tokens asks the zone for a join token for each service.
func tokens(ctx context.Context, dir string, services int) error {
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(dir, "data", "admin.sock"))
	}}}
	for i := range services {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://admin/v1/join", strings.NewReader(`{"service":"`+name(i)+`"}`))
		if err != nil {
			return err
		}
		res, err := client.Do(req)
		if err != nil {
			return err
		}
		var made app.CreatedJoin
		err = json.NewDecoder(res.Body).Decode(&made)
		if err := errors.Join(err, res.Body.Close()); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name(i)), []byte(made.Token), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// runGuards serves the services FROM to TO until the process is killed.
func runGuards(spec string) error {
	var from, to int
	var dir string
	if _, err := fmt.Sscanf(strings.ReplaceAll(spec, ",", " "), "%d-%d %s", &from, &to, &dir); err != nil {
		return err
	}
	ended := make(chan error)
	for i := from; i < to; i++ {
		g, err := guard.New(context.Background(), guard.Config{Service: name(i), Control: controlURL, JoinFile: filepath.Join(dir, name(i)), Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			return err
		}
		go func() { ended <- g.ListenAndServe(context.Background(), address(i), http.HandlerFunc(answer)) }()
	}
	return <-ended
}

const controlURL = "https://127.0.0.1:18465"

func answer(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	_, _ = io.WriteString(w, "served")
}

// load sends requests and prints what became of them.
func load(services int, life, length time.Duration, clients int, pem []byte) error {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}, MaxIdleConnsPerHost: clients}}
	for i := range services { // each has been asked once: its guard answers
		if err := patiently(client, i); err != nil {
			return err
		}
	}
	var sent, lost atomic.Int64
	var first sync.Once
	var slowest atomic.Int64
	end := time.Now().Add(length)
	var all sync.WaitGroup
	for c := range clients {
		all.Go(func() {
			for n := c; time.Now().Before(end); n++ {
				began := time.Now()
				err := request(client, n%services)
				sent.Add(1)
				if took := int64(time.Since(began)); took > slowest.Load() {
					slowest.Store(took)
				}
				if err != nil {
					lost.Add(1)
					first.Do(func() { fmt.Fprintln(os.Stderr, "first loss:", err) })
				}
			}
		})
	}
	all.Wait()
	fmt.Printf("%d services, identities of %s, %s of load: %d requests, %d lost, about %.0f renewals, slowest %s\n",
		services, life, length, sent.Load(), lost.Load(), float64(services)*length.Seconds()/(life.Seconds()/2), time.Duration(slowest.Load()).Round(time.Millisecond))
	if lost.Load() > 0 {
		return errors.New("requests were lost")
	}
	return nil
}

func patiently(client *http.Client, i int) (err error) {
	for range 200 {
		if err = request(client, i); err == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return err
}

// request sends a body that cannot be sent twice: what a client cannot repeat
// must not be lost.
func request(client *http.Client, i int) error {
	req, err := http.NewRequest(http.MethodPost, "https://localhost:18463/"+name(i), io.MultiReader(strings.NewReader("hello")))
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %d %s", name(i), res.StatusCode, body)
	}
	return nil
}

func name(i int) string    { return fmt.Sprintf("service-%d", i) }
func address(i int) string { return net.JoinHostPort("127.0.0.1", fmt.Sprint(18500+i)) }

func mapOf(services int) string {
	var b strings.Builder
	b.WriteString("zone: bench.example\nlisteners:\n  public: {address: \"127.0.0.1:18463\", hosts: [localhost]}\n  admin: {address: \"127.0.0.1:18464\"}\n  control: {address: \"127.0.0.1:18465\"}\nservices:\n")
	for i := range services {
		fmt.Fprintf(&b, "  %s: {upstream: \"https://%s\", embedded: true, routes: {POST /%s: anonymous}}\n", name(i), address(i), name(i))
	}
	return b.String()
}
