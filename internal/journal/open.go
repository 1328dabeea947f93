package journal

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"sallyport.dev/internal/problem"
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
	j.retain.Store(int64(o.Retain))
	j.batches.New = newBatch
	j.durable.Store(&Head{})
	err = j.start()
	switch {
	case err == nil:
		return j, nil
	case j.stop != nil: // its goroutines run
		return nil, errors.Join(err, j.Close())
	default:
		return nil, errors.Join(err, j.closeFiles())
	}
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
		if err := j.AppendSync(n); problem.ReasonOf(err) == problem.JournalFull {
			j.log.Warn("journal: no room for a note of what was logged", "tags", n.Tags)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// firstSync makes durable what the process before may have left unsynced, and
// then says so.
func (j *Journal) firstSync() (err error) {
	j.syncing.Lock()
	defer j.syncing.Unlock()
	if err := j.sync(); err != nil {
		return err
	}
	j.headFile, err = openHead(j.disk, headFile, j.live.head)
	return err
}

// Close syncs what was written and ends the journal. Later calls of Append fail.
func (j *Journal) Close() error {
	j.stop()
	j.done.Wait()
	j.syncing.Lock()
	defer j.syncing.Unlock()
	j.write.Lock()
	if j.closed {
		j.write.Unlock()
		return nil
	}
	j.closed = true // nothing is written from here on
	j.assess()
	behind := j.live.head != *j.durable.Load()
	j.write.Unlock()
	var err error
	if behind {
		err = j.sync()
	}
	return errors.Join(err, j.closeFiles())
}

// closeFiles closes whatever is open.
func (j *Journal) closeFiles() error {
	j.write.Lock()
	defer j.write.Unlock()
	var errs []error
	for _, f := range append(j.retired, j.live.file, j.headFile, j.shelf.floor) {
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
	if p.floor, err = j.anchor(floorFile); err != nil {
		return p, err
	}
	if p.head, err = j.anchor(headFile); err != nil {
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

// anchor reads a head of the folder. One that is damaged is logged and counts as
// none: the journal itself is what is true.
func (j *Journal) anchor(name string) (Head, error) {
	h, err := readHead(j.dir, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Head{}, nil
	case errors.Is(err, ErrDamaged):
		j.log.Warn("journal: an anchor is damaged and ignored", "file", name, "error", err)
		return Head{}, nil
	case err != nil:
		return Head{}, fmt.Errorf("journal: read %s: %w", name, err)
	}
	return h, nil
}

func newID() (id [16]byte) {
	_, _ = rand.Read(id[:]) // never fails
	return id
}
