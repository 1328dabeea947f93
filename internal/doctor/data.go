package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The names in a data folder.
const (
	databaseName = "zone.db"
	lockName     = "lock"
	adminName    = "admin.sock"
	workloadName = "workload.sock"
	rootCertName = "ca.pem"
)

// maxSocket is the longest path of a unix socket in bytes (unix(7)).
const maxSocket = 107

// data checks the data folder, what lies in it, and the root key.
func (e *examination) data(ctx context.Context) {
	owner, there := e.folder()
	if there {
		e.contents(owner)
		e.lock(ctx)
	}
	e.rootKey(owner, there)
	e.runFolder()
}

// entry is a file with its owner.
type entry struct {
	fs.FileInfo
	uid int
}

func lstat(path string) (entry, error) { return statBy(os.Lstat, path) }

func statBy(stat func(string) (fs.FileInfo, error), path string) (entry, error) {
	info, err := stat(path)
	if err != nil {
		return entry{}, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return entry{}, errors.ErrUnsupported
	}
	return entry{info, int(st.Uid)}, nil
}

// folder returns who owns the data folder, and whether it is there.
func (e *examination) folder() (owner int, there bool) {
	const name = "data folder"
	path, err := filepath.Abs(e.Data)
	if err != nil {
		e.unknown(name, "", "%v", err)
		return e.Host.UID, false
	}
	if n := len(filepath.Join(path, adminName)); n > maxSocket {
		e.fail(name, "name one with a shorter path with --data", "the path of its admin socket has %d bytes, a socket takes at most %d", n, maxSocket)
		return e.Host.UID, false
	}
	d, err := statBy(os.Stat, path)
	if errors.Is(err, fs.ErrNotExist) {
		at := nearest(path)
		if err := unix.Access(at, unix.W_OK); err != nil {
			e.fail(name, "make it: install -d -m 700 -o USER "+path, "%s is not there yet, and cannot be made in %s: %v", path, at, err)
			return e.Host.UID, false
		}
		e.ok(name, "%s is not there yet; `serve` can make it in %s", path, at)
		return e.Host.UID, false
	}
	switch {
	case err != nil:
		e.unknown(name, "run this as the user of the zone", "%v", err)
		return e.Host.UID, false
	case !d.IsDir():
		e.fail(name, "name a folder with --data", "%s is no folder", path)
		return e.Host.UID, false
	case e.Host.UID != 0 && d.uid != e.Host.UID:
		e.fail(name, "run as its owner, or chown -R it to the user of the zone", "%s belongs to uid %d, this is uid %d", path, d.uid, e.Host.UID)
		return d.uid, false
	case d.Mode().Perm()&0o077 != 0:
		e.fail(name, "chmod 700 "+path, "%s has mode %04o: others can look into it", path, d.Mode().Perm())
		return d.uid, true
	}
	if up, err := statBy(os.Stat, filepath.Dir(path)); err == nil && up.Mode().Perm()&0o022 != 0 && up.Mode()&fs.ModeSticky == 0 {
		e.fail(name, "chmod go-w "+filepath.Dir(path), "others may write to %s: they can put another folder in its place", filepath.Dir(path))
		return d.uid, true
	}
	e.ok(name, "%s, mode %04o, of uid %d", path, d.Mode().Perm(), d.uid)
	return d.uid, true
}

// maxListed bounds the entries of a folder that are looked at.
const maxListed = 100_000

// contents looks for files that are another's, or open to others.
func (e *examination) contents(owner int) {
	const name = "files"
	var wrong []string
	seen, mend := 0, ""
	root, err := filepath.EvalSymlinks(e.Data) // a link to it is as good
	if err != nil {
		e.unknown(name, "run this as the user of the zone", "%v", err)
		return
	}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if seen++; seen > maxListed || len(wrong) >= 5 {
			return fs.SkipAll
		}
		info, err := lstat(path)
		if errors.Is(err, fs.ErrNotExist) { // gone meanwhile
			return nil
		}
		if err != nil {
			return err
		}
		may := fs.FileMode(0o077)
		if filepath.Base(path) == rootCertName {
			may = 0o022 // it is for clients to read
		}
		switch {
		case d.Type() == fs.ModeSymlink:
		case info.uid != owner:
			wrong, mend = append(wrong, fmt.Sprintf("%s belongs to uid %d", path, info.uid)), fmt.Sprintf("chown -R %d %s", owner, e.Data)
		case info.Mode().Perm()&may != 0 && path != root:
			wrong = append(wrong, fmt.Sprintf("%s has mode %04o", path, info.Mode().Perm()))
			if mend == "" {
				mend = "chmod -R go-rwx " + e.Data + " && chmod 644 " + filepath.Join(e.Data, rootCertName)
			}
		}
		return nil
	})
	switch {
	case len(wrong) > 0:
		e.fail(name, mend, "%s", strings.Join(wrong, "; "))
	case err != nil:
		e.unknown(name, "run this as the user of the zone", "%v", err)
	case seen > maxListed:
		e.unknown(name, "", "the first %d are of uid %d and private; there are more", maxListed, owner)
	default:
		e.ok(name, "%d, all of uid %d and private", seen, owner)
	}
}

// lock tells which process has the folder, and of sockets that a process left
// which was killed.
func (e *examination) lock(ctx context.Context) {
	const name = "lock"
	path := filepath.Join(e.Data, lockName)
	if e.Running != nil {
		e.ok(name, "the running zone answers on its admin socket%s", pidText(e.Running.PID))
		return
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		e.ok(name, "no zone was ever started here")
		return
	}
	if e.Host.Locked == nil {
		e.unknown(name, "", "this system does not say who has it")
		return
	}
	held, err := e.Host.Locked(path)
	switch {
	case err != nil:
		e.unknown(name, "run this as the user of the zone", "%v", err)
	case held:
		pid := e.holder(path)
		mend := "see its log; end it before another can start"
		if pid != 0 {
			mend = fmt.Sprintf("see its log; to end it: kill %d", pid)
		}
		why := ""
		if e.RunningErr != nil {
			why = ": " + e.RunningErr.Error()
		}
		e.fail(name, mend, "a process%s has the folder and does not answer on the admin socket%s", pidText(pid), why)
	default:
		e.ok(name, "no process has the folder")
		e.leftOver(ctx, filepath.Join(e.Data, adminName))
	}
}

// holder finds the process of a lock in /proc/locks by the file's inode; 0: not
// to be told, as of a process in another container.
func (e *examination) holder(path string) int {
	info, err := os.Stat(path)
	if err != nil || e.Host.ReadFile == nil {
		return 0
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	b, err := e.Host.ReadFile("/proc/locks")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		// 1: FLOCK  ADVISORY  WRITE 708 08:01:1234 0 EOF
		f := strings.Fields(line)
		if len(f) >= 6 && f[1] == "FLOCK" && strings.HasSuffix(f[5], ":"+strconv.FormatUint(st.Ino, 10)) {
			if pid, err := strconv.Atoi(f[4]); err == nil && pid > 0 {
				return pid
			}
		}
	}
	return 0
}

func pidText(pid int) string {
	if pid == 0 {
		return ""
	}
	return " (pid " + strconv.Itoa(pid) + ")"
}

// leftOver tells of a socket that nobody serves.
func (e *examination) leftOver(ctx context.Context, path string) {
	info, err := os.Lstat(path)
	if err != nil || e.Host.Dial == nil {
		return
	}
	name := filepath.Base(path)
	if info.Mode().Type() != fs.ModeSocket {
		e.fail(name, "mv "+path+" elsewhere", "%s is there and is no socket", path)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, e.Host.dialTime())
	defer cancel()
	c, err := e.Host.Dial(ctx, "unix", path)
	if err == nil {
		_ = c.Close() // nothing was said
		return
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		e.warn(name, "nothing: the next `serve` puts its own there", "%s was left by a process that was killed", path)
		return
	}
	e.unknown(name, "run this as the user of the zone", "%s: %v", path, err)
}
