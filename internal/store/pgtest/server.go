package pgtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const superuser = "postgres"

// startLimit is how long a server may take to start, on a busy machine.
const startLimit = 2 * time.Minute

// Server is a PostgreSQL server of a test.
type Server struct {
	programs string
	dir      string // of its socket and, below, its data
	port     int
	password string // of the role

	mu        sync.Mutex
	databases int  // made so far; guarded by mu
	migrated  bool // guarded by mu

	process sync.Mutex
	cmd     *exec.Cmd      // guarded by process; nil while it is down
	control io.WriteCloser // guarded by process
	said    *bytes.Buffer  // its log; to be read when it is down
	set     []string       // settings besides its own; guarded by process
}

// newServer makes a server and starts it.
func newServer() (_ *Server, err error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	s := &Server{programs: bin, password: rand.Text()}
	if s.dir, err = os.MkdirTemp(quickest(), "pgtest"); err != nil { // short: a socket's path has 107 bytes
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(s.dir)
		}
	}()
	who, err := unprivileged()
	if err != nil {
		return nil, err
	}
	if who != nil {
		if err := os.Chown(s.dir, int(who.Uid), int(who.Gid)); err != nil {
			return nil, err
		}
	}
	if s.port, err = freePort(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	if err := s.initialise(ctx, who); err != nil {
		return nil, err
	}
	if err := s.start(); err != nil {
		return nil, err
	}
	return s, s.Admin(ctx, fmt.Sprintf("CREATE ROLE %s LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD '%s'", role, s.password))
}

// quickest is where a server's folder is made: in memory where there is room. A
// disk would sync every database that a test makes and drops, and what these
// tests ask is whether it survives its processes, not the loss of power.
func quickest() string {
	const memory, room = "/dev/shm", 1 << 30
	var at syscall.Statfs_t
	if err := syscall.Statfs(memory, &at); err != nil {
		return ""
	}
	block := uint64(at.Bsize) // #nosec G115 -- the size of a block is positive
	if at.Bavail*block < room {
		return ""
	}
	return memory
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// initialise makes the data folder. The server sorts as in a dictionary where it
// can: what relies on the order of bytes has to say so.
func (s *Server) initialise(ctx context.Context, who *syscall.Credential) error {
	var said []byte
	var err error
	for _, locale := range [][]string{{"--locale-provider=icu", "--icu-locale=en-US"}, nil} {
		args := append([]string{"--pgdata=" + s.data(), "--username=" + superuser, "--encoding=UTF8", "--locale=C",
			"--auth-local=trust", "--auth-host=scram-sha-256", "--no-sync"}, locale...)
		if said, err = s.command(ctx, who, filepath.Join(s.programs, "initdb"), args...).CombinedOutput(); err == nil {
			return nil
		}
	}
	return fmt.Errorf("initdb: %w\n%s", err, said)
}

// unprivileged is who runs the server: PostgreSQL refuses root. Nil: who we are.
func unprivileged() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(err1, err2)
	}
	return nil, errors.New("PostgreSQL does not run as root, and there is no user postgres or nobody")
}

func (s *Server) command(ctx context.Context, who *syscall.Credential, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...) // #nosec G204 -- PostgreSQL's own programs
	cmd.Dir = s.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who, Setpgid: true} // a terminal's interrupt is for the test
	return cmd
}

// ports counts the ports that this process has asked for.
var ports atomic.Uint32

// nextPort is one that no other call has got, here or, most likely, in a process beside.
func nextPort() int { return int(20_000 + (uint32(os.Getpid())*97+ports.Add(1))%12_000) } // #nosec G115 -- small

// freePort is a port of loopback that was free a moment ago.
// It lies below the ports that systems give to connections and for port 0, so that
// nobody else is given it meanwhile.
func freePort() (int, error) {
	for {
		port := nextPort()
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			return port, l.Close()
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return 0, err
		}
	}
}

// keeper runs the server and ends it with a signal that it is told, or at once
// when the test's process is gone and its end of the pipe is closed.
const keeper = `
"$@" </dev/null & server=$!
read -r signal keep
kill -"${signal:-QUIT}" $server
wait $server
[ "$keep" ] || rm -rf "$PGTEST_DIR"
`

// start starts the server and waits until it answers.
func (s *Server) start() error {
	s.process.Lock()
	defer s.process.Unlock()
	if s.cmd != nil {
		return errors.New("the server runs")
	}
	who, err := unprivileged()
	if err != nil {
		return err
	}
	limit := time.Now().Add(startLimit)
	for {
		if err = s.launch(who); err == nil {
			err = s.answers()
		}
		if err == nil {
			return nil
		}
		s.end("QUIT")
		if time.Now().After(limit) {
			return fmt.Errorf("start: %w\n%s", err, s.said)
		}
		// After a kill the old server's processes need a moment to notice.
		time.Sleep(50 * time.Millisecond)
	}
}

func (s *Server) launch(who *syscall.Credential) (err error) {
	s.said = &bytes.Buffer{}
	cmd := s.command(context.Background(), who, "/bin/sh", "-c", keeper, "keeper",
		filepath.Join(s.programs, "postgres"), "-D", s.data(), "-k", s.dir, "-p", strconv.Itoa(s.port),
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_permissions=0700", "-c", "max_connections=200",
		"-c", "shared_buffers=16MB", "-c", "fsync=on", "-c", "log_min_messages=fatal", "-c", "autovacuum=off")
	cmd.Args = append(cmd.Args, s.set...)
	cmd.Env = append(cmd.Env, "PGTEST_DIR="+s.dir)
	cmd.Stdout, cmd.Stderr = s.said, s.said
	if s.control, err = cmd.StdinPipe(); err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.cmd = cmd
	return nil
}

// answers waits until the server does, or has ended.
func (s *Server) answers() error {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	var err error
	for pause := 10 * time.Millisecond; ctx.Err() == nil; time.Sleep(pause) {
		if err = s.Admin(ctx, "SELECT 1"); err == nil {
			return nil
		}
		if _, serr := os.Stat(filepath.Join(s.data(), "postmaster.pid")); serr != nil && pause > 100*time.Millisecond {
			return fmt.Errorf("the server has ended: %w", err)
		}
		pause = min(2*pause, 200*time.Millisecond)
	}
	return err
}

// end has the keeper end the server. The caller holds process.
func (s *Server) end(signal string) {
	if s.cmd == nil {
		return
	}
	_, _ = io.WriteString(s.control, signal+" keep\n") // it may be gone: then there is nothing to end
	_ = s.control.Close()
	_ = s.cmd.Wait()
	s.cmd = nil
}

// Stop shuts the server down: connections are told so and closed.
func (s *Server) Stop(t testing.TB) { t.Helper(); s.stop(t, "INT") }

// Kill ends the server with SIGKILL.
func (s *Server) Kill(t testing.TB) { t.Helper(); s.stop(t, "KILL") }

func (s *Server) stop(t testing.TB, signal string) {
	t.Helper()
	s.process.Lock()
	defer s.process.Unlock()
	if s.cmd == nil {
		t.Fatal("pgtest: the server does not run")
	}
	s.end(signal)
}

// Restart starts a server again that was stopped or killed, from now on with
// these settings (name=value) besides its own.
func (s *Server) Restart(t testing.TB, settings ...string) {
	t.Helper()
	s.process.Lock()
	for _, setting := range settings {
		s.set = append(s.set, "-c", setting)
	}
	s.process.Unlock()
	if err := s.start(); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
}

// File writes a file that only the server may read, and returns its path.
func (s *Server) File(t testing.TB, name string, data []byte) (path string) {
	t.Helper()
	path = filepath.Join(s.dir, name)
	err := os.WriteFile(path, data, 0o600)
	who, werr := unprivileged()
	if err = errors.Join(err, werr); err == nil && who != nil {
		err = os.Chown(path, int(who.Uid), int(who.Gid))
	}
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	return path
}

func (s *Server) running() bool {
	s.process.Lock()
	defer s.process.Unlock()
	return s.cmd != nil
}

// remove ends the server and all that it was.
func (s *Server) remove() {
	s.process.Lock()
	defer s.process.Unlock()
	s.end("QUIT")
	_ = os.RemoveAll(s.dir)
}
