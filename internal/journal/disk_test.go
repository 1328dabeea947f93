package journal

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

// quick is a folder whose syncs do nothing: the tests that use it take no power away.
type quick struct{ folder }

func (d quick) sync() error { return nil }

func (d quick) create(name string) (file, error) {
	f, err := d.folder.create(name)
	return quickFile{f}, err
}

func (d quick) open(name string) (file, error) {
	f, err := d.folder.open(name)
	return quickFile{f}, err
}

type quickFile struct{ file }

func (quickFile) Sync() error { return nil }

// faulty is a folder that does to the journal what disks do: it can be full, it
// can fail, and it remembers what would be left after a loss of power.
type faulty struct {
	folder
	mu       sync.Mutex
	room     int64         // bytes that may still be allocated or written; -1: no end
	writeErr error         // of each write to a segment
	syncErr  error         // of each sync of a segment
	syncs    int           // of segments
	writes   int           // to segments
	gate     chan struct{} // when set, writes to segments wait for it
	syncGate chan struct{} // likewise syncs

	names   map[string]*node // in the folder
	durable map[string]*node // in the folder, after a loss of power
}

// node is a file by whatever name.
type node struct {
	allocated int64
	synced    []byte // its bytes after a loss of power
}

func newFaulty(dir string) *faulty {
	return &faulty{folder: folder(dir), room: -1, names: map[string]*node{}, durable: map[string]*node{}}
}

func (d *faulty) set(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
}

func (d *faulty) create(name string) (file, error) {
	f, err := d.folder.create(name)
	if err != nil {
		return f, err
	}
	n := &node{}
	d.set(func() { d.names[name] = n })
	return &faultyFile{f, d, n, isSegment(name)}, nil
}

func isSegment(name string) bool {
	return filepath.Ext(name) == logSuffix || filepath.Ext(name) == tempSuffix && filepath.Ext(name[:len(name)-len(tempSuffix)]) == logSuffix
}

func (d *faulty) open(name string) (file, error) {
	f, err := d.folder.open(name)
	if err != nil {
		return f, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.names[name] == nil {
		d.names[name] = &node{}
	}
	return &faultyFile{f, d, d.names[name], isSegment(name)}, nil
}

func (d *faulty) rename(from, to string) error {
	if err := d.folder.rename(from, to); err != nil {
		return err
	}
	d.set(func() {
		d.names[to] = d.names[from]
		delete(d.names, from)
	})
	return nil
}

func (d *faulty) remove(name string) error {
	d.set(func() { delete(d.names, name) })
	return d.folder.remove(name)
}

func (d *faulty) sync() error {
	d.set(func() {
		d.durable = map[string]*node{}
		for name, n := range d.names {
			d.durable[name] = n
		}
	})
	return nil
}

// take uses up room; it fails as a full disk does. The caller holds mu.
func (d *faulty) take(n int64) error {
	if d.room >= 0 && n > d.room {
		return syscall.ENOSPC
	}
	if d.room >= 0 {
		d.room -= n
	}
	return nil
}

// crash returns a folder as it is after a loss of power now. Of each file the
// first extra bytes that were not synced are there too.
func (d *faulty) crash(t *testing.T, extra int) string {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	to := t.TempDir()
	for name, n := range d.durable {
		b := n.synced
		if whole, err := os.ReadFile(filepath.Join(string(d.folder), name)); err == nil && d.names[name] == n && isSegment(name) && len(whole) > len(b) {
			b = whole[:min(len(whole), len(b)+extra)]
		}
		writeFile(t, to, name, b)
	}
	return to
}

type faultyFile struct {
	file
	d       *faulty
	n       *node
	segment bool
}

func (f *faultyFile) allocate(size int64) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.d.take(max(size-f.n.allocated, 0)); err != nil {
		return err
	}
	f.n.allocated = max(size, f.n.allocated)
	return nil
}

func (f *faultyFile) WriteAt(b []byte, off int64) (int, error) {
	f.d.mu.Lock()
	gate, err := f.d.gate, f.d.writeErr
	if !f.segment {
		gate, err = nil, nil
	} else {
		f.d.writes++
	}
	if err == nil {
		if err = f.d.take(max(off+int64(len(b))-f.n.allocated, 0)); err == nil {
			f.n.allocated = max(f.n.allocated, off+int64(len(b)))
		}
	}
	f.d.mu.Unlock()
	if gate != nil {
		<-gate
	}
	if err != nil { // half of it arrives
		n, werr := f.file.WriteAt(b[:len(b)/2], off)
		return n, errors.Join(err, werr)
	}
	return f.file.WriteAt(b, off)
}

// Truncate gives back what was allocated behind the new end, as ext4 does.
func (f *faultyFile) Truncate(size int64) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.d.room >= 0 {
		f.d.room += max(f.n.allocated-size, 0)
	}
	f.n.allocated = min(f.n.allocated, size)
	return f.file.Truncate(size)
}

func (f *faultyFile) Sync() error {
	f.d.mu.Lock()
	if gate := f.d.syncGate; gate != nil && f.segment {
		f.d.syncs++
		f.d.mu.Unlock()
		<-gate
		f.d.mu.Lock()
		f.d.syncs--
	}
	defer f.d.mu.Unlock()
	if f.segment {
		f.d.syncs++
		if f.d.syncErr != nil {
			return f.d.syncErr
		}
	}
	size, err := f.size()
	if err != nil {
		return err
	}
	b := make([]byte, size)
	if _, err := f.ReadAt(b, 0); err != nil && size > 0 {
		return err
	}
	f.n.synced = b
	return nil
}
