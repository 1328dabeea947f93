package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// head begins most maps: one public listener, and room for few records.
const head = `
zone: shop.example
journal: {size: 64MiB}
listeners:
  public: {address: "@public@", limits: {header_time: 1min}}
  admin: {address: "@admin@"}
  control: {address: "@control@"}
`

// zoned is a zone served by the built binary, or about to be.
type zoned struct {
	t       testing.TB
	bin     string // folder of the programs
	dir     string // of the map
	data    string
	runDir  string            // sockets for other programs; @run@ in the map
	text    string            // of the map, with names for addresses
	given   map[string]string // addresses that are not ours to choose
	address map[string]string // by the names in the map
	flags   []string          // of serve, beside --data and --run
	mapFile string            // of serve; its folder is dir
	pair    *pair             // what serves it, when it is served by two processes; nil: one

	served bool // it was ready once: its addresses stay
	cmd    *exec.Cmd
	stderr *syncBuffer
	also   *syncBuffer // gets what goes to stderr, too; may be nil
	exited chan struct{}
	err    error // of the end; readable after exited
}

var mark = regexp.MustCompile(`@([a-z0-9]+)(:port)?@`)

// newZone writes a map. Each @name@ in it becomes the given address of that
// name, else a free one; @name:port@ becomes its port.
func newZone(t testing.TB, text string, given map[string]string) *zoned {
	t.Helper()
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	z := &zoned{t: t, bin: bin, dir: t.TempDir(), text: text, given: given, mapFile: "zone.yaml"}
	z.data = filepath.Join(z.dir, "data")
	// Apart from the test's own folder, whose path can be too long for sockets.
	if z.runDir, err = os.MkdirTemp("", "sallyport-e2e-run-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(z.runDir) })
	z.overEngines()
	z.settle()
	return z
}

// settle writes the map with addresses that are free just now.
func (z *zoned) settle() {
	z.t.Helper()
	z.address = map[string]string{"run": z.runDir}
	maps.Copy(z.address, z.given)
	if z.pair != nil {
		z.stand()
	}
	z.write("zone.yaml", mark.ReplaceAllStringFunc(z.text, func(m string) string {
		name, port := strings.CutSuffix(strings.Trim(m, "@"), ":port")
		if z.address[name] == "" {
			z.address[name] = freeAddress(z.t)
		}
		if port {
			return portOf(z.address[name])
		}
		return z.address[name]
	}))
}

// startZone serves a map until the test ends.
func startZone(t testing.TB, text string, given map[string]string) *zoned {
	t.Helper()
	z := newZone(t, text, given)
	z.start()
	return z
}

// in returns the zone for use in a subtest: what fails there fails it.
func (z *zoned) in(t testing.TB) *zoned {
	sub := *z
	sub.t = t
	return &sub
}

func (z *zoned) write(name, text string) string {
	z.t.Helper()
	path := filepath.Join(z.dir, name)
	if err := replaceFile(path, text); err != nil {
		z.t.Fatal(err)
	}
	if z.pair != nil && name == "zone.yaml" {
		z.share(text)
	}
	return path
}

// launch starts `sallyport serve` and returns at once.
func (z *zoned) launch() {
	z.t.Helper()
	if z.pair != nil {
		z.launchBoth()
		return
	}
	z.stderr = &syncBuffer{}
	z.serve()
}

// serve starts one process.
func (z *zoned) serve() {
	z.t.Helper()
	z.cmd = exec.Command(filepath.Join(z.bin, "sallyport"), append([]string{"serve", z.mapFile, "--data", z.data, "--run", z.runDir}, z.flags...)...)
	z.cmd.Dir = z.dir
	z.cmd.Stderr = z.stderr
	if z.also != nil {
		z.cmd.Stderr = io.MultiWriter(z.stderr, z.also)
	}
	z.exited = make(chan struct{})
	if err := z.cmd.Start(); err != nil {
		z.t.Fatal(err)
	}
	cmd, exited := z.cmd, z.exited
	go func() {
		z.err = cmd.Wait()
		close(exited)
	}()
	z.t.Cleanup(func() {
		_ = cmd.Process.Kill() // fails when it has ended
		<-exited
	})
}

// hurried is what serve says when an engine took longer than a start waits for it.
var hurried = regexp.MustCompile(`store unavailable|kv: .*unavailable|context deadline exceeded`)

// start starts the zone and waits until `sallyport status` says that it is ready.
func (z *zoned) start() {
	z.t.Helper()
	z.launch()
	again := 0
	for deadline := time.Now().Add(patience); ; {
		if z.ready() {
			z.served = true
			return
		}
		select {
		case <-z.exited:
			if !z.served && strings.Contains(z.stderr.String(), "address already in use") {
				z.settle() // somebody else on this machine was quicker
				z.launch()
				continue
			}
			if again < 20 && strings.Contains(z.text, storeKey) && hurried.MatchString(z.stderr.String()) {
				again++ // the engine is there, and busy
				z.launch()
				continue
			}
			z.t.Fatalf("serve ended: %v\n%s", z.err, z.stderr)
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			z.t.Fatalf("the zone did not become ready\n%s", z.stderr)
		}
	}
}

// end signals the zone and returns how it ended.
func (z *zoned) end(sig syscall.Signal) error {
	z.t.Helper()
	if err := z.signal(sig); err != nil {
		z.t.Fatal(err)
	}
	return z.wait()
}

// signal signals each process of the zone.
func (z *zoned) signal(sig syscall.Signal) (err error) {
	for _, w := range z.each() {
		err = errors.Join(err, w.cmd.Process.Signal(sig))
	}
	return err
}

func (z *zoned) wait() error {
	z.t.Helper()
	select {
	case <-z.exited:
		return z.err
	case <-time.After(patience):
		z.t.Fatalf("the zone did not end\n%s", z.stderr)
		return nil
	}
}

// run runs a verb on the zone's data folder.
func (z *zoned) run(args ...string) (stdout, stderr string, code int) {
	z.t.Helper()
	if z.pair != nil {
		return z.runAtOne(args)
	}
	return z.exec(append(args, "--data", z.data)...)
}

// exec runs a verb as it is written.
func (z *zoned) exec(args ...string) (stdout, stderr string, code int) {
	z.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(z.bin, "sallyport"), args...)
	cmd.Dir = z.dir
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var x *exec.ExitError
	if err != nil && !errors.As(err, &x) {
		z.t.Fatalf("sallyport %q: %v", args, err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// must runs a verb that has to succeed and returns its standard output.
func (z *zoned) must(args ...string) string {
	z.t.Helper()
	out, errs, code := z.run(args...)
	if code != 0 {
		z.t.Fatalf("sallyport %q: exit code %d\n%s", args, code, errs)
	}
	return out
}

// roots is ca.pem of the data folder.
func (z *zoned) roots() *x509.CertPool {
	z.t.Helper()
	pem, err := os.ReadFile(filepath.Join(z.data, "ca.pem"))
	if err != nil {
		z.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		z.t.Fatal("ca.pem holds no certificate")
	}
	return pool
}

// client returns an HTTP client that trusts the zone's root alone, follows no
// redirect, and finds every name on loopback. Each call has connections of its own.
func (z *zoned) client(change ...func(*http.Transport)) *http.Client {
	z.t.Helper()
	all := &turns{}
	for range z.each() {
		all.each = append(all.each, z.transport(change...))
	}
	var tr http.RoundTripper = all
	if z.pair == nil {
		tr = all.each[0]
	}
	z.t.Cleanup(all.CloseIdleConnections)
	return &http.Client{
		Transport: tr, Timeout: patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// transport is that of a client.
func (z *zoned) transport(change ...func(*http.Transport)) *http.Transport {
	z.t.Helper()
	tr := &http.Transport{
		TLSClientConfig:    &tls.Config{RootCAs: z.roots()},
		ForceAttemptHTTP2:  true,
		DisableCompression: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
		},
	}
	for _, c := range change {
		c(tr)
	}
	return tr
}
