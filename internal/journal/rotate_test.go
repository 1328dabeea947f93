package journal

import (
	"io"
	"math"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/internal/problem"
)

// A segment is closed at its size or its age, and sealed; an empty one is not.
func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options()
		o.Clock, o.SyncEvery = time.Now, time.Minute
		j := open(t, t.TempDir(), o)
		time.Sleep(3 * defaultAge)
		synctest.Wait()
		if n := len(segments(t, j.dir)); n != 1 {
			t.Errorf("an idle journal has %d segments, want 1", n)
		}
		write(t, j, 0, 1)
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		list := segments(t, j.dir)
		if len(list) != 2 || !list[0].Sealed || list[1].Sealed {
			t.Errorf("after its age: segments %+v, want one sealed and one live", list)
		}
		before := j.Head().Segment
		for i := 1; j.Head().Segment == before; i++ {
			write(t, j, i, i+1)
			synctest.Wait()
		}
		synctest.Wait()
		list = segments(t, j.dir)
		if len(list) != 3 || !list[1].Sealed || list[1].Size >= o.Size/16/2 {
			t.Errorf("after its size: segments %+v, want the second sealed and less than half as large as it was", list)
		}
		closeJournal(t, j)
		verify(t, j.dir)
	})
}

// The oldest segments are freed first, by size, and the journal stays in its bounds.
func TestRetentionBySize(t *testing.T) {
	o := options()
	j := open(t, t.TempDir(), o)
	for i := 0; i < 16_000; i += 1000 {
		write(t, j, i, i+1000)
		j.rotateIfDue(true)
		waitSealed(t, j) // what is sealed in time is the scheduler's; here all of it is
		var size int64
		for _, s := range segments(t, j.dir) {
			size += s.Size
		}
		if size > o.Size {
			t.Fatalf("after %d records %d bytes are used, at most %d", i, size, o.Size)
		}
	}
	closeJournal(t, j)
	report := verify(t, j.dir)
	if report.Begin.Sequence == 0 {
		t.Error("nothing was freed")
	}
	list := entries(t, j.dir)
	if last := list[len(list)-1]; last.BytesIn != 15_999 || list[0].Sequence != report.Begin.Sequence {
		t.Errorf("kept from %d to %d, want from %d to 15999", list[0].Sequence, last.BytesIn, report.Begin.Sequence)
	}
	if len(list) < 3000 {
		t.Errorf("only %d records are kept", len(list))
	}
}

// Segments are freed when their newest record is older than Retain.
func TestRetentionByAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options()
		o.Retain, o.Clock, o.SyncEvery = 48*time.Hour, time.Now, 10*time.Minute
		j := open(t, t.TempDir(), o)
		began := time.Now()
		for i := range 6 {
			r := record(i)
			r.Time = time.Now()
			if err := j.Append(r); err != nil {
				t.Fatal(err)
			}
			time.Sleep(24 * time.Hour)
		}
		synctest.Wait()
		list := entries(t, j.dir)
		if len(list) != 2 || list[0].BytesIn != 4 {
			t.Errorf("after %v %d records are kept, the first of them %d; want those of the last two days", time.Since(began), len(list), list[0].BytesIn)
		}
		closeJournal(t, j)
		verify(t, j.dir)
	})
}

// When nothing may be freed new requests are refused, administration has the
// reserve, and both may go on when segments may be freed again.
func TestReserve(t *testing.T) {
	var keep atomic.Bool
	keep.Store(true)
	o := options()
	o.Keep = func(Info) bool { return keep.Load() }
	j := open(t, t.TempDir(), o)
	i := 0
	until := func(admin bool) {
		t.Helper()
		for ; j.Admit(admin) == nil; i++ {
			if i > 100_000 {
				t.Fatalf("Admit(%v) never refuses", admin)
			}
			write(t, j, i, i+1) // what was admitted is written, always
		}
		if got := problem.ReasonOf(j.Admit(admin)); got != problem.JournalFull {
			t.Errorf("Admit(%v) = %v, want %v", admin, got, problem.JournalFull)
		}
	}
	until(false)
	full := i
	if err := j.Admit(true); err != nil {
		t.Errorf("administration is refused with ordinary requests: %v", err)
	}
	until(true)
	if used := i - full; used < 500 {
		t.Errorf("the reserve holds %d records, want some hundreds", used)
	}
	write(t, j, i, i+100) // requests under way still leave their record
	keep.Store(false)
	j.rotateIfDue(true)
	if err := j.Admit(false); err != nil {
		t.Errorf("after segments may be freed: Admit = %v", err)
	}
	write(t, j, i+100, i+200)
	closeJournal(t, j)
	verify(t, j.dir)
	list := entries(t, j.dir)
	for k, e := range list {
		if int(e.BytesIn) != int(list[0].BytesIn)+k {
			t.Fatalf("record %d where %d should be", e.BytesIn, int(list[0].BytesIn)+k)
		}
	}
	if last := list[len(list)-1].BytesIn; int(last) != i+199 {
		t.Errorf("the last record is %d, want %d", last, i+199)
	}
}

// A keeper that does not come in time costs administration its reserve no more
// than an ordinary request its record.
func TestReserveWithoutTheKeeper(t *testing.T) {
	o := options()
	o.Keep = func(Info) bool { return true }
	j := open(t, t.TempDir(), o)
	j.keeperOnly(func() {
		i := 0
		for ; j.Admit(false) == nil; i++ {
			write(t, j, i, i+1)
		}
		full := i
		for ; j.Admit(true) == nil; i++ {
			write(t, j, i, i+1)
		}
		if used := i - full; used < 500 {
			t.Errorf("the reserve holds %d records, want some hundreds", used)
		}
		write(t, j, i, i+100) // requests under way still leave their record
	})
	closeJournal(t, j)
	verify(t, j.dir)
}

// A closed segment takes no more room than its bytes: what was allocated behind
// them is given back, after a crash too.
func TestClosedSegmentsGiveRoomBack(t *testing.T) {
	d := newFaulty(t.TempDir())
	o := options()
	o.disk = d
	j := open(t, string(d.folder), o)
	check := func(number uint64) {
		t.Helper()
		size := int64(len(readFile(t, j.dir, logName(number))))
		d.set(func() {
			if got := d.names[logName(number)].allocated; got != size {
				t.Errorf("segment %d of %d bytes takes %d", number, size, got)
			}
		})
	}
	rotate := func() {
		t.Helper()
		j.write.Lock()
		defer j.write.Unlock()
		if err := j.rotate(); err != nil {
			t.Error(err)
		}
	}
	j.keeperOnly(func() {
		write(t, j, 0, 50)
		rotate()
		j.syncIfBehind()
		check(1)
		write(t, j, 50, 100)
		rotate()
		d.set(func() { d.names[logName(2)].allocated = 1 << 20 }) // killed here
	})
	closeJournal(t, j)
	if k, err := Open(j.dir, o); err != nil {
		t.Error(err)
	} else {
		k.keeperOnly(func() {
			if _, err := os.Stat(filepath.Join(j.dir, logName(2))); err == nil { // not sealed already
				check(2)
			}
		})
		closeJournal(t, k)
	}
	verify(t, j.dir)
}

// A full disk refuses new requests before a record is lost: the room of the live
// segment, with the reserve, was taken when it began.
func TestFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFaulty(t.TempDir())
		o := options()
		o.disk = d
		j := open(t, string(d.folder), o)
		d.set(func() { d.room = 10 }) // somebody else fills the disk
		i := 0
		for ; j.Admit(false) == nil; i++ {
			write(t, j, i, i+1)
			synctest.Wait()
		}
		if got := problem.ReasonOf(j.Admit(false)); got != problem.JournalFull {
			t.Errorf("Admit = %v, want %v", got, problem.JournalFull)
		}
		if err := j.Admit(true); err != nil {
			t.Errorf("administration: %v", err)
		}
		if err := j.AppendSync(record(i)); err != nil {
			t.Errorf("AppendSync within the reserve: %v", err)
		}
		d.set(func() { d.room = -1 })
		time.Sleep(2 * retryEvery)
		synctest.Wait()
		if err := j.Admit(false); err != nil {
			t.Errorf("Admit after there is room again: %v", err)
		}
		write(t, j, i+1, i+2)
		closeJournal(t, j)
		verify(t, j.dir)
		if n := len(entries(t, j.dir)); n != i+2 {
			t.Errorf("%d records, want %d", n, i+2)
		}
	})
}

// What has expired is freed on a full disk too.
func TestFullDiskFrees(t *testing.T) {
	d := newFaulty(t.TempDir())
	now := testTime
	o := options()
	o.disk, o.SyncEvery, o.Clock, o.Retain = d, time.Hour, func() time.Time { return now }, time.Hour
	j := open(t, string(d.folder), o)
	write(t, j, 0, 2000)
	j.keeperOnly(func() {
		j.rotateIfDue(true) // unless the keeper was there already
		waitSealed(t, j)
		d.set(func() { d.room = 0 })
		now = now.Add(3 * time.Hour)
		j.expire()
	})
	if list := segments(t, j.dir); len(list) != 1 || list[0].Sealed {
		t.Errorf("segments %+v, want the live one only", list)
	}
	closeJournal(t, j)
	verify(t, j.dir)
}

// keeperOnly runs f where the goroutines of the journal would not see what it changes.
func (j *Journal) keeperOnly(f func()) {
	j.stop()
	j.done.Wait()
	f()
}

// A segment that cannot be sealed stays as it is, readable, and is freed in its turn.
func TestSealingDamage(t *testing.T) {
	dir := t.TempDir()
	d := newFaulty(dir)
	o := options()
	o.disk = d
	j := open(t, dir, o)
	j.keeperOnly(func() {
		write(t, j, 0, 1000)
		j.write.Lock()
		defer j.write.Unlock()
		if err := j.rotate(); err != nil {
			t.Error(err)
		}
	})
	log := readFile(t, dir, logName(1))
	log[len(log)-50] ^= 1
	writeFile(t, dir, logName(1), log)
	waitSealed(t, j)
	if list := segments(t, dir); list[0].Sealed || list[0].Number != 1 {
		t.Errorf("segments %+v, want the first not sealed", list)
	}
	closeJournal(t, j)
	c := NewReader(dir).Cursor(0)
	defer c.Close()
	var b Buffer
	n := 0
	for err := error(nil); err != io.EOF; {
		if err = c.Next(&b, math.MaxUint64); err == nil {
			n += b.Len()
		}
	}
	if n < 900 || n >= 1000 {
		t.Errorf("%d records are readable, want most of 1000", n)
	}
	if len(findings(t, dir)) == 0 {
		t.Error("Verify finds nothing")
	}
	k := open(t, dir, options())
	write(t, k, 0, 16_000)
	closeJournal(t, k)
	if _, err := os.Stat(filepath.Join(dir, logName(1))); err == nil {
		t.Error("the damaged segment was never freed")
	}
	verify(t, dir)
}

// A sealing that fails for want of room is tried again.
func TestSealingFails(t *testing.T) {
	d := newFaulty(t.TempDir())
	o := options()
	o.disk = d
	j := open(t, string(d.folder), o)
	j.keeperOnly(func() {
		write(t, j, 0, 1000)
		j.write.Lock()
		defer j.write.Unlock()
		if err := j.rotate(); err != nil {
			t.Error(err)
		}
	})
	d.set(func() { d.room = 100 })
	if j.sealOldest(t.Context()) {
		t.Error("sealing went on without room")
	}
	if _, err := os.Stat(filepath.Join(j.dir, sealedName(1)+tempSuffix)); err == nil {
		t.Error("an unfinished file was left")
	}
	d.set(func() { d.room = -1 })
	waitSealed(t, j)
	if list := segments(t, j.dir); !list[0].Sealed {
		t.Errorf("segments %+v, want the first sealed", list)
	}
	closeJournal(t, j)
	verify(t, j.dir)
	if n := len(entries(t, j.dir)); n != 1000 {
		t.Errorf("%d records, want 1000", n)
	}
}

func TestReserveIsBounded(t *testing.T) {
	for _, c := range []struct{ size, want int64 }{
		{leastSize, leastSize / 4},
		{16 << 20, leastReserve},
		{100 << 20, 5 << 20},
		{math.MaxInt64 / 2, mostReserve},
	} {
		o := Options{Size: c.size}
		if got := o.reserve(); got != c.want {
			t.Errorf("size %d: reserve %d, want %d", c.size, got, c.want)
		}
	}
}

// A failed write that leaves a part of a frame, and a failed sync at the same
// time: the segment is closed without that part, and can be sealed.
func TestWriteAndSyncFailTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFaulty(t.TempDir())
		o := options()
		o.disk = d
		j := open(t, string(d.folder), o)
		write(t, j, 0, 10)
		gate := make(chan struct{})
		d.set(func() { d.syncGate, d.syncErr = gate, syscall.EIO })
		var failed sync.WaitGroup
		failed.Go(func() {
			if err := j.AppendSync(record(10)); err == nil {
				t.Error("AppendSync succeeds although the sync fails")
			}
		})
		synctest.Wait() // in the sync
		d.set(func() { d.writeErr = syscall.EIO })
		if err := j.Append(record(99)); err == nil {
			t.Error("Append succeeds although the write fails")
		}
		d.set(func() { d.syncGate = nil })
		close(gate)
		failed.Wait()
		d.set(func() { d.writeErr, d.syncErr = nil, nil })
		time.Sleep(2 * retryEvery)
		synctest.Wait()
		write(t, j, 11, 20)
		waitSealed(t, j)
		if list := segments(t, j.dir); len(list) != 2 || !list[0].Sealed {
			t.Errorf("segments %+v, want the first one sealed", list)
		}
		closeJournal(t, j)
		verify(t, j.dir)
		if n := len(entries(t, j.dir)); n != 11+1+9 {
			t.Errorf("%d records, want 20 and a mark", n)
		}
	})
}

// After a failed write the room of the live segment is as safe as before.
func TestReserveAfterAFailedWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFaulty(t.TempDir())
		o := options()
		o.disk = d
		j := open(t, string(d.folder), o)
		write(t, j, 0, 10)
		d.set(func() { d.writeErr = syscall.EIO })
		if err := j.Append(record(99)); err == nil {
			t.Error("Append succeeds although the write fails")
		}
		d.set(func() { d.writeErr = nil })
		time.Sleep(2 * retryEvery)
		synctest.Wait()
		d.set(func() { d.room = 10 }) // somebody else fills the disk
		i := 10
		for ; j.Admit(false) == nil; i++ {
			write(t, j, i, i+1)
			synctest.Wait()
		}
		if err := j.Admit(true); err != nil {
			t.Errorf("administration: %v", err)
		}
		if err := j.AppendSync(record(i)); err != nil {
			t.Errorf("AppendSync within the reserve: %v", err)
		}
	})
}
