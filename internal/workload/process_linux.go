package workload

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

var (
	errGone    = errors.New("the process that opened the connection has ended")
	errChanged = errors.New("the process is another user or another program than when it connected")
)

// supported says whether the kernel can tell who connects.
func supported() error {
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return fmt.Errorf("the kernel has no pidfd (Linux 5.3): %w", err)
	}
	return unix.Close(fd)
}

// process is the process that opened a connection.
type process struct {
	pid      int
	uid, gid uint32 // effective, when it connected

	pidfd *os.File // non-blocking; it is this process and never another of its number

	// executable is the file that it ran at accept (O_PATH), which pins the
	// inode: file stays another's as long as it is open. nil: not to be seen.
	executable *os.File
	file       string // names the executable among all that exist; empty: not to be seen
	noFile     string // why
}

// identify asks the kernel who opened a connection (unix(7), SO_PEERCRED and
// SO_PEERPIDFD: both of the moment of connect).
func identify(c *net.UnixConn) (*process, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	var pidfd int
	var failed error
	if err := raw.Control(func(fd uintptr) {
		if cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); failed == nil { // #nosec G115 -- a file descriptor is small
			pidfd, failed = peerPidfd(int(fd), int(cred.Pid)) // #nosec G115 -- likewise
		}
	}); err != nil {
		return nil, err
	}
	if failed != nil {
		return nil, failed
	}
	p, err := hold(pidfd)
	if err != nil {
		return nil, err
	}
	p.uid, p.gid = cred.Uid, cred.Gid
	if p.pid != int(cred.Pid) {
		p.close()
		return nil, fmt.Errorf("the process has pid %d for the socket and %d in /proc: another pid namespace", cred.Pid, p.pid)
	}
	return p, nil
}

// peerPidfd returns a pidfd of the process that connected.
func peerPidfd(fd, pid int) (int, error) {
	pidfd, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEERPIDFD)
	switch {
	case err == nil:
		return pidfd, nil
	case errors.Is(err, unix.ENOPROTOOPT): // Linux before 6.5
		return openPidfd(pid)
	default: // it has ended, and its number is given back
		return 0, fmt.Errorf("%w: %w", errGone, err)
	}
}

// openPidfd returns a pidfd by number. Between connect and here the number may
// have been given to another process; that it begins only now is seen by its
// start time. Linux 6.5 closes what is left of the gap.
func openPidfd(pid int) (int, error) {
	if pid <= 0 {
		return 0, fmt.Errorf("%w: pid %d", errGone, pid)
	}
	before, err := startTime(pid)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errGone, err)
	}
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errGone, err)
	}
	after, err := startTime(pid)
	if err != nil || before != after {
		return 0, errors.Join(errGone, err, unix.Close(pidfd))
	}
	return pidfd, nil
}

// hold takes over a pidfd. What it reads by number is of this process if alive
// says so afterwards.
func hold(pidfd int) (*process, error) {
	if err := unix.SetNonblock(pidfd, true); err != nil { // for the poller of the runtime
		return nil, errors.Join(err, unix.Close(pidfd))
	}
	p := &process{pidfd: os.NewFile(uintptr(pidfd), "pidfd")} // #nosec G115 -- a file descriptor is not negative
	pid, err := pidOf(pidfd)
	if err != nil {
		p.close()
		return nil, err
	}
	p.pid = pid
	if p.executable, p.file, err = openExecutable(pid); err != nil {
		p.noFile = err.Error()
	}
	return p, nil
}

// alive says whether the process has not ended.
func (p *process) alive() error {
	raw, err := p.pidfd.SyscallConn()
	if err != nil {
		return fmt.Errorf("%w: %w", errGone, err)
	}
	ended := true
	if err := raw.Control(func(fd uintptr) { ended = hasEnded(fd) }); err != nil || ended {
		return errGone
	}
	return nil
}

// hasEnded polls a pidfd: it is readable when the process has ended, whether or
// not its parent has asked how (pidfd_open(2)).
func hasEnded(fd uintptr) bool {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0) // #nosec G115 -- a file descriptor is small
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return err != nil || n != 0
	}
}

// wait returns when the process has ended or close was called.
func (p *process) wait() {
	if raw, err := p.pidfd.SyscallConn(); err == nil {
		_ = raw.Read(hasEnded) // it rests in the poller of the runtime, not in a thread
	}
}

// close lets go of the process.
func (p *process) close() {
	_ = p.pidfd.Close()
	if p.executable != nil {
		_ = p.executable.Close()
	}
}

// attest reads what the process is now. What it returns was read of this
// process if alive says so afterwards.
func (p *process) attest() (facts, error) {
	f := facts{pid: p.pid, uid: p.uid, gid: p.gid, noPath: p.noFile}
	text, err := readProc(p.pid, "status")
	if err != nil {
		return f, fmt.Errorf("attest: %w", err)
	}
	st, err := parseStatus(text)
	if err != nil {
		return f, fmt.Errorf("attest: %w", err)
	}
	f.groups = st.groups
	if st.uid != p.uid || st.gid != p.gid {
		return f, errChanged
	}
	now, file, err := openExecutable(p.pid)
	if err == nil {
		_ = now.Close()
	}
	if file != p.file {
		return f, errChanged
	}
	if p.executable == nil {
		return f, nil
	}
	if f.path, err = os.Readlink(procPath(p.pid, "exe")); err != nil {
		f.noPath = err.Error()
		return f, nil
	}
	f.executable = p.executable
	return f, nil
}

// openExecutable opens the file that a process executes, without asking its
// file system anything, and names it by inode and mount. The name is unique
// while the file is open.
func openExecutable(pid int) (*os.File, string, error) {
	fd, err := unix.Open(procPath(pid, "exe"), unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, "", os.NewSyscallError("open executable", err)
	}
	file := os.NewFile(uintptr(fd), "executable") // #nosec G115 -- a file descriptor is not negative
	text, err := readFDInfo(fd)
	if err != nil {
		return nil, "", errors.Join(err, file.Close())
	}
	ino, okIno := field(text, "ino:")
	mount, okMount := field(text, "mnt_id:")
	if !okIno || !okMount {
		return nil, "", errors.Join(errors.New("the kernel does not tell the inode (Linux 5.14)"), file.Close())
	}
	return file, mount + ":" + ino, nil
}

func procPath(pid int, name string) string { return "/proc/" + strconv.Itoa(pid) + "/" + name }

// maxProc bounds what is read of a file in /proc: 65536 groups fit.
const maxProc = 1 << 20

func readProc(pid int, name string) (string, error) { return readBounded(procPath(pid, name)) }

func readFDInfo(fd int) (string, error) {
	return readBounded("/proc/self/fdinfo/" + strconv.Itoa(fd))
}

func readBounded(path string) (string, error) {
	f, err := os.Open(path) // #nosec G304 -- a path in /proc by number
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxProc))
	return string(b), err
}

func startTime(pid int) (uint64, error) {
	text, err := readProc(pid, "stat")
	if err != nil {
		return 0, err
	}
	return parseStart(text)
}

func pidOf(pidfd int) (int, error) {
	text, err := readFDInfo(pidfd)
	if err != nil {
		return 0, err
	}
	return parsePid(text)
}
