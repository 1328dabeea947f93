package journal

import (
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"sallyport.dev/internal/problem"
)

// Options say how a journal is kept. The zero value of each field but Zone has a use.
type Options struct {
	Zone   string        // of all records of a segment
	Stages []string      // names of the stages, by their index in Record.Stages; at most 64
	Retain time.Duration // how long sealed segments are kept; default 30 days
	Size   int64         // bytes that the folder may take; default 10 GiB, at least 1 MiB

	SegmentSize int64         // bytes at which the live segment is closed; default Size/16, at most 32 MiB
	SegmentAge  time.Duration // age at which it is closed; default 1 hour
	SyncEvery   time.Duration // how often it is synced; default 100 ms

	// Keep, when it is set, says whether retention has to leave a segment
	// alone, because an exporter has not passed it yet. It must be quick.
	Keep func(Info) bool

	Clock func() time.Time // of headers, marks and ages; default time.Now
	Log   *slog.Logger     // default discards

	disk disk // default the folder itself
}

const (
	defaultRetain  = 30 * 24 * time.Hour
	defaultSize    = 10 << 30
	leastSize      = 1 << 20
	mostSegment    = 32 << 20
	mostReserve    = 16 << 20
	leastReserve   = 1 << 20
	defaultAge     = time.Hour
	defaultSync    = 100 * time.Millisecond
	retryEvery     = time.Second // how often a journal that cannot go on tries again
	retentionEvery = time.Minute
)

func (o Options) withDefaults(dir string) (Options, error) {
	o.Retain = orDefault(o.Retain, defaultRetain)
	o.Size = orDefault(o.Size, defaultSize)
	o.SegmentSize = orDefault(o.SegmentSize, min(o.Size/16, mostSegment))
	o.SegmentAge = orDefault(o.SegmentAge, defaultAge)
	o.SyncEvery = orDefault(o.SyncEvery, defaultSync)
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.disk == nil {
		o.disk = folder(dir)
	}
	if o.Size < leastSize || o.SegmentSize < 0 || o.SegmentSize > o.Size/8 {
		return o, fmt.Errorf("journal: size %d with segments of %d: at least %d, and eight segments must fit", o.Size, o.SegmentSize, leastSize)
	}
	if o.Retain < 0 || o.SegmentAge < 0 || o.SyncEvery < 0 {
		return o, fmt.Errorf("journal: a duration is negative")
	}
	if len(o.Stages) > maxStages || len(o.Zone) > maxText {
		return o, fmt.Errorf("journal: %d stages and a zone name of %d bytes: at most %d and %d", len(o.Stages), len(o.Zone), maxStages, maxText)
	}
	for _, s := range o.Stages {
		if len(s) > maxText {
			return o, fmt.Errorf("journal: a stage name of %d bytes: at most %d", len(s), maxText)
		}
	}
	return o, nil
}

func orDefault[T int64 | time.Duration](v, otherwise T) T {
	if v == 0 {
		return otherwise
	}
	return v
}

// reserve is the room behind a full live segment that administration may use.
func (o *Options) reserve() int64 {
	return min(max(o.Size/20, leastReserve), mostReserve, o.Size/4)
}

// Journal is the single writer of a folder. Its methods are safe for concurrent use.
//
// Locks are taken in the order syncing, write, shelf; pending is a leaf.
type Journal struct {
	dir  string
	opts Options
	log  *slog.Logger
	disk disk
	id   [16]byte // of the journal
	lock *os.File // flock of the folder

	pending sync.Mutex
	batch   *batch    // guarded by pending; nil when no record waits
	batches sync.Pool // of *batch

	retain atomic.Int64 // Options.Retain, or what has come in its place; nanoseconds

	write    sync.Mutex // held by whoever writes: the leader of a batch, or rotation
	live     live
	hash     hasher
	broken   error // why nothing can be written; nil when it can
	poisoned bool  // a sync of the live segment failed: it must not be written any more
	stuck    error // why the live segment, which is full, could not be closed
	unnamed  bool  // the folder was not synced since the live segment got its name
	closed   bool
	retired  []file // closed segments whose file is still open
	watchers map[chan struct{}]struct{}

	syncing  sync.Mutex // held by whoever syncs
	headFile file       // guarded by syncing

	durable atomic.Pointer[Head] // everything before it is synced
	state   atomic.Int32         // for Admit

	shelf shelf

	wakeKeeper chan struct{}
	wakeSealer chan struct{}
	stop       context.CancelFunc
	done       sync.WaitGroup
}

// live is the segment that is written.
type live struct {
	file   file
	begin  Head // where it begins
	head   Head // where it ends
	opened time.Time
	size   int64 // bytes written and acknowledged
	limit  int64 // bytes that were allocated
}

// The states of a journal, for Admit.
const (
	stateOpen   = int32(iota)
	stateFull   // nothing can be freed; the reserve is there
	stateSpent  // nothing can be freed, and the reserve is used up
	stateFailed // a write or sync failed, and no probe has succeeded since
)

// Admit says whether a request may begin: whether there will be room for its
// record. It costs one atomic load. Administration (admin) may still begin when
// only the reserve is left. The error is a *problem.Error with JournalFull or
// JournalUnavailable.
func (j *Journal) Admit(admin bool) error {
	switch j.state.Load() {
	case stateOpen:
		return nil
	case stateFull:
		if admin {
			return nil
		}
		return problem.New(problem.JournalFull, nil)
	case stateSpent:
		return problem.New(problem.JournalFull, nil)
	default:
		return problem.New(problem.JournalUnavailable, nil)
	}
}

// ID names this journal among others: 32 hexadecimal digits, from its first segment on.
func (j *Journal) ID() string { return hex.EncodeToString(j.id[:]) }

// Head returns the end of what is written. Everything before it survives the
// end of this process; for a loss of power see Durable.
func (j *Journal) Head() Head {
	j.write.Lock()
	defer j.write.Unlock()
	return j.live.head
}

// Durable returns the end of what is synced.
func (j *Journal) Durable() Head { return *j.durable.Load() }

// maxWatchers bounds the followers within the process.
const maxWatchers = 64

// Watch returns a channel that receives a value after records were written; one
// value may stand for many writes. stop ends it. The channel is nil when there
// are too many watchers: poll then.
func (j *Journal) Watch() (wrote <-chan struct{}, stop func()) {
	j.write.Lock()
	defer j.write.Unlock()
	if len(j.watchers) >= maxWatchers {
		return nil, func() {}
	}
	c := make(chan struct{}, 1)
	j.watchers[c] = struct{}{}
	return c, func() {
		j.write.Lock()
		defer j.write.Unlock()
		delete(j.watchers, c)
	}
}

// wake makes a signal that is pending at most once.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
