package export

import (
	"context"
	"errors"
	"io"

	"sallyport.dev/internal/journal"
)

// collect reads records into the batch until it is full, or the journal has
// synced no more. An error is returned when nothing was read before it.
func (f *feed) collect(ctx context.Context) error {
	end := f.c.Source.Durable().Sequence
	for more := true; more; {
		if f.used == f.buf.Len() {
			if err := ctx.Err(); err != nil {
				return err
			}
			err := f.read(end)
			if err == io.EOF {
				return nil
			}
			if err != nil && f.next == f.sent {
				return err
			}
			if err != nil {
				return nil // comes again, when what was read is sent
			}
		}
		more = f.take()
	}
	return nil
}

// read fills the buffer with the records that follow.
func (f *feed) read(end uint64) error {
	if f.next >= end {
		return io.EOF
	}
	if f.cursor == nil {
		f.cursor = f.c.Reader.Cursor(f.next)
	}
	f.used = 0
	for {
		err := f.cursor.Next(&f.buf, end)
		if err == nil {
			break
		}
		if errors.Is(err, journal.ErrDamaged) {
			f.damaged = true
			f.log.Error("export: a part of the journal is damaged", "from", f.next, "error", err)
			continue // the next call goes on behind it
		}
		if err != io.EOF {
			f.release()
		}
		return err
	}
	if f.fresh {
		f.start(f.buf.First)
	}
	f.lose(f.buf.First)
	f.damaged = false
	return nil
}

// start notes where a feed that has never sent anything begins, so that what is
// freed from now on counts as lost, after a restart too.
func (f *feed) start(at uint64) {
	f.fresh, f.sent, f.next = false, at, at
	if err := f.at.save(f.c.Source.ID(), at); err != nil {
		f.log.Error("export: the position was not kept", "error", err)
	}
}

// take puts the next record of the buffer into the batch.
func (f *feed) take() (more bool) {
	i := f.used
	f.used++
	err := f.view.Parse(f.buf.At(i))
	var e *journal.Entry
	if err == nil {
		e, err = f.buf.Entry(i, &f.view, &f.names)
	}
	if err != nil {
		f.damaged = true
		f.lose(f.next + 1)
		f.damaged = false
		return true
	}
	f.next++
	return f.sink.add(e)
}

// lose counts the records from next up to another one as lost.
func (f *feed) lose(to uint64) {
	if to <= f.next {
		return
	}
	n, from := to-f.next, f.next
	f.next = to
	if f.damaged {
		f.counters.dropped(lostDamaged).Add(float64(n))
		f.log.Error("export: damaged records are not sent", "records", n, "from", from, "to", to)
		return
	}
	f.counters.dropped(lostRetention).Add(float64(n))
	f.log.Error("export: retention freed records before they were sent", "records", n, "from", from, "to", to)
}

// overtaken counts what retention has freed behind the batch, while the
// receiver is not there. Where it cannot tell, read will.
func (f *feed) overtaken() {
	list, err := f.c.Reader.Segments()
	if err != nil || len(list) < 2 || !list[0].Sealed {
		return
	}
	s, err := f.c.Reader.Open(list[0], nil)
	if err != nil {
		return
	}
	f.lose(s.Header.First)
	_ = s.Close() // only read
}

// release gives back what reading holds: a file, and buffers. A receiver may be
// away for long.
func (f *feed) release() {
	if f.cursor != nil {
		_ = f.cursor.Close() // only read
	}
	f.cursor, f.buf, f.used = nil, journal.Buffer{}, 0
}
