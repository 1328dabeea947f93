package workload

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func uidText() string { return strconv.Itoa(os.Geteuid()) }

const nobody = 65534

// needRoot skips a test that needs another user; CI runs as root.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can start a process of another user")
	}
}

// program copies the test binary to a path of its own, where all may run it.
func program(t *testing.T, dir, name string) string {
	t.Helper()
	in, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	path := filepath.Join(dir, name)
	out, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Chmod(0o755), out.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// helper is a process of the test's own; see helper_linux_test.go.
type helper struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Scanner
	lent  *net.UnixConn // on which "lend" sends its connection
	ended bool
}

// launch starts a helper. attr may be nil.
func launch(t *testing.T, path, mode, socket string, attr *syscall.SysProcAttr, env ...string) *helper {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	mine, theirs := os.NewFile(uintptr(pair[0]), "mine"), os.NewFile(uintptr(pair[1]), "theirs")
	defer mine.Close()
	defer theirs.Close()
	lent, err := net.FileConn(mine)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lent.Close() })
	cmd := exec.CommandContext(t.Context(), path)
	cmd.Env = append([]string{helperMode + "=" + mode, helperSocket + "=" + socket, "GORACE=atexit_sleep_ms=0"}, env...)
	cmd.Dir, cmd.Stderr, cmd.SysProcAttr, cmd.ExtraFiles = "/", os.Stderr, attr, []*os.File{theirs}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	h := &helper{cmd: cmd, in: in, out: bufio.NewScanner(out), lent: lent.(*net.UnixConn)}
	t.Cleanup(h.end)
	return h
}

// end tells the helper to end, and waits.
func (h *helper) end() {
	if !h.ended {
		h.ended = true
		_ = h.in.Close()
		_ = h.cmd.Wait()
	}
}

// tell sends an order and waits for the answer.
func (h *helper) tell(t *testing.T, order, want string) {
	t.Helper()
	if order != "" {
		if _, err := fmt.Fprintln(h.in, order); err != nil {
			t.Fatal(err)
		}
	}
	if !h.out.Scan() || h.out.Text() != want {
		t.Fatalf("the helper says %q (%v) to %q, want %q", h.out.Text(), h.out.Err(), order, want)
	}
}

// answers returns what a helper that fetches got first.
func (h *helper) answers(t *testing.T) answer {
	t.Helper()
	var a answer
	if !h.out.Scan() {
		t.Fatalf("the helper says nothing: %v", h.out.Err())
	}
	if err := json.Unmarshal(h.out.Bytes(), &a); err != nil {
		t.Fatalf("%s: %v", h.out.Text(), err)
	}
	return a
}

// borrow takes the connection that a helper has opened.
func (h *helper) borrow(t *testing.T) net.Conn {
	t.Helper()
	b, oob := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := h.lent.ReadMsgUnix(b, oob)
	if err != nil {
		t.Fatal(err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(messages) != 1 {
		t.Fatalf("%d messages, %v", len(messages), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		t.Fatalf("%d files, %v", len(fds), err)
	}
	f := os.NewFile(uintptr(fds[0]), "lent")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestOtherPrograms(t *testing.T) {
	dir := runFolder(t)
	orders, other := program(t, dir, "orders"), program(t, dir, "other")
	r := start(t, newAuthority(t, time.Hour), Limits{}, Entry{"orders", map[string][]string{"path": {orders}}})
	for _, c := range []struct {
		path string
		want answer
	}{
		{orders, answer{"OK", []string{"orders"}}},
		{other, answer{"PermissionDenied", nil}}, // the same bytes elsewhere
	} {
		if got := launch(t, c.path, "fetch", r.path, nil).answers(t); got.Code != c.want.Code || !slices.Equal(got.Hints, c.want.Hints) {
			t.Errorf("%s: %+v, want %+v", c.path, got, c.want)
		}
	}
	wantText(t, r.log.String(), "path is "+other+", wants "+orders)

	h := launch(t, orders, "fetch", r.path, nil)
	if got := h.answers(t); got.Code != "OK" {
		t.Fatalf("positive control: %+v", got)
	}
	if err := os.Rename(other, orders); err != nil { // an upgrade
		t.Fatal(err)
	}
	r.Refresh()
	if got := h.answers(t); got.Code != "PermissionDenied" {
		t.Errorf("a replaced executable: %+v, want PermissionDenied", got)
	}
	wantText(t, r.log.String(), "orders (deleted), wants")
	if got := launch(t, orders, "fetch", r.path, nil).answers(t); got.Code != "OK" {
		t.Errorf("the new executable: %+v, want OK", got)
	}
}

// TestPathOfAnotherMountNamespace is a process that has put a file of its own
// under the path of a service, where only it sees that.
func TestPathOfAnotherMountNamespace(t *testing.T) {
	needRoot(t)
	dir := runFolder(t)
	orders, other := program(t, dir, "orders"), program(t, dir, "other")
	r := start(t, newAuthority(t, time.Hour), Limits{}, Entry{"orders", map[string][]string{"path": {orders}}})
	if got := launch(t, orders, "fetch", r.path, nil).answers(t); got.Code != "OK" {
		t.Fatalf("positive control: %+v", got)
	}
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if got := launch(t, orders, "shadow", r.path, attr, helperTarget+"="+orders).answers(t); got.Code != "OK" {
		t.Fatalf("positive control, the same file in another mount namespace: %+v", got)
	}
	if got := launch(t, other, "shadow", r.path, attr, helperTarget+"="+orders).answers(t); got.Code != "PermissionDenied" {
		t.Errorf("another file under the path: %+v, want PermissionDenied", got)
	}
	wantText(t, r.log.String(), "attested.path="+orders, "it has another inode")
}

func TestOtherUsers(t *testing.T) {
	needRoot(t)
	path := program(t, runFolder(t), "service")
	r := start(t, newAuthority(t, time.Hour), Limits{},
		Entry{Service: "own"},
		Entry{"user", map[string][]string{"uid": {"65534"}}},
		Entry{"group", map[string][]string{"gid": {"4711"}}},
		Entry{"both", map[string][]string{"uid": {"65534"}, "gid": {"4711"}, "path": {path}}})
	for _, c := range []struct {
		name string
		cred *syscall.Credential
		want answer
	}{
		{"root", nil, answer{"OK", []string{"own"}}},
		{"nobody", &syscall.Credential{Uid: nobody, Gid: nobody}, answer{"OK", []string{"user"}}},
		{"with a group", &syscall.Credential{Uid: nobody, Gid: nobody, Groups: []uint32{4710, 4711}}, answer{"OK", []string{"user", "group", "both"}}},
		{"group alone", &syscall.Credential{Uid: 4712, Gid: 4711}, answer{"OK", []string{"group"}}},
		{"stranger", &syscall.Credential{Uid: 4712, Gid: 4712, Groups: []uint32{65534}}, answer{"PermissionDenied", nil}},
	} {
		got := launch(t, path, "fetch", r.path, &syscall.SysProcAttr{Credential: c.cred}).answers(t)
		if got.Code != c.want.Code || !slices.Equal(got.Hints, c.want.Hints) {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
	wantText(t, r.log.String(), "attested.uid=4712")
}

// TestProcessThatChanges is a connection that outlives what it was opened as:
// somebody else holds it, and the process ends or becomes another.
func TestProcessThatChanges(t *testing.T) {
	dir := runFolder(t)
	path, other := program(t, dir, "orders"), program(t, dir, "other")
	for _, c := range []struct {
		name   string
		change func(*testing.T, *helper)
	}{
		{"it ends", func(_ *testing.T, h *helper) { h.end() }},
		{"it starts another program", func(t *testing.T, h *helper) { h.tell(t, "exec "+other, "ready") }},
		{"it becomes another user", func(t *testing.T, h *helper) {
			needRoot(t)
			h.tell(t, "setuid 65534", "done")
		}},
		{"it becomes another group", func(t *testing.T, h *helper) {
			needRoot(t)
			h.tell(t, "setgid 65534", "done")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			// Whatever it becomes fits too: the connection is what is no longer good.
			r := start(t, newAuthority(t, time.Hour), Limits{},
				Entry{"orders", map[string][]string{"path": {path}}}, Entry{"other", map[string][]string{"uid": {uidText(), "65534"}}})
			h := launch(t, path, "lend", r.path, nil)
			api, _ := r.connect(t, h.borrow(t))
			stream := open(t, api)
			receive(t, stream, "orders", "other") // the positive control: it speaks for who opened it
			c.change(t, h)
			if !h.ended { // the kernel tells of an end, and of nothing else
				r.Refresh()
			}
			refused(t, stream, codes.Unavailable)
			var refusal error
			for waiting := asked(t); !strings.Contains(errText(refusal), errLent.Error()); { // until the client dials again
				if waiting.Err() != nil {
					t.Fatalf("the connection is still open: %v", refusal)
				}
				again, err := api.FetchX509SVID(waiting, &workload.X509SVIDRequest{})
				if refusal = err; err == nil {
					_, refusal = again.Recv()
				}
				if status.Code(refusal) != codes.Unavailable {
					t.Fatalf("another stream: %v, want Unavailable", refusal)
				}
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
}

// TestProcessThatEndedBefore connects and ends before the server accepts: its
// number may be another's by then.
func TestProcessThatEndedBefore(t *testing.T) {
	path := program(t, runFolder(t), "orders")
	socket := filepath.Join(runFolder(t), "w.sock")
	l, err := Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	h := launch(t, path, "lend", socket, nil)
	_ = h.borrow(t)
	living, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer living.Close()
	p, err := identify(living)
	if err != nil {
		t.Fatalf("positive control: %v", err)
	}
	defer p.close()
	if p.pid != h.cmd.Process.Pid {
		t.Errorf("pid %d, want %d", p.pid, h.cmd.Process.Pid)
	}
	f, err := p.attest()
	if err != nil || f.path != path {
		t.Errorf("attested %+v, %v, want path %s", f, err, path)
	}

	second := launch(t, path, "lend", socket, nil)
	_ = second.borrow(t)
	second.end()
	dead, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Close()
	if _, err := identify(dead); err == nil {
		t.Error("a process that has ended is identified")
	}

	h.end()
	p.wait() // it returns
	if err := p.alive(); !errors.Is(err, errGone) {
		t.Errorf("alive after the end: %v, want %v", err, errGone)
	}
	if _, err := openPidfd(p.pid); !errors.Is(err, errGone) {
		t.Errorf("the pidfd of a number of nobody: %v, want %v", err, errGone)
	}
}

// TestNumberGivenOutAgain is a process that ended, and whose number is another's
// who fits.
func TestNumberGivenOutAgain(t *testing.T) {
	s, err := New(Config{Zone: testZone, Issuer: newAuthority(t, time.Hour), UID: os.Geteuid(), Entries: []Entry{{Service: "orders"}}})
	if err != nil {
		t.Fatal(err)
	}
	rules, _ := s.current()
	h := launch(t, program(t, runFolder(t), "other"), "idle", "", nil)
	h.tell(t, "", "ready")
	for _, ended := range []bool{false, true} {
		fd, err := openPidfd(h.cmd.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		p, err := hold(fd)
		if err != nil {
			t.Fatal(err)
		}
		defer p.close()
		p.uid, p.gid = uint32(os.Geteuid()), uint32(os.Getegid())
		p.pid = os.Getpid() // it has its number now
		_ = p.executable.Close()
		if p.executable, p.file, err = openExecutable(p.pid); err != nil {
			t.Fatal(err)
		}
		if ended {
			h.end()
		}
		_, names, err := s.judge(&caller{UnixConn: &net.UnixConn{}, process: p, leave: func() {}}, rules)
		if (len(names) == 1) == ended || errors.Is(err, errAgain) != ended {
			t.Errorf("ended %v: %v, %v, want the service only while it lives", ended, names, err)
		}
	}
}

// TestOldKernels is the way of kernels before 6.5.
func TestOldKernels(t *testing.T) {
	path := program(t, runFolder(t), "orders")
	h := launch(t, path, "idle", "", nil)
	h.tell(t, "", "ready")
	fd, err := openPidfd(h.cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	p, err := hold(fd)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if p.pid != h.cmd.Process.Pid || p.file == "" {
		t.Errorf("pid %d, file %q, want %d and a file", p.pid, p.file, h.cmd.Process.Pid)
	}
	if _, err := openPidfd(0); !errors.Is(err, errGone) {
		t.Errorf("pid 0: %v, want %v", err, errGone)
	}
	h.end()
	if err := p.alive(); !errors.Is(err, errGone) {
		t.Errorf("alive after the end: %v, want %v", err, errGone)
	}
}
