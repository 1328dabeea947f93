package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// bed is the folder and the lasting processes of a run.
type bed struct {
	dir      string
	profile  string // file for the CPU profile of sallyport; empty: none
	upstream *exec.Cmd
	workload
}

func newBed(ctx context.Context, profile string, w workload) (*bed, error) {
	dir, err := os.MkdirTemp("", "sallyport-bench-")
	if err != nil {
		return nil, err
	}
	b := &bed{dir: dir, profile: profile, workload: w}
	if err := b.fill(ctx); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *bed) path(name string) string { return filepath.Join(b.dir, name) }

// fill writes the certificate, the map, the load's script and 1,000 sessions,
// builds the binary and starts the upstream.
func (b *bed) fill(ctx context.Context) error {
	if err := b.certificate(); err != nil {
		return err
	}
	if err := os.WriteFile(b.path("zone.yaml"), []byte(benchMap), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(b.path("load.lua"), []byte(loadScript), 0o600); err != nil {
		return err
	}
	program := "./cmd/sallyport"
	if b.profile != "" {
		program = "./bench/gateway/profiled"
	}
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", b.path("sallyport"), program) // #nosec G204 -- one of two
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	if err := b.seed(ctx); err != nil {
		return err
	}
	var err error
	b.upstream, err = startUpstream(ctx, b)
	return err
}

func (b *bed) close() {
	if b.upstream != nil {
		stop(b.upstream)
	}
	_ = os.RemoveAll(b.dir)
}

// stop ends a process and waits for it.
func stop(cmd *exec.Cmd) {
	_ = cmd.Process.Signal(syscall.SIGTERM)
	_ = cmd.Wait()
}

// certificate writes a P-256 certificate for localhost that all contenders use.
func (b *bed) certificate() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(b.path("cert.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(b.path("key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600),
	)
}

// loadScript is the load: requests made once, sent in turn, one for each session.
const loadScript = `
local requests, n = {}, 0
init = function()
  local name = os.getenv("TOKENS")
  if name and name ~= "" then
    for token in io.lines(name) do
      requests[#requests+1] = wrk.format("GET", "/products", {["Host"]="localhost", ["Authorization"]="Bearer " .. token})
    end
  else
    requests[1] = wrk.format("GET", "/products", {["Host"]="localhost"})
  end
end
request = function() n = n + 1; return requests[n % #requests + 1] end
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format("RESULT %d %d %d %d %d\n", summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
`

// measure starts a contender, warms it up, loads it for one round and stops it.
func (b *bed) measure(ctx context.Context, c *contender, p plan) (result, error) {
	cmd, err := c.start(ctx, b)
	if err != nil {
		return result{}, err
	}
	defer stop(cmd)
	if err := awaitTLS(ctx, c.address); err != nil {
		return result{}, err
	}
	pids := []int{worker(cmd.Process.Pid)}
	if c.hop != nil {
		hop, err := c.hop(ctx, b)
		if err != nil {
			return result{}, err
		}
		defer stop(hop)
		if err := b.awaitOK(ctx, c); err != nil {
			return result{}, err
		}
		pids = append(pids, hop.Process.Pid)
	}
	if _, err := b.load(ctx, c, 1, p.connections); err != nil { // warm-up
		return result{}, err
	}
	before, err := cpuTimes(pids)
	if err != nil {
		return result{}, err
	}
	r, err := b.load(ctx, c, p.seconds, p.connections)
	if err != nil {
		return result{}, err
	}
	after, err := cpuTimes(pids)
	if err != nil {
		return result{}, err
	}
	each := func(i int) float64 {
		return float64((after[i] - before[i]).Microseconds()) / (r.perSecond * float64(p.seconds))
	}
	if r.cpu = each(0); len(pids) > 1 {
		r.hop = each(1)
	}
	r.memory, err = resident(pids[0])
	return r, err
}

// load runs wrk on the other core, or h2load where wrk cannot.
func (b *bed) load(ctx context.Context, c *contender, seconds, connections int) (result, error) {
	if b.http2 || b.rate > 0 {
		return b.loadH2(ctx, c, seconds, connections)
	}
	cmd := exec.CommandContext(ctx, "taskset", "-c", otherCore, "wrk", "-t1", "-c"+strconv.Itoa(connections), "-d"+strconv.Itoa(seconds)+"s", // #nosec G204 -- fixed program
		"-s", b.path("load.lua"), "https://"+strings.Replace(c.address, "127.0.0.1", "localhost", 1)+"/products")
	if c.tokens {
		cmd.Env = append(os.Environ(), "TOKENS="+b.path("tokens"))
	}
	out, err := cmd.Output()
	if err != nil {
		return result{}, fmt.Errorf("wrk: %w", err)
	}
	_, line, found := bytes.Cut(out, []byte("RESULT "))
	var requests, micros, p50, p99, bad int
	if _, err := fmt.Sscan(string(line), &requests, &micros, &p50, &p99, &bad); !found || err != nil {
		return result{}, fmt.Errorf("wrk said %q", out)
	}
	return result{perSecond: float64(requests) / (float64(micros) / 1e6), p50: float64(p50) / 1000, p99: float64(p99) / 1000, bad: bad}, nil
}

// awaitTLS waits until a handshake succeeds.
func awaitTLS(ctx context.Context, address string) error {
	deadline := time.Now().Add(15 * time.Second)
	for {
		d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, ServerName: "localhost"}} // #nosec G402 -- a made-up certificate on loopback
		c, err := d.DialContext(ctx, "tcp", address)
		if err == nil {
			return c.Close()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s does not answer: %w", address, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// worker returns the process that does the work: nginx's only child, else pid itself.
func worker(pid int) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return pid
	}
	if child, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
		return child
	}
	return pid
}

func cpuTimes(pids []int) ([]time.Duration, error) {
	times := make([]time.Duration, len(pids))
	for i, pid := range pids {
		var err error
		if times[i], err = cpuTime(pid); err != nil {
			return nil, err
		}
	}
	return times, nil
}

// cpuTime reads user and system time of a process (proc(5), fields 14 and 15, in ticks of 10 ms).
func cpuTime(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+2:]))
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond, errors.Join(err1, err2)
}

// resident reads the resident memory of a process in MiB.
func resident(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	pages, err := strconv.Atoi(strings.Fields(string(b))[1])
	return float64(pages) * 4096 / (1 << 20), err
}
