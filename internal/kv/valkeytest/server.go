// Package valkeytest starts a Valkey or Redis server for a test: private, empty,
// in a folder of its own, gone when the test ends. It can be killed, started
// again, and stopped as a slow server would be.
//
// A machine without redis-server skips the test. Valkey itself is not tried.
package valkeytest

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// startTime is how long a server may take to answer its first ping.
const startTime = time.Minute

// Server is one server under test. Its methods are for the test's goroutine.
type Server struct {
	t    testing.TB
	args []string
	dir  string
	port int // 0: none, only the socket
	run  *exec.Cmd
}

// Start starts a server on a Unix socket; args are more settings of
// redis-server's command line, as in "--maxmemory", "2mb".
func Start(t testing.TB, args ...string) *Server { return start(t, 0, args) }

// StartTCP starts a server on a port of loopback, too.
func StartTCP(t testing.TB, args ...string) *Server {
	return start(t, FreePort(t), args)
}

// ports counts the ports that this process has asked for.
var ports atomic.Uint32

// nextPort is one that no other call has got, here or, most likely, in a process beside.
func nextPort() int { return int(20_000 + (uint32(os.Getpid())*97+ports.Add(1))%12_000) } // #nosec G115 -- small

// FreePort returns a port of loopback that was free a moment ago.
// It lies below the ports that systems give to connections and for port 0, so that
// nobody else is given it meanwhile.
func FreePort(t testing.TB) int {
	t.Helper()
	for {
		port := nextPort()
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			_ = l.Close()
			return port
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatal(err)
		}
	}
}

func start(t testing.TB, port int, args []string) *Server {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skip("redis-server is not installed; scripts/setup installs it")
	}
	dir, err := os.MkdirTemp("", "valkey") // names of sockets are short
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, args: args, dir: dir, port: port}
	t.Cleanup(func() {
		s.Kill()
		log, err := os.ReadFile(filepath.Join(dir, "log")) // #nosec G304 -- our own
		if t.Failed() && err == nil {
			t.Logf("redis-server:\n%s", log)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	s.Start()
	return s
}

// Socket returns the path of the server's socket.
func (s *Server) Socket() string { return filepath.Join(s.dir, "s") }

// URL returns the server's address on its socket.
func (s *Server) URL() string { return "unix://" + s.Socket() }

// TCP returns the server's address on loopback.
func (s *Server) TCP() string { return "redis://127.0.0.1:" + strconv.Itoa(s.port) }

// Start starts a server that was killed: with nothing in it, unless its
// settings keep it.
func (s *Server) Start() {
	s.t.Helper()
	args := append([]string{
		"--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--unixsocket", s.Socket(), "--unixsocketperm", "700",
		"--dir", s.dir, "--save", "", "--appendonly", "no", "--daemonize", "no", "--loglevel", "warning",
	}, s.args...)
	s.run = exec.Command("redis-server", args...) // #nosec G204 -- a test's own server
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	s.run.Stdout, s.run.Stderr = log, log
	if err := s.run.Start(); err != nil {
		s.t.Fatal(err)
	}
	c := s.Client()
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.t.Context()), startTime)
	defer cancel()
	for {
		err := c.Ping(ctx).Err()
		var reply redis.Error
		if err == nil || errors.As(err, &reply) && !redis.HasErrorPrefix(err, "LOADING") { // NOAUTH is an answer
			return
		}
		select {
		case <-ctx.Done():
			s.t.Fatalf("redis-server does not answer: %v", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Kill ends the server as a crash would.
func (s *Server) Kill() {
	if s.run == nil {
		return
	}
	_ = s.run.Process.Kill()
	_ = s.run.Wait()
	s.run = nil
}

// Pause stops the server from doing anything: connections stay open and nothing
// is answered.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume ends a Pause.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.run.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// Client returns a client to look into the server with; the caller closes it.
func (s *Server) Client() *redis.Client {
	return redis.NewClient(&redis.Options{Network: "unix", Addr: s.Socket(), Protocol: 2, DisableIdentity: true})
}

// Do runs one command on the server, which must succeed.
func (s *Server) Do(args ...any) any {
	s.t.Helper()
	c := s.Client()
	defer c.Close()
	reply, err := c.Do(context.WithoutCancel(s.t.Context()), args...).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		s.t.Fatalf("%v: %v", args, err)
	}
	return reply
}
