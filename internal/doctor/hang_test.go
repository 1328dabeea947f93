package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
)

// TestNoFIFOHoldsUs: a FIFO in the place of a file is told of, with a writer that
// never ends it and without.
func TestNoFIFOHoldsUs(t *testing.T) {
	for _, c := range []struct{ file, part, name string }{
		{"data/zone.db", "store", "sqlite"},
		{"data/zone.db-wal", "store", "sqlite"},
		{"data/ca.pem", "certificates", "root"},
		{"data/lock", "data", "lock"},
		{"data.root", "data", "root key"},
		{"pg.url", "store", "postgres url"},
	} {
		for _, writer := range []bool{false, true} {
			p := newPatient(t)
			if c.name == "sqlite" {
				p.Zone.Store.Postgres, p.Engines.SQLite = nil, AskSQLite
			}
			p.Host.Locked = ThisHost().Locked
			if p.Host.Locked == nil && c.name == "lock" {
				continue
			}
			p.remove(c.file)
			if err := syscall.Mkfifo(p.path(c.file), 0o600); err != nil {
				t.Fatal(err)
			}
			if writer {
				w, err := os.OpenFile(p.path(c.file), os.O_RDWR, 0)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = w.Close() })
			}
			if f := p.examine(c.part, c.name); f.State == OK || f.State == Warn || !strings.Contains(f.Found, "no regular file") {
				t.Errorf("%s, writer %t: %s, %q, want that it is no regular file", c.file, writer, f.State, f.Found)
			}
		}
	}
}

// TestAPartThatHangs ends with its context, and the parts before it are told.
func TestAPartThatHangs(t *testing.T) {
	p := newPatient(t)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), doctorTime)
		defer cancel()
		dead := make(chan struct{})
		defer close(dead)
		c := p.Config
		c.Host.Disk = func(string) (Disk, error) {
			<-dead // a network file system without its server
			return Disk{}, errors.ErrUnsupported
		}
		got := map[string]Finding{}
		for _, f := range Examine(ctx, c).Findings {
			got[f.Part+"/"+f.Name] = f
		}
		if f := got["disk/not examined"]; f.State != Unknown || !strings.Contains(f.Found, "no answer") {
			t.Errorf("disk: %+v", f)
		}
		if f := got["host/kernel"]; f.State != OK {
			t.Errorf("host: %+v, want what was found before", f)
		}
	})
}

const doctorTime = 3 * 60e9 // as the command line gives

// TestNamesOfOthers: who names a file, a process or an error writes no line of the
// report, and nothing to the terminal.
func TestNamesOfOthers(t *testing.T) {
	p := newPatient(t)
	p.write("data/a\nok\x1b]0;owned\a\x1b[2K\u202ehere", "", 0o644)
	f := p.examine("data", "files")
	if f.State != Fail || !strings.Contains(f.Found, "here has mode 0644") {
		t.Errorf("positive control: %+v", f)
	}
	if strings.ContainsAny(f.Found+f.Mend, "\n\x1b\a\u202e") {
		t.Errorf("as it came: %q", f.Found)
	}
}

// TestAZoneThatIsStopped has its ports and its database: both are told as its own.
func TestAZoneThatIsStopped(t *testing.T) {
	p := newPatient(t)
	p.Zone.Store.Postgres = nil
	p.RunningErr = errors.New("no answer in 5s")
	p.locked, p.listen = true, fmt.Errorf("bind: %w", syscall.EADDRINUSE)
	info, err := os.Stat(filepath.Join(p.Data, lockName))
	if err != nil {
		t.Fatal(err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		t.Skip("no inodes here")
	}
	p.files["/proc/locks"] = fmt.Sprintf("1: FLOCK  ADVISORY  WRITE 4711 08:01:%d 0 EOF\n", st.Ino)
	p.files["/proc/net/tcp"] = "   0: 0100007F:20FB 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 777 1 0 100 0 0 10 0\n"
	p.Host.ReadDir = func(path string) ([]string, error) {
		return map[string][]string{"/proc": {"4711"}, "/proc/4711/fd": {"3"}}[path], nil
	}
	p.Host.Readlink = func(string) (string, error) { return "socket:[777]", nil }
	p.files["/proc/4711/comm"] = "sallyport\n"
	p.Engines.SQLite = func(context.Context, string, bool) (SQLite, error) { return SQLite{}, io.ErrUnexpectedEOF }

	if f := p.examine("ports", "listener public"); f.State != Unknown || !strings.Contains(f.Found, "this zone") || strings.Contains(f.Mend, "end that process") {
		t.Errorf("its port: %+v, want that it is the zone's own", f)
	}
	if f := p.examine("store", "sqlite"); f.State != Unknown {
		t.Errorf("its database: %+v, want that it was not read", f)
	}
	if f := p.examine("data", "lock"); f.State != Fail || !strings.Contains(f.Found, "4711") {
		t.Errorf("its lock: %+v", f)
	}
	p.files["/proc/locks"] = strings.Replace(p.files["/proc/locks"], "4711", "4712", 1)
	if f := p.examine("ports", "listener public"); f.State != Fail || !strings.Contains(f.Mend, "end that process") {
		t.Errorf("another's port: %+v, want a failure", f)
	}
}
