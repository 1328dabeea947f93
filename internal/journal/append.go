package journal

import (
	"errors"
	"sync"
	"sync/atomic"
	"syscall"

	"sallyport.dev/internal/problem"
)

// batch collects the records that wait for one write. Its first record's caller
// is its leader: it waits for the write before, takes the batch, writes it and
// tells the others.
type batch struct {
	buf     []byte // room for the frame's head, then the payload
	records int
	end     uint64 // sequence number after the batch; set by the leader
	err     error  // set by the leader
	done    sync.WaitGroup
	users   atomic.Int32 // callers that still look at it
}

func newBatch() any { return &batch{buf: make([]byte, frameHead, 16<<10)} }

// Append writes one record and returns when it is written: it then survives the
// end of the process, however it ends. Records of concurrent callers are
// combined into one write. The record is not kept.
//
// The error is a *problem.Error with JournalFull or JournalUnavailable; the
// record is then not in the journal.
func (j *Journal) Append(r *Record) error {
	_, err := j.append(r)
	return err
}

// AppendSync is Append for records that must survive a loss of power: it
// returns when the record is synced. Concurrent callers share one sync. After
// an error the record may be in the journal or not.
func (j *Journal) AppendSync(r *Record) error {
	end, err := j.append(r)
	if err != nil {
		return err
	}
	j.syncing.Lock()
	defer j.syncing.Unlock()
	if j.durable.Load().Sequence >= end {
		return nil
	}
	return j.sync()
}

func (j *Journal) append(r *Record) (end uint64, err error) {
	b, leads := j.join(r)
	if leads {
		j.write.Lock()
		j.pending.Lock()
		j.batch = nil // nobody joins from here on
		j.pending.Unlock()
		b.end, b.err = j.commit(b)
		j.write.Unlock()
		b.done.Done()
	} else {
		b.done.Wait()
	}
	end, err = b.end, b.err
	j.release(b)
	return end, err
}

// join puts a record into the pending batch. A batch that could not take
// another record is waited for: that bounds the frame.
func (j *Journal) join(r *Record) (b *batch, leads bool) {
	j.pending.Lock()
	for j.batch != nil && len(j.batch.buf) > maxPayload-maxRecord {
		full := j.batch
		full.users.Add(1)
		j.pending.Unlock()
		full.done.Wait()
		j.release(full)
		j.pending.Lock()
	}
	leads = j.batch == nil
	if leads {
		j.batch = j.batches.Get().(*batch) //nolint:forcetypeassert // the pool holds nothing else
		j.batch.done.Add(1)
	}
	b = j.batch
	b.users.Add(1)
	b.buf = appendRecord(b.buf, r)
	b.records++
	j.pending.Unlock()
	return b, leads
}

func (j *Journal) release(b *batch) {
	if b.users.Add(-1) > 0 {
		return
	}
	b.buf, b.records, b.end, b.err = b.buf[:frameHead], 0, 0, nil
	j.batches.Put(b)
}

// commit writes a batch as one frame with one write. The caller holds write.
func (j *Journal) commit(b *batch) (end uint64, err error) {
	if j.closed {
		return 0, problem.New(problem.JournalUnavailable, errClosed)
	}
	if j.broken != nil {
		return 0, refusal(j.broken)
	}
	if err := j.makeWay(int64(len(b.buf) + frameTail)); err != nil {
		return 0, refusal(err)
	}
	var chain Chain
	b.buf, chain = sealFrame(b.buf, j.hash, &j.live.head.Chain)
	if _, err := j.live.file.WriteAt(b.buf, j.live.size); err != nil {
		j.fail("write", err)
		return 0, refusal(err)
	}
	j.live.size += int64(len(b.buf))
	j.live.head.Chain = chain
	j.live.head.Sequence += uint64(b.records)
	if j.live.size >= j.opts.SegmentSize {
		j.assess()
		if j.stuck == nil {
			wake(j.wakeKeeper)
		}
	}
	for c := range j.watchers {
		wake(c)
	}
	return j.live.head.Sequence, nil
}

// makeWay closes a segment that has no room for n more bytes, or that the keeper
// should have closed long since: should that be impossible, it has to be known
// while most of the reserve is still there. The caller holds write.
func (j *Journal) makeWay(n int64) error {
	full := j.live.size+n > j.live.limit
	late := j.stuck == nil && j.live.size >= j.opts.SegmentSize+j.opts.reserve()/4
	if !full && !late {
		return nil
	}
	err := j.rotate()
	if full || j.broken != nil {
		return err
	}
	return nil // noted in stuck
}

var (
	errClosed = errors.New("journal: closed")
	errFull   = errors.New("journal: size is used up, and no segment may be freed")
)

// refusal gives an error of the disk its reason.
func refusal(err error) error {
	if isFull(err) {
		return problem.New(problem.JournalFull, err)
	}
	return problem.New(problem.JournalUnavailable, err)
}

func isFull(err error) bool {
	return errors.Is(err, errFull) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// fail notes that nothing can be written until a probe succeeds. The caller holds write.
func (j *Journal) fail(operation string, err error) {
	if j.broken == nil {
		j.log.Error("journal cannot be written; requests are refused until it can", "operation", operation, "error", err)
	}
	j.broken = err
	j.assess()
}

// assess derives the state that Admit reads. The caller holds write.
func (j *Journal) assess() {
	state := stateOpen
	switch spent := j.live.limit - j.opts.reserve()/8; {
	case j.broken != nil && isFull(j.broken):
		state = stateSpent
	case j.broken != nil || j.closed:
		state = stateFailed
	case j.stuck != nil && j.live.size >= spent:
		state = stateSpent
	case j.stuck != nil && j.live.size >= j.opts.SegmentSize:
		state = stateFull
	}
	j.state.Store(state)
}
