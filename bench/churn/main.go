// Churn keeps a zone busy with all that makes garbage: new connections, logins
// and logouts, uploads, answers of many sizes, refusals of every kind and reloads
// of the map. It prints the zone's memory as it goes: it should be flat.
//
//	go run ./bench/churn [-minutes 10] [-clients 8]
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

func main() {
	minutes := flag.Float64("minutes", 10, "length")
	clients := flag.Int("clients", 8, "clients at once")
	flag.Parse()
	if err := run(time.Duration(*minutes*float64(time.Minute)), *clients); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

const (
	email    = "churn@bench.example"
	password = "a long enough passphrase for churn"
)

func mapOf(service, public, admin string, round int) string {
	return fmt.Sprintf(`zone: bench.example
journal: {size: 64MiB}
listeners:
  public: {address: %q, hosts: [localhost, 127.0.0.1], limits: {rate: 1000000/min}}
  admin: {address: %q}
identity: {listener: public}
services:
  any:
    upstream: %s
    routes:
      GET /size/{n}: anonymous
      GET /mine: user
      POST /upload: user
      GET /round/%d: anonymous
`, public, admin, service, round)
}

// bench is a zone and who churns it.
type bench struct {
	dir, public, admin string
	service            *httptest.Server
	zone               *exec.Cmd
	roots              *x509.CertPool
	requests, lost     atomic.Int64
}

func run(length time.Duration, clients int) (err error) {
	b := &bench{}
	if b.dir, err = os.MkdirTemp("", "sallyport-churn-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	b.service = httptest.NewServer(http.HandlerFunc(serve))
	defer b.service.Close()
	if err := b.start(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.zone.Process.Signal(os.Interrupt), b.zone.Wait()) }()
	ctx, stop := context.WithTimeout(context.Background(), length)
	defer stop()
	var all sync.WaitGroup
	for range clients {
		all.Go(func() { b.client(ctx) })
	}
	all.Go(func() { b.reloads(ctx) })
	fmt.Println("| minute | resident MiB | requests | lost |\n|---:|---:|---:|---:|")
	tick := time.NewTicker(max(length/20, time.Second))
	defer tick.Stop()
	for began := time.Now(); ctx.Err() == nil; {
		select {
		case <-ctx.Done():
		case <-tick.C:
			fmt.Printf("| %.1f | %d | %d | %d |\n", time.Since(began).Minutes(), resident(b.zone.Process.Pid), b.requests.Load(), b.lost.Load())
		}
	}
	all.Wait()
	return nil
}

// serve is the service: answers of any size, and uploads read to their end.
func serve(w http.ResponseWriter, r *http.Request) {
	n, _ := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/size/"))
	_, _ = io.Copy(io.Discard, r.Body)
	_, _ = w.Write(bytes.Repeat([]byte("x"), n))
}

func (b *bench) start() error {
	b.public, b.admin = free(), free()
	if err := b.write(0); err != nil {
		return err
	}
	build := exec.Command("go", "build", "-o", filepath.Join(b.dir, "sallyport"), "./cmd/sallyport") // #nosec G204 -- fixed
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	b.zone = b.sallyport("serve", "zone.yaml", "--log-level", "error", "--run", filepath.Join(b.dir, "run"))
	b.zone.Stderr = os.Stderr
	if err := b.zone.Start(); err != nil {
		return err
	}
	for end := time.Now().Add(20 * time.Second); b.sallyport("status").Run() != nil; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			return errors.New("the zone did not become ready")
		}
	}
	if err := os.WriteFile(filepath.Join(b.dir, "password"), []byte(password), 0o600); err != nil {
		return err
	}
	if out, err := b.sallyport("user", "add", email, "--password-file", "password").CombinedOutput(); err != nil {
		return fmt.Errorf("user add: %w\n%s", err, out)
	}
	pem, err := os.ReadFile(filepath.Join(b.dir, "data", "ca.pem"))
	if err != nil {
		return err
	}
	b.roots = x509.NewCertPool()
	b.roots.AppendCertsFromPEM(pem)
	return nil
}

func (b *bench) sallyport(args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(b.dir, "sallyport"), append(args, "--data", "data")...) // #nosec G204 -- fixed verbs
	cmd.Dir = b.dir
	return cmd
}

func (b *bench) write(round int) error {
	return os.WriteFile(filepath.Join(b.dir, "zone.yaml"), []byte(mapOf(b.service.URL, b.public, b.admin, round)), 0o600)
}

func (b *bench) reloads(ctx context.Context) {
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for round := 1; ; round++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := b.write(round % 10); err != nil {
				fmt.Fprintln(os.Stderr, "bench:", err)
			}
		}
	}
}

// client makes a connection, does a few things over it and leaves.
func (b *bench) client(ctx context.Context) {
	for i := 0; ctx.Err() == nil; i++ {
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: b.roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: i%2 == 0}
		c := &http.Client{Transport: tr, Timeout: 30 * time.Second}
		token := ""
		if i%8 == 0 {
			var login struct{ Token string }
			body, _ := b.ask(c, "POST", "/auth/login", "", strings.NewReader(`{"email":"`+email+`","password":"`+password+`"}`))
			_ = json.Unmarshal(body, &login)
			token = login.Token
		}
		for range rand.IntN(20) {
			switch rand.IntN(6) {
			case 0:
				b.ask(c, "POST", "/upload", token, bytes.NewReader(make([]byte, rand.IntN(900<<10))))
			case 1:
				b.ask(c, "GET", "/none/"+strconv.Itoa(rand.IntN(1e9)), token, nil)
			case 2:
				b.ask(c, "GET", "/mine", "sps_"+strings.Repeat(strconv.Itoa(rand.IntN(10)), 43), nil)
			case 3:
				b.ask(c, "GET", "/mine", token, nil)
			default:
				b.ask(c, "GET", "/size/"+strconv.Itoa(rand.IntN(256<<10)), "", nil)
			}
		}
		if token != "" {
			b.ask(c, "POST", "/auth/logout", token, nil)
		}
		tr.CloseIdleConnections()
	}
}

func (b *bench) ask(c *http.Client, method, path, token string, body io.Reader) ([]byte, int) {
	req, err := http.NewRequest(method, "https://"+b.public+path, body)
	if err != nil {
		return nil, 0
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if path == "/auth/login" {
		req.Header.Set("Content-Type", "application/json")
	}
	b.requests.Add(1)
	res, err := c.Do(req)
	if err != nil {
		b.lost.Add(1)
		return nil, 0
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		b.lost.Add(1)
	}
	return answer, res.StatusCode
}

// free returns a loopback address that nothing listens on.
func free() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return ""
	}
	defer l.Close()
	return l.Addr().String()
}

// resident is the memory of a process in MiB.
func resident(pid int) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	pages, _ := strconv.Atoi(strings.Fields(string(b))[1])
	return pages * os.Getpagesize() >> 20
}
