package e2e

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// sidecarRun is a sidecar of the built binary.
type sidecarRun struct {
	z       *zoned
	service string
	dir     string
	args    []string
	cmd     *exec.Cmd
	stderr  *syncBuffer
	exited  chan struct{}
	err     error // of the end; readable after exited
}

// sidecar runs one that joins with a token, until the test ends.
func (z *zoned) sidecar(service string) *sidecarRun {
	z.t.Helper()
	token := z.write(service+".join", z.must("join", service))
	s := z.launchSidecar("zone.yaml", service, service+"-door", "--join-file", token)
	s.waitReady()
	return s
}

// launchSidecar starts one in a folder below the run folder and returns at once.
func (z *zoned) launchSidecar(mapFile, service, folder string, args ...string) *sidecarRun {
	z.t.Helper()
	s := &sidecarRun{z: z, service: service, dir: filepath.Join(z.runDir, folder)}
	s.args = append([]string{"sidecar", mapFile, service, "--data", s.dir}, args...)
	s.launch()
	return s
}

func (s *sidecarRun) launch() {
	s.z.t.Helper()
	s.stderr = &syncBuffer{}
	s.cmd = exec.Command(filepath.Join(s.z.bin, "sallyport"), s.args...)
	s.cmd.Dir, s.cmd.Stderr = s.z.dir, s.stderr
	s.exited = make(chan struct{})
	if err := s.cmd.Start(); err != nil {
		s.z.t.Fatal(err)
	}
	cmd, exited := s.cmd, s.exited
	go func() {
		s.err = cmd.Wait()
		close(exited)
	}()
	s.z.t.Cleanup(func() {
		_ = cmd.Process.Kill() // fails when it has ended
		<-exited
	})
}

// waitReady waits until the sidecar tells its own service that it is ready.
func (s *sidecarRun) waitReady() {
	s.z.t.Helper()
	for deadline := time.Now().Add(patience); s.call(outCall{to: "sidecar", target: "/ready"}).Status != 200; {
		select {
		case <-s.exited:
			s.z.t.Fatalf("the sidecar of %s ended: %v\n%s", s.service, s.err, s.stderr)
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			s.z.t.Fatalf("the sidecar of %s did not become ready\n%s", s.service, s.stderr)
		}
	}
}

// waitEnd returns the exit code of a sidecar that ends by itself.
func (s *sidecarRun) waitEnd() int {
	s.z.t.Helper()
	select {
	case <-s.exited:
		return s.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		s.z.t.Fatalf("the sidecar of %s did not end\n%s", s.service, s.stderr)
		return 0
	}
}

// stop ends it as an operator does.
func (s *sidecarRun) stop() {
	s.z.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.z.t.Fatal(err)
	}
	if code := s.waitEnd(); code != 0 {
		s.z.t.Errorf("the sidecar of %s ended with %d\n%s", s.service, code, s.stderr)
	}
}

// outCall is a call of a service to another by its sidecar's outbound socket.
type outCall struct {
	to      string // service
	method  string // default GET
	target  string
	handles []string // values of Sallyport-Request
	body    string
	header  http.Header
}

// call makes it in plain HTTP, as the service would, and again where a bound inside
// the product may have passed: a sidecar has two seconds to reach a callee.
func (s *sidecarRun) call(c outCall) (got innerAnswer) {
	s.z.t.Helper()
	for range 4 {
		began := time.Now()
		got = s.callOnce(c)
		if time.Since(began) < time.Second || !slices.Contains(bounded, got.Reason) {
			break
		}
	}
	return got
}

func (s *sidecarRun) callOnce(c outCall) innerAnswer {
	s.z.t.Helper()
	conn, err := net.Dial("unix", filepath.Join(s.dir, "out.sock"))
	if err != nil {
		return innerAnswer{Err: err}
	}
	defer conn.Close()
	if c.method == "" {
		c.method = "GET"
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n", c.method, c.target, c.to, len(c.body))
	_ = c.header.Write(&b)
	for _, h := range c.handles {
		fmt.Fprintf(&b, "Sallyport-Request: %s\r\n", h)
	}
	b.WriteString("\r\n" + c.body)
	return exchangeInside(conn, b.Bytes(), c.method)
}
