package workload

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// facts are what was attested of a process.
type facts struct {
	pid      int
	uid, gid uint32   // effective
	groups   []uint32 // supplementary
	path     string   // of the executable, without links; empty: unknown
	noPath   string   // why the path is unknown

	// executable is the file that runs; nil where path is unknown.
	executable interface{ Stat() (os.FileInfo, error) }
	looks      looks
}

func (f facts) inGroup(id uint32) bool { return id == f.gid || slices.Contains(f.groups, id) }

func (f facts) groupText() string {
	text := strconv.FormatUint(uint64(f.gid), 10)
	if len(f.groups) > 0 {
		text += " (" + f.supplementary() + ")"
	}
	return text
}

// supplementary lists the groups; of very many the first.
func (f facts) supplementary() string {
	const most = 32
	var b strings.Builder
	for i, g := range f.groups {
		if i == most {
			b.WriteString(" ...")
			break
		}
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(strconv.FormatUint(uint64(g), 10))
	}
	return b.String()
}

// LogValue is what an operator compares with the map.
func (f facts) LogValue() slog.Value {
	path := f.path
	if path == "" {
		path = "unknown: " + f.noPath
	}
	return slog.GroupValue(slog.Int("pid", f.pid), slog.Uint64("uid", uint64(f.uid)), slog.Uint64("gid", uint64(f.gid)),
		slog.String("groups", f.supplementary()), slog.String("path", path))
}

const (
	lookTime = 2 * time.Second
	maxLooks = 16
)

// looks are places for looks at files of strangers. A file system in user space
// can let one wait for as long as it likes, and with it a thread; those that
// wait are given up, but keep their place.
type looks chan struct{}

func newLooks() looks { return make(looks, maxLooks) }

// runs says whether the executable is the very file that path means here: in a
// mount namespace of its own a process can have any file under any path.
func (f facts) runs(path string) error {
	if f.executable == nil {
		return errors.New("the file is unknown")
	}
	type answer struct {
		same bool
		err  error
	}
	select {
	case f.looks <- struct{}{}:
	default:
		return errors.New("too many file systems do not answer")
	}
	answered := make(chan answer, 1)
	go func() {
		defer func() { <-f.looks }()
		running, err := f.executable.Stat()
		if err != nil {
			answered <- answer{err: err}
			return
		}
		meant, err := os.Stat(path)
		answered <- answer{err == nil && os.SameFile(running, meant), err}
	}()
	t := time.NewTimer(lookTime)
	defer t.Stop()
	select {
	case a := <-answered:
		if a.err == nil && !a.same {
			a.err = errors.New("it has another inode")
		}
		return a.err
	case <-t.C:
		return fmt.Errorf("its file system does not answer within %s", lookTime)
	}
}
