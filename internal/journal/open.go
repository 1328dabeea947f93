package journal

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Open makes this process the only writer of a folder, which is made when it is
// not there. The end of the journal is read and checked: what a crash tore is
// cut off, kept aside in a file of its own, logged, and noted by a mark.
//
// The journal owns two goroutines until Close.
func Open(dir string, o Options) (*Journal, error) {
	o, err := o.withDefaults(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("journal: make folder: %w", err)
	}
	lock, err := lockFolder(dir)
	if err != nil {
		return nil, err
	}
	j := &Journal{
		dir: dir, opts: o, log: o.Log, disk: o.disk, lock: lock, hash: newHasher(),
		watchers:   make(map[chan struct{}]struct{}),
		wakeKeeper: make(chan struct{}, 1), wakeSealer: make(chan struct{}, 1),
	}
	j.batches.New = newBatch
	j.durable.Store(&Head{})
	if err := j.start(); err != nil {
		return nil, errors.Join(err, j.closeFiles())
	}
	return j, nil
}

// start recovers the folder, and runs the goroutines when that worked.
func (j *Journal) start() error {
	notes, err := j.recover()
	if err != nil {
		return err
	}
	j.unnamed = true // the process before may have ended before it synced the folder
	if err := j.firstSync(); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	j.stop = stop
	j.done.Go(func() { j.keep(ctx) })
	j.done.Go(func() { j.seal(ctx) })
	wake(j.wakeSealer)
	for _, n := range notes {
		if err := j.AppendSync(n); err != nil {
			return errors.Join(err, j.Close())
		}
	}
	return nil
}

// firstSync makes durable what the process before may have left unsynced, and
// writes the head whole: from then on it is rewritten in place.
func (j *Journal) firstSync() error {
	j.syncing.Lock()
	defer j.syncing.Unlock()
	if err := j.sync(); err != nil {
		return err
	}
	if err := replace(j.disk, headFile, j.live.head.line()); err != nil {
		return err
	}
	f, err := j.disk.open(headFile)
	if err != nil {
		return fmt.Errorf("journal: open head: %w", err)
	}
	j.headFile = f
	return nil
}

// Close syncs what was written and ends the journal. Later calls of Append fail.
func (j *Journal) Close() error {
	j.stop()
	j.done.Wait()
	j.syncing.Lock()
	defer j.syncing.Unlock()
	var err error
	if j.live.head != *j.durable.Load() {
		err = j.sync()
	}
	return errors.Join(err, j.closeFiles())
}

func (j *Journal) closeFiles() error {
	j.write.Lock()
	defer j.write.Unlock()
	if j.closed {
		return nil
	}
	j.closed = true
	j.assess()
	files := append(j.retired, j.live.file, j.headFile)
	var errs []error
	for _, f := range files {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(append(errs, j.lock.Close())...)
}

// A past is what Open finds in the folder.
type past struct {
	floor, head Head // zero when there is none
	segments    []Info
}

// read lists the folder and removes what means nothing: unfinished files, logs
// that are there sealed too, and what lies below the floor.
func (j *Journal) read() (p past, err error) {
	if p.floor, err = j.readHead(floorFile); err != nil {
		return p, err
	}
	if p.head, err = j.readHead(headFile); err != nil {
		return p, err
	}
	entries, err := os.ReadDir(j.dir)
	if err != nil {
		return p, fmt.Errorf("journal: read folder: %w", err)
	}
	all, err := Segments(j.dir)
	if err != nil {
		return p, err
	}
	sealed := make(map[uint64]bool)
	for _, s := range all {
		sealed[s.Number] = s.Sealed
		if s.Number >= p.floor.Segment {
			p.segments = append(p.segments, s)
		}
	}
	for _, e := range entries {
		if name := e.Name(); p.useless(name, sealed) {
			if err := j.disk.remove(name); err != nil {
				return p, fmt.Errorf("journal: remove %s: %w", name, err)
			}
		}
	}
	return p, nil
}

func (p *past) useless(name string, sealed map[uint64]bool) bool {
	if strings.HasSuffix(name, tempSuffix) {
		return true
	}
	if n, ok := segmentNumber(name, logSuffix); ok {
		return n < p.floor.Segment || sealed[n]
	}
	if n, ok := segmentNumber(name, sealedSuffix); ok {
		return n < p.floor.Segment
	}
	n, _, ok := tornNumber(name)
	return ok && n < p.floor.Segment
}

// readHead reads a head of the folder. One that cannot be read is logged and
// counts as none: the journal itself is what is true.
func (j *Journal) readHead(name string) (Head, error) {
	b, err := os.ReadFile(filepath.Join(j.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return Head{}, nil
	}
	if err != nil {
		return Head{}, fmt.Errorf("journal: read %s: %w", name, err)
	}
	h, err := parseHeadFile(b)
	if err != nil {
		j.log.Warn("journal: an anchor cannot be read and is ignored", "file", name, "error", err)
		return Head{}, nil
	}
	return h, nil
}

func newID() (id [16]byte) {
	_, _ = rand.Read(id[:]) // never fails
	return id
}
