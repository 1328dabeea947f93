package journal

import (
	"context"
	"errors"
	"strconv"
	"time"
)

// keep is the goroutine that syncs, closes segments that are due, tries again
// after failures and frees what has expired. It ends with ctx.
func (j *Journal) keep(ctx context.Context) {
	tick := time.NewTicker(j.opts.SyncEvery)
	defer tick.Stop()
	var tried, expired time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-j.wakeKeeper:
		}
		now := time.Now() // of the process: an injected clock may stand still
		again := now.Sub(tried) >= retryEvery
		if again {
			tried = now
			j.probe()
		}
		j.syncIfBehind()
		j.rotateIfDue(again)
		if now.Sub(expired) >= retentionEvery {
			expired = now
			j.expire()
		}
	}
}

func (j *Journal) syncIfBehind() {
	j.syncing.Lock()
	defer j.syncing.Unlock()
	j.write.Lock()
	behind := j.broken == nil && j.live.head != *j.durable.Load()
	retired := j.retired
	j.retired = nil
	j.write.Unlock()
	if behind {
		_ = j.sync() // noted by fail, which refuses requests from then on
	}
	for _, f := range retired { // synced by rotate; nobody else has them now
		if err := errors.Join(trim(f), f.Close()); err != nil {
			j.log.Warn("journal: close segment", "error", err)
		}
	}
}

// trim gives back the room that was allocated behind the end of a closed segment.
func trim(f file) error {
	size, err := f.size()
	if err != nil {
		return err
	}
	return f.Truncate(size)
}

// sync makes everything written so far durable. The caller holds syncing.
func (j *Journal) sync() error {
	j.write.Lock()
	f, head, unnamed, broken := j.live.file, j.live.head, j.unnamed, j.broken
	j.unnamed = false
	j.write.Unlock()
	if broken != nil {
		return refusal(broken)
	}
	err := f.Sync()
	if err == nil && unnamed {
		err = j.disk.sync()
	}
	if err != nil {
		j.write.Lock()
		j.poisoned, j.unnamed = true, true
		j.fail("sync", err)
		j.write.Unlock()
		return refusal(err)
	}
	j.durable.Store(&head)
	if j.headFile == nil {
		return nil
	}
	if _, err := j.headFile.WriteAt(head.line(), 0); err != nil {
		j.log.Warn("journal: write head", "error", err) // the records are durable; the anchor is old
	}
	return nil
}

// rotateIfDue closes the live segment when it is large or old enough. One that
// could not be closed is tried again when again is true.
func (j *Journal) rotateIfDue(again bool) {
	j.write.Lock()
	defer j.write.Unlock()
	if j.closed || j.broken != nil || j.stuck != nil && !again {
		return
	}
	aged := j.live.head.Sequence > j.live.begin.Sequence && j.opts.Clock().Sub(j.live.opened) >= j.opts.SegmentAge
	if j.live.size >= j.opts.SegmentSize || aged {
		_ = j.rotate() // noted in stuck
	}
}

// seal is the goroutine that seals closed segments. It ends with ctx.
func (j *Journal) seal(ctx context.Context) {
	retry := time.NewTicker(retentionEvery)
	defer retry.Stop()
	for {
		for j.sealOldest(ctx) {
		}
		select {
		case <-ctx.Done():
			return
		case <-retry.C:
		case <-j.wakeSealer:
		}
	}
}

// sealOldest seals one segment and says whether it is worth to go on at once.
func (j *Journal) sealOldest(ctx context.Context) bool {
	number, waiting := j.shelf.unsealed()
	if number == 0 {
		return false
	}
	began := time.Now()
	foot, err := sealSegment(ctx, j.disk, number, func(ctx context.Context) error {
		defer func() { began = time.Now() }()
		return pause(ctx, waiting, time.Since(began))
	})
	if err != nil {
		torn := errors.Is(err, errTorn) || errors.Is(err, errRecord) || errors.Is(err, errBroken)
		j.shelf.change(number, func(b *book) { b.damaged = torn })
		if ctx.Err() == nil {
			j.log.Error("journal cannot seal a segment; it stays as it is", "segment", number, "damaged", torn, "error", err)
		}
		return torn
	}
	kept := j.shelf.change(number, func(b *book) {
		b.Sealed, b.Size, b.newest = true, foot.size, foot.newest()
	})
	useless := logName(number)
	if !kept { // freed meanwhile, when it was still a log
		useless = sealedName(number)
	}
	if err := j.disk.remove(useless); err != nil {
		j.log.Warn("journal: remove a file that is not needed any more", "file", useless, "error", err)
	}
	j.rotateIfDue(true) // a sealed segment is smaller: there may be room now
	return ctx.Err() == nil
}

// pause keeps sealing from taking a processor away from requests: after each
// block it rests three times as long as the block took, unless segments queue.
func pause(ctx context.Context, waiting int, took time.Duration) error {
	if waiting > 1 {
		return ctx.Err()
	}
	t := time.NewTimer(min(3*took, 20*time.Millisecond))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// mark is a note of the journal itself.
func (j *Journal) mark(tag string, bytes int64) *Record {
	if bytes > 0 {
		tag += ":" + strconv.FormatInt(bytes, 10)
	}
	return &Record{Kind: KindMark, Time: j.opts.Clock(), Tags: []string{tag}}
}
