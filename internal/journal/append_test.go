package journal

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/internal/problem"
)

func TestAppendedRecordsComeBack(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, options())
	write(t, j, 0, 1000)
	closeJournal(t, j)
	list := entries(t, dir)
	if len(list) != 1000 {
		t.Fatalf("%d records, want 1000", len(list))
	}
	for i, e := range list {
		want := record(i)
		if e.CorrelationID != want.CorrelationID || e.Sequence != uint64(i) || e.Header.Zone != "shop.example" || !e.Time.Equal(want.Time.Truncate(time.Microsecond)) {
			t.Fatalf("record %d: %+v", i, e)
		}
	}
	if r := verify(t, dir); r.Records != 1000 || r.Segments < 2 {
		t.Errorf("report %+v, want 1000 records in several segments", r)
	}
}

// Many writers at once: every record is there once, and each writer's are in order.
func TestConcurrentWriters(t *testing.T) {
	const writers, each = 16, 200
	dir := t.TempDir()
	j := open(t, dir, options())
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for i := range each {
				r := record(w*each + i)
				put := j.Append
				if i%50 == 0 {
					put = j.AppendSync
				}
				if err := put(r); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	closeJournal(t, j)
	seen := make([][]int, writers)
	for _, e := range entries(t, dir) {
		i := int(e.BytesIn)
		seen[i/each] = append(seen[i/each], i%each)
	}
	for w, list := range seen {
		if len(list) != each || !slices.IsSorted(list) || len(slices.Compact(list)) != each {
			t.Errorf("writer %d: %d records, in order %v", w, len(list), slices.IsSorted(list))
		}
	}
	verify(t, dir)
}

// Records that wait for the same write are one frame, and share one sync.
func TestWaitingRecordsShareOneWrite(t *testing.T) {
	d := newFaulty(t.TempDir())
	o := options()
	o.disk, o.SyncEvery = d, time.Hour
	j := open(t, string(d.folder), o)
	gate := make(chan struct{})
	d.set(func() { d.gate, d.writes, d.syncs = gate, 0, 0 })
	var group sync.WaitGroup
	put := func(i int) {
		group.Go(func() {
			if err := j.AppendSync(record(i)); err != nil {
				t.Error(err)
			}
		})
	}
	put(0)
	until(func() bool { return d.count(&d.writes) == 1 })
	for i := 1; i <= 20; i++ {
		put(i)
	}
	until(func() bool { return j.waiting() == 20 })
	d.set(func() { d.gate = nil })
	close(gate)
	group.Wait()
	if writes, syncs := d.count(&d.writes), d.count(&d.syncs); writes != 2 || syncs > 3 {
		t.Errorf("21 records: %d writes and %d syncs, want 2 and at most 3", writes, syncs)
	}
	closeJournal(t, j)
	if n := len(entries(t, j.dir)); n != 21 {
		t.Errorf("%d records, want 21", n)
	}
}

// until lets others run until something holds.
func until(holds func() bool) {
	for !holds() {
		runtime.Gosched()
	}
}

// waiting is the number of records in the pending batch.
func (j *Journal) waiting() int {
	j.pending.Lock()
	defer j.pending.Unlock()
	if j.batch == nil {
		return 0
	}
	return j.batch.records
}

func (d *faulty) count(n *int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return *n
}

func TestAppendDoesNotAllocate(t *testing.T) {
	j := open(t, t.TempDir(), Options{Zone: "shop.example"})
	r := record(1)
	if n := testing.AllocsPerRun(1000, func() {
		if err := j.Append(r); err != nil {
			t.Fatal(err)
		}
	}); n >= 1 && !raceEnabled { // the race detector empties pools at random
		t.Errorf("Append allocates %v times, want 0", n)
	}
}

// A background sync comes by itself, and nothing is synced for nothing.
func TestSyncInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFaulty(t.TempDir())
		o := options()
		o.disk = d
		j := open(t, string(d.folder), o)
		before := d.count(&d.syncs)
		time.Sleep(time.Second)
		synctest.Wait()
		if n := d.count(&d.syncs) - before; n != 0 {
			t.Errorf("an idle journal synced %d times", n)
		}
		write(t, j, 0, 10)
		if j.Durable().Sequence != 0 {
			t.Errorf("durable %d at once, want 0", j.Durable().Sequence)
		}
		time.Sleep(defaultSync + time.Millisecond)
		synctest.Wait()
		if j.Durable() != j.Head() || j.Head().Sequence != 10 {
			t.Errorf("after %v durable %+v, want %+v at 10", defaultSync, j.Durable(), j.Head())
		}
		closeJournal(t, j)
	})
}

// After a failed write all requests are refused until a probe succeeds; nothing
// acknowledged is lost, and what was refused is not there.
func TestWriteFailure(t *testing.T) {
	for _, c := range []struct {
		name   string
		break_ func(*faulty)
		mend   func(*faulty)
		want   problem.Reason
	}{
		{"write error", func(d *faulty) { d.writeErr = syscall.EIO }, func(d *faulty) { d.writeErr = nil }, problem.JournalUnavailable},
		{"no space", func(d *faulty) { d.writeErr = syscall.ENOSPC }, func(d *faulty) { d.writeErr = nil }, problem.JournalFull},
		{"sync error", func(d *faulty) { d.syncErr = syscall.EIO }, func(d *faulty) { d.syncErr = nil }, problem.JournalUnavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newFaulty(t.TempDir())
				o := options()
				o.disk = d
				j := open(t, string(d.folder), o)
				write(t, j, 0, 10)
				d.set(func() { c.break_(d) })
				if got := problem.ReasonOf(j.AppendSync(record(99))); got != c.want {
					t.Errorf("AppendSync = %v, want %v", got, c.want)
				}
				for _, admin := range []bool{false, true} {
					if got := problem.ReasonOf(j.Admit(admin)); got != c.want {
						t.Errorf("Admit(%v) while broken = %v, want %v", admin, got, c.want)
					}
				}
				time.Sleep(3 * retryEvery)
				synctest.Wait()
				if got := problem.ReasonOf(j.Append(record(99))); got != c.want {
					t.Errorf("Append while broken = %v, want %v", got, c.want)
				}
				d.set(func() { c.mend(d) })
				time.Sleep(3 * retryEvery)
				synctest.Wait()
				if err := errors.Join(j.Admit(false), j.Admit(true)); err != nil {
					t.Errorf("Admit after the mend: %v", err)
				}
				write(t, j, 10, 20)
				closeJournal(t, j)
				var got []string
				for _, e := range entries(t, j.dir) {
					if e.Kind == KindMark {
						got = append(got, e.Tags...)
					} else if e.BytesIn != 99 || c.name != "sync error" { // written, though not synced
						got = append(got, fmt.Sprint(e.BytesIn))
					}
				}
				want := []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", MarkResumed, "10", "11", "12", "13", "14", "15", "16", "17", "18", "19"}
				if !slices.Equal(got, want) {
					t.Errorf("records %v, want %v", got, want)
				}
				verify(t, j.dir)
			})
		})
	}
}

func TestClosedJournalRefuses(t *testing.T) {
	j := open(t, t.TempDir(), options())
	if err := j.Admit(false); err != nil {
		t.Errorf("positive control: Admit = %v", err)
	}
	closeJournal(t, j)
	if got := problem.ReasonOf(j.Append(record(1))); got != problem.JournalUnavailable {
		t.Errorf("Append = %v, want %v", got, problem.JournalUnavailable)
	}
	if got := problem.ReasonOf(j.Admit(true)); got != problem.JournalUnavailable {
		t.Errorf("Admit = %v, want %v", got, problem.JournalUnavailable)
	}
	if err := j.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

// Close beside writers: what they were told is written is there.
func TestCloseBesideWriters(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, options())
	var group sync.WaitGroup
	var told [4]int
	for w := range told {
		group.Go(func() {
			for i := 0; ; i++ {
				put := j.Append
				if i%5 == 0 {
					put = j.AppendSync
				}
				if put(record(w)) != nil {
					return
				}
				told[w]++
			}
		})
	}
	until(func() bool { return j.Head().Sequence > 200 })
	closeJournal(t, j)
	group.Wait()
	verify(t, dir)
	var found [4]int
	for _, e := range entries(t, dir) {
		found[e.BytesIn]++
	}
	for w := range told { // the last one may be written, though its sync was refused
		if found[w] < told[w] || found[w] > told[w]+1 {
			t.Errorf("writer %d was told of %d records, %d are there", w, told[w], found[w])
		}
	}
}

func TestWatch(t *testing.T) {
	j := open(t, t.TempDir(), options())
	wrote, stop := j.Watch()
	write(t, j, 0, 3)
	select {
	case <-wrote:
	default:
		t.Error("a watcher was not woken by a write")
	}
	stop()
	write(t, j, 3, 4)
	select {
	case <-wrote:
		t.Error("a watcher that stopped was woken")
	default:
	}
	for range maxWatchers {
		if c, stop := j.Watch(); c == nil {
			t.Fatal("too few watchers are allowed")
		} else {
			defer stop()
		}
	}
	if c, _ := j.Watch(); c != nil {
		t.Error("there is no bound of watchers")
	}
}

// A batch is bounded: what does not fit into a frame waits for the next.
func TestLargeBatchesAreSplit(t *testing.T) {
	d := newFaulty(t.TempDir())
	o := options()
	o.Size, o.disk = 64<<20, d
	j := open(t, string(d.folder), o)
	gate := make(chan struct{})
	d.set(func() { d.gate, d.writes = gate, 0 })
	big := record(1)
	for range maxTags {
		big.Tags = append(big.Tags, string(make([]byte, maxTag)))
	}
	const n = 300 // of about 8 KiB
	var group sync.WaitGroup
	for range n {
		group.Go(func() {
			if err := j.Append(big); err != nil {
				t.Error(err)
			}
		})
	}
	const together = 100 // wait in one batch when the gate opens; how the others meet is the scheduler's
	until(func() bool { return j.waiting() > together })
	d.set(func() { d.gate = nil })
	close(gate)
	group.Wait()
	closeJournal(t, j)
	if got := len(entries(t, j.dir)); got != n {
		t.Errorf("%d records, want %d", got, n)
	}
	if writes := d.count(&d.writes); writes < 3 || writes > n-together {
		t.Errorf("%d writes of %d records, of which more than %d were one batch: want several, and at most %d", writes, n, together, n-together)
	}
	verify(t, j.dir)
}
