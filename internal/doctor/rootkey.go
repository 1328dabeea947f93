package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// rootKey checks the key that seals the folder, without reading it.
func (e *examination) rootKey(owner int, there bool) {
	const name = "root key"
	if inside(e.RootKey, e.Data) {
		e.fail(name, "mv "+e.RootKey+" "+filepath.Clean(e.Data)+".root, on another disk or backup if you can, and name it with --root-key", "%s lies in the data folder: who copies the folder has the key", e.RootKey)
		return
	}
	k, err := lstat(e.RootKey)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		db, err := os.Stat(filepath.Join(e.Data, databaseName))
		if err == nil && db.Size() > 0 {
			e.fail(name, "bring it back from its backup, or name where it is with --root-key", "%s is not there, and the database is: what is sealed in it cannot be opened", e.RootKey)
			return
		}
		if there && err != nil && !errors.Is(err, fs.ErrNotExist) {
			e.unknown(name, "run this as the user of the zone", "%v", err)
			return
		}
		e.ok(name, "neither key nor database is there yet: `serve` makes both")
	case err != nil:
		e.unknown(name, "run this as the user of the zone", "%v", err)
	case !k.Mode().IsRegular():
		e.fail(name, "name the file itself with --root-key", "%s is no regular file", e.RootKey)
	case k.uid != owner:
		e.fail(name, fmt.Sprintf("chown %d %s", owner, e.RootKey), "%s belongs to uid %d, the data folder to uid %d", e.RootKey, k.uid, owner)
	case k.Mode().Perm()&0o077 != 0:
		e.fail(name, "chmod 600 "+e.RootKey+", if nobody has read it; else make a new zone", "%s has mode %04o: others can read it", e.RootKey, k.Mode().Perm())
	case k.Size() == 0:
		e.fail(name, "bring it back from its backup", "%s is empty", e.RootKey)
	default:
		e.ok(name, "%s, mode %04o, apart from the data folder", e.RootKey, k.Mode().Perm())
	}
}

// inside says whether a path lies in a folder, links resolved as far as they are there.
func inside(path, folder string) bool {
	real := func(p string) string {
		p, err := filepath.Abs(p)
		if err != nil {
			return p
		}
		at := nearest(p)
		resolved, err := filepath.EvalSymlinks(at)
		if err != nil {
			return p
		}
		return filepath.Join(resolved, strings.TrimPrefix(p, at))
	}
	p, f := real(path), real(folder)
	return p == f || strings.HasPrefix(p, f+string(os.PathSeparator))
}

// runFolder checks where the Workload API's socket lies, in zones that serve it.
func (e *examination) runFolder() {
	const name = "run folder"
	if e.Zone == nil || e.Zone.Control == "" {
		return
	}
	path := filepath.Join(e.Run, workloadName)
	if len(path) > maxSocket {
		e.fail(name, "name one with a shorter path with --run", "the path of its socket has %d bytes, a socket takes at most %d", len(path), maxSocket)
		return
	}
	d, err := statBy(os.Stat, e.Run)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		at := nearest(e.Run)
		if err := unix.Access(at, unix.W_OK); err != nil {
			e.warn(name, "name one with --run (RuntimeDirectory= in the unit of the zone), or use join tokens", "%s is not there and cannot be made: the Workload API is not served", e.Run)
			return
		}
		e.ok(name, "%s is not there yet; `serve` can make it in %s", e.Run, at)
	case err != nil:
		e.unknown(name, "run this as the user of the zone", "%v", err)
	case d.uid != 0 && d.uid != e.Host.UID && e.Host.UID != 0:
		e.fail(name, "name one of the zone's user with --run", "%s belongs to uid %d, who could put another socket in its place", e.Run, d.uid)
	case d.Mode().Perm()&0o022 != 0:
		e.fail(name, "chmod go-w "+e.Run, "%s has mode %04o: others could put another socket in its place", e.Run, d.Mode().Perm())
	default:
		e.ok(name, "%s, mode %04o, of uid %d", e.Run, d.Mode().Perm(), d.uid)
	}
}
