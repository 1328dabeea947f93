package journal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Cursor reads the records of a journal in their order, from a sequence number
// on, and goes on when more are written. It is for one goroutine.
type Cursor struct {
	r    *Reader
	next uint64 // sequence number of the next record

	seg    *Segment // nil between segments
	number uint64   // of seg, or of the one that was left last; 0 at first
	block  int      // sealed: the next block
	at     uint64   // not sealed: sequence number of the next frame
	closed bool     // not sealed: a newer segment was seen, so that EOF is the end
}

// Cursor returns a cursor at a sequence number. When that was freed already it
// begins with the oldest record that is there.
func (r *Reader) Cursor(from uint64) *Cursor { return &Cursor{r: r, next: from} }

// Position returns the sequence number of the next record.
func (c *Cursor) Position() uint64 { return c.next }

// Close ends reading.
func (c *Cursor) Close() error {
	if c.seg == nil {
		return nil
	}
	err := c.seg.Close()
	c.seg = nil
	return err
}

// Next fills b with the records that follow, one block at most, and none from
// until on, which is the sequence number of a Head. io.EOF: there are none for
// now; ask again later.
//
// An error that is ErrDamaged tells that records were passed over; the next call
// goes on behind them. Segments that were freed are passed over silently. In
// both cases b.First is more than Position was.
func (c *Cursor) Next(b *Buffer, until uint64) error {
	for c.next < until {
		if c.seg == nil {
			if err := c.enter(); err != nil {
				return err
			}
		}
		err := c.read(b, until)
		switch {
		case err == nil && b.Len() > 0:
			c.next = b.First + uint64(b.Len())
			return nil
		case err == nil: // all of it lies before the position
			continue
		case err == errUntil:
			return io.EOF
		case err != io.EOF && !errors.Is(err, errTorn):
			return err
		case !c.seg.Sealed && !c.closed:
			newer, err := c.newer()
			if err != nil {
				return err
			}
			if newer == (Info{}) {
				return io.EOF
			}
			c.closed = true // what was written before the newer one began is still to be read
		default:
			if err := c.Close(); err != nil {
				return fmt.Errorf("journal: leave segment %d: %w", c.number, err)
			}
			if err != io.EOF { // a closed segment is not being written: the rest of it is damaged
				return fmt.Errorf("journal: segment %d: %w: %w", c.number, ErrDamaged, err)
			}
		}
	}
	return io.EOF
}

// enter opens the segment of the position, or the one after that which was left.
func (c *Cursor) enter() error {
	i, err := c.newer()
	if err == nil && c.number == 0 {
		i, err = c.find()
	}
	if err != nil {
		return err
	}
	if i == (Info{}) {
		return io.EOF
	}
	s, err := c.r.open(i)
	if gone := errors.Is(err, fs.ErrNotExist); gone || errors.Is(err, ErrDamaged) {
		c.number = i.Number // passed over: freed since it was listed, or unreadable
		if gone {
			return c.enter()
		}
	}
	if err != nil {
		return err
	}
	c.seg, c.number, c.block, c.at, c.closed = s, i.Number, 0, s.Header.First, false
	if s.Sealed {
		for c.block < s.Len() && s.Block(c.block).First+uint64(s.Block(c.block).Records) <= c.next {
			c.block++
		}
	}
	return nil
}

// find returns the segment that holds the position: the newest that begins at
// or before it, else the oldest.
func (c *Cursor) find() (Info, error) {
	list, err := c.r.Segments()
	if err != nil || len(list) == 0 {
		return Info{}, err
	}
	for n := len(list) - 1; n > 0; n-- {
		s, err := c.r.open(list[n])
		if err != nil {
			continue // damaged, or freed: an older one will lead here
		}
		begins := s.Header.First
		if err := s.Close(); err != nil {
			return Info{}, fmt.Errorf("journal: close segment: %w", err)
		}
		if begins <= c.next {
			return list[n], nil
		}
	}
	return list[0], nil
}

// newer returns the oldest segment after the current one, Info{} when there is none.
func (c *Cursor) newer() (next Info, err error) {
	names, err := c.r.names()
	if err != nil {
		return next, err
	}
	return c.after(names)
}

// after is newer for the names of the folder, which may have changed since.
func (c *Cursor) after(names []string) (next Info, err error) {
	for _, name := range names {
		n, sealed := segmentNumber(name, sealedSuffix)
		if !sealed {
			n, _ = segmentNumber(name, logSuffix)
		}
		if n > c.number && (next.Number == 0 || n < next.Number || n == next.Number && sealed) {
			next = Info{Number: n, Sealed: sealed}
		}
	}
	if c.number == 0 {
		return next, nil
	}
	missed, err := overlooked(c.r.dir, c.number+1, next.Number)
	if err != nil {
		return next, fmt.Errorf("journal: list segments: %w", err)
	}
	if missed != (Info{}) {
		return missed, nil
	}
	return next, nil
}

// names lists the folder; it asks nothing of each file, so it is cheap to poll.
func (r *Reader) names() ([]string, error) {
	f, err := os.Open(r.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("journal: list segments: %w", err)
	}
	names, err := f.Readdirnames(-1)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("journal: list segments: %w", err)
	}
	return names, nil
}

// errUntil is the error of read when what follows lies at or after until.
var errUntil = errors.New("not yet")

// read fills b from the current segment; it is empty when all it read lies
// before the position. io.EOF: the segment holds no more. errTorn, of one that is
// not sealed: what follows is no whole frame.
func (c *Cursor) read(b *Buffer, until uint64) error {
	var err error
	if c.seg.Sealed {
		err = c.readBlock(b, until)
	} else {
		err = c.readFrames(b, until)
	}
	if err == nil {
		b.skip(c.next)
	}
	return err
}

func (c *Cursor) readBlock(b *Buffer, until uint64) error {
	if c.block >= c.seg.Len() {
		return io.EOF
	}
	if c.seg.Block(c.block).First >= until {
		return errUntil
	}
	err := c.seg.Read(c.block, b)
	if err == nil && b.cut(until) {
		return nil // the same block again, when more of it may be given
	}
	if err == nil || errors.Is(err, ErrDamaged) {
		c.block++
	}
	return err
}

func (c *Cursor) readFrames(b *Buffer, until uint64) error {
	if c.at >= until {
		return errUntil
	}
	b.reset(c.seg.Header, c.at)
	err := b.fill(c.seg.in, int(min(until-c.at, noLimit)))
	if err != nil && err != io.EOF && !errors.Is(err, errTorn) {
		return fmt.Errorf("journal: segment %d: %w", c.number, err)
	}
	c.at += uint64(b.Len())
	return err
}
