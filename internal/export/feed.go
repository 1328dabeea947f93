package export

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"sallyport.dev/internal/journal"
)

// sink is where a feed sends its batches. It is for one goroutine.
type sink interface {
	// add puts a record into the batch, which may leave nothing in it, and says
	// whether the batch takes another one.
	add(e *journal.Entry) (more bool)
	count() int                       // items in the batch
	send(ctx context.Context) outcome // sends the batch, which stays as it is
	clear()                           // empties the batch
}

// outcome is what became of a batch.
type outcome struct {
	verdict  verdict
	rejected int64         // items that the receiver took the batch without
	asked    time.Duration // how long the receiver wants to be left alone
	said     string        // what the receiver said of it: text from outside
	err      error         // why the batch was not taken
}

type verdict uint8

const (
	again   verdict = iota // the zero value: not known to have arrived
	taken                  // acknowledged
	refused                // for good
)

// feed sends the records of a journal to one sink. It is for one goroutine.
//
// The batch holds the records from sent to next, but for those that were lost.
type feed struct {
	c        Config
	sink     sink
	at       *position
	counters tally
	log      *slog.Logger

	sent uint64 // sequence number: records before it are acknowledged, or lost
	next uint64 // sequence number of the next record to be read

	cursor  *journal.Cursor // nil: to be made at next
	buf     journal.Buffer
	used    int // records of buf that were read
	view    journal.View
	names   journal.Names
	fresh   bool // nothing was read yet, and no position is known: what was freed is not lost
	damaged bool // the next gap is of records that cannot be read

	failed   int // attempts in a row
	refusals tale
	remarks  tale
}

// run sends until ctx ends, and once more then.
func (f *feed) run(ctx context.Context) {
	defer f.release()
	f.resume()
	for {
		wait := f.c.Every
		if err := f.drain(ctx, false); err != nil && ctx.Err() == nil {
			f.complain(err)
			wait = f.c.pace.wait(f.failed-1, 0)
		}
		f.measure()
		if !pause(ctx, wait) {
			break
		}
	}
	f.leave(ctx)
}

// resume finds out where to go on. A feed that has never sent anything begins
// with the oldest record, and so does one whose position cannot be read: rather
// twice than never.
func (f *feed) resume() {
	at, err := f.at.load(f.c.Source.ID())
	if err != nil {
		f.fresh = true
		if !errors.Is(err, errNoPosition) {
			f.log.Error("export: the position is not known; all that the journal holds is sent", "error", err)
		}
	}
	if end := f.c.Source.Durable().Sequence; at > end {
		f.log.Error("export: the journal ends before records that were sent; was an older copy put in its place?", "sent", at, "end", end)
		at = end
	}
	f.sent, f.next = at, at
}

// drain sends what the journal has synced. once: the first failure ends it.
func (f *feed) drain(ctx context.Context, once bool) error {
	for {
		if f.sink.count() == 0 {
			if err := f.collect(ctx); err != nil {
				return err
			}
			if f.next == f.sent {
				f.recovered()
				return nil
			}
		}
		if err := f.deliver(ctx, once); err != nil {
			return err
		}
	}
}

// deliver sends the batch until it is taken or refused, and moves the position.
func (f *feed) deliver(ctx context.Context, once bool) error {
	for f.sink.count() > 0 {
		bounded, cancel := graceful(ctx, f.c.pace)
		o := f.sink.send(bounded)
		cancel()
		if o.verdict != again {
			f.settle(o)
			break
		}
		if err := ctx.Err(); err != nil {
			return err // told to stop: nobody's failure
		}
		f.counters.failures.Inc()
		f.release()
		f.overtaken()
		f.measure()
		if once {
			return o.err
		}
		f.complain(o.err)
		if !pause(ctx, f.c.pace.wait(f.failed-1, o.asked)) {
			return ctx.Err()
		}
	}
	f.recovered()
	f.sent = f.next
	if err := f.at.save(f.c.Source.ID(), f.sent); err != nil {
		if n := f.remarks.add(1, f.c.Clock()); n > 0 {
			f.log.Error("export: the position was not kept; records leave twice after a restart", "error", err)
		}
	}
	f.measure()
	return nil
}

// settle counts what became of the batch, and empties it.
func (f *feed) settle(o outcome) {
	n := int64(f.sink.count())
	if o.verdict == refused {
		f.counters.dropped(lostRefused).Add(float64(n))
		if all := f.refusals.add(n, f.c.Clock()); all > 0 {
			f.log.Error("export: the receiver refused records for good; they are dropped", "records", all, "error", o.err, "answer", o.said)
		}
	} else {
		if f.c.acked != nil {
			f.c.acked()
		}
		lost := min(max(o.rejected, 0), n)
		f.counters.records.Add(float64(n - lost))
		f.counters.dropped(lostRejected).Add(float64(lost))
		if all := f.refusals.add(lost, f.c.Clock()); all > 0 {
			f.log.Error("export: the receiver took a batch without some of its records; they are dropped", "records", all, "answer", o.said)
		}
		if lost == 0 && o.said != "" && f.remarks.add(1, f.c.Clock()) > 0 {
			f.log.Warn("export: the receiver took a batch and had something to say", "answer", o.said)
		}
	}
	f.sink.clear()
}

// complain tells of the first failure in a row.
func (f *feed) complain(err error) {
	if f.failed == 0 {
		f.log.Warn("export: not sent; it is tried again, and the journal keeps the records meanwhile", "error", err)
	}
	f.failed++
}

// recovered tells that a row of failures is over.
func (f *feed) recovered() {
	if f.failed > 0 {
		f.log.Info("export: goes on", "failures", f.failed)
	}
	f.failed = 0
}

// measure shows how far the feed is behind.
func (f *feed) measure() {
	end := f.c.Source.Durable().Sequence
	f.counters.lag.Set(float64(end - min(f.sent, end)))
}

// step is how often leave looks whether the journal has synced its end.
const step = 20 * time.Millisecond

// leave sends what was written before the end. What cannot be sent now is sent
// after the next start.
func (f *feed) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.c.pace.farewell)
	defer cancel()
	end := f.c.Source.Head().Sequence
	for left := f.c.pace.settled; left > 0; left -= step { // what is written now is synced within a tenth of a second
		if f.c.Source.Durable().Sequence >= end || !pause(ctx, step) {
			break
		}
	}
	if err := f.drain(ctx, true); err != nil {
		f.log.Warn("export: some records are left for the next start", "records", f.c.Source.Head().Sequence-f.sent, "error", err)
	}
	f.measure()
}

// tale bounds how often the same thing is told: once a minute, with the sum.
type tale struct {
	last time.Time
	sum  int64
}

// add returns what is to be told now; 0 for nothing.
func (t *tale) add(n int64, now time.Time) int64 {
	t.sum += n
	if t.sum == 0 || !t.last.IsZero() && now.Sub(t.last) < time.Minute {
		return 0
	}
	told := t.sum
	t.last, t.sum = now, 0
	return told
}
