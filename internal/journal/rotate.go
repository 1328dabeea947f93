package journal

import (
	"errors"
	"fmt"
	"time"
)

// rotate closes the live segment and begins the next. The old one is synced
// first: a loss of power can tear only the last segment, never one before it.
// The caller holds write.
func (j *Journal) rotate() error {
	err := j.makeRoom()
	if err == nil && !j.poisoned {
		if err = j.live.file.Sync(); err != nil {
			j.poisoned = true
			j.fail("sync", err)
		}
	}
	var next live
	if err == nil {
		next, err = j.begin(Head{Segment: j.live.head.Segment + 1, Sequence: j.live.head.Sequence, Chain: j.live.head.Chain})
	}
	if err != nil {
		if j.stuck == nil {
			j.log.Error("journal cannot begin a segment", "segment", j.live.head.Segment+1, "error", err)
		}
		j.stuck = err
		j.assess()
		return err
	}
	old := j.live
	j.live, j.stuck, j.poisoned, j.unnamed = next, nil, false, true
	j.retired = append(j.retired, old.file)
	j.shelf.put(book{
		Info:   Info{Number: old.begin.Segment, Size: old.size},
		begin:  old.begin,
		newest: next.opened,
	})
	j.assess()
	wake(j.wakeSealer)
	return nil
}

// begin makes a new live segment. It has its name only when its header is
// synced; the name itself is durable with the next sync.
func (j *Journal) begin(at Head) (live, error) {
	h := &Header{
		Journal: j.id, Segment: at.Segment, First: at.Sequence, Created: j.opts.Clock(),
		Previous: at.Chain, Zone: j.opts.Zone, Stages: j.opts.Stages,
	}
	raw := appendHeader(nil, h)
	temp := logName(at.Segment) + tempSuffix
	if err := j.disk.remove(temp); err != nil {
		return live{}, fmt.Errorf("journal: begin segment %d: %w", at.Segment, err)
	}
	f, err := j.disk.create(temp)
	if err != nil {
		return live{}, fmt.Errorf("journal: begin segment %d: %w", at.Segment, err)
	}
	l := live{file: f, begin: at, opened: h.Created, size: int64(len(raw)), limit: j.opts.SegmentSize + j.opts.reserve()}
	l.head = Head{Segment: at.Segment, Sequence: at.Sequence, Chain: j.hash.next(&h.Previous, raw)}
	err = f.allocate(l.limit)
	if err == nil {
		_, err = f.WriteAt(raw, 0)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = j.disk.rename(temp, logName(at.Segment))
	}
	if err != nil {
		err = errors.Join(err, f.Close(), j.disk.remove(temp))
		return live{}, fmt.Errorf("journal: begin segment %d: %w", at.Segment, err)
	}
	return l, nil
}

// makeRoom frees the oldest segments until a new one fits into Size beside the
// live one, with room to seal it. The caller holds write.
func (j *Journal) makeRoom() error {
	want := j.live.size + j.opts.SegmentSize + j.opts.reserve() + j.opts.SegmentSize/2
	tooMuch := func(_ book, left int64) bool { return left+want > j.opts.Size }
	freed, err := j.shelf.free(j.disk, j.live.begin, j.opts.Keep, tooMuch)
	if err != nil {
		return err
	}
	if freed > 0 {
		j.log.Info("journal freed its oldest segments for room", "segments", freed)
	}
	if j.shelf.bytes()+want > j.opts.Size {
		return errFull
	}
	return nil
}

// SetRetain has sealed segments kept for another time; 0 is the default.
func (j *Journal) SetRetain(d time.Duration) { j.retain.Store(int64(orDefault(d, defaultRetain))) }

// expire frees the segments that are older than Retain.
func (j *Journal) expire() {
	j.write.Lock()
	begin := j.live.begin
	j.write.Unlock()
	now, retain := j.opts.Clock(), time.Duration(j.retain.Load())
	old := func(b book, _ int64) bool { return (b.Sealed || b.damaged) && now.Sub(b.newest) > retain }
	freed, err := j.shelf.free(j.disk, begin, j.opts.Keep, old)
	if err != nil {
		j.log.Error("journal cannot free expired segments", "error", err)
		return
	}
	if freed > 0 {
		j.log.Info("journal freed expired segments", "segments", freed)
	}
}

// cutBack removes what a failed write has left behind the last whole frame. That
// gives back the room that was allocated there, so it is allocated anew. The
// caller holds write.
func (j *Journal) cutBack() error {
	size, err := j.live.file.size()
	if err != nil || size == j.live.size {
		return err
	}
	if err := j.live.file.Truncate(j.live.size); err != nil || j.poisoned {
		return err
	}
	return j.live.file.allocate(j.live.limit)
}

// probe tries to go on after a failure: it removes what a failed write may have
// left, or begins a new segment when a sync had failed, because what such a
// segment holds on disk is not known any more. Then it writes and syncs a mark.
func (j *Journal) probe() {
	j.write.Lock()
	if j.broken == nil {
		j.write.Unlock()
		return
	}
	cause := j.broken
	err := j.cutBack()
	if err == nil && j.poisoned {
		err = j.rotate()
	}
	if err != nil {
		j.write.Unlock()
		return // said when it broke; tried again later
	}
	j.broken = nil
	j.write.Unlock()
	if err := j.AppendSync(j.mark(MarkResumed, 0)); err != nil {
		return // broken again, and said so
	}
	j.log.Info("journal can be written again", "after", cause)
	j.write.Lock()
	j.assess()
	j.write.Unlock()
}
