package logs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"sallyport.dev/internal/journal"
)

// Log is the log of one journal folder. It is safe for concurrent use, and
// keeps what it learnt of sealed segments for the next search.
type Log struct{ reader *journal.Reader }

// New returns the log of a folder, which need not be there yet.
func New(dir string) *Log { return &Log{journal.NewReader(dir)} }

// Search calls yield with each record that matches, in the order of the query,
// until yield returns false, the limit is reached or ctx ends.
//
// Damaged parts of the journal are passed over; the error, which is
// journal.ErrDamaged then, tells of them after all else was found.
func (l *Log) Search(ctx context.Context, q Query, yield func(*journal.Entry) bool) error {
	s := search{matcher: newMatcher(q), ctx: ctx, reader: l.reader, yield: yield}
	return s.run()
}

// maxDamages bounds the errors that a search collects.
const maxDamages = 16

type search struct {
	*matcher
	ctx     context.Context //nolint:containedctx // lives as long as one call
	reader  *journal.Reader
	yield   func(*journal.Entry) bool
	buf     journal.Buffer
	found   int
	done    bool
	damages []error
}

func (s *search) run() error {
	list, err := s.reader.Segments()
	if err != nil {
		return fmt.Errorf("logs: search: %w", err)
	}
	for i := range list {
		if s.done {
			break
		}
		k := s.at(i, len(list))
		if err := s.segment(list[k], k == len(list)-1); err != nil {
			return fmt.Errorf("logs: search: %w", err)
		}
	}
	return errors.Join(s.damages...)
}

// at turns the i-th step of n into an index of what is kept oldest first.
func (s *search) at(i, n int) int {
	if s.Order == NewestFirst {
		return n - 1 - i
	}
	return i
}

// damaged takes an error that does not end the search; others are returned.
func (s *search) damaged(err error) error {
	if !errors.Is(err, journal.ErrDamaged) {
		return err
	}
	if len(s.damages) < maxDamages {
		s.damages = append(s.damages, err)
	}
	return nil
}

// segment searches one segment. last: it is the live one, unless it is sealed.
func (s *search) segment(i journal.Info, last bool) (err error) {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	seg, err := s.reader.Open(i, s.correlation)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // freed since it was listed
	}
	if err != nil {
		return s.damaged(err)
	}
	defer func() { err = errors.Join(err, seg.Close()) }()
	if torn := seg.Torn(); torn != nil && !last {
		if err := s.damaged(torn); err != nil {
			return err
		}
	}
	may, err := s.matcher.segment(seg)
	if err != nil || !may {
		return err
	}
	for i := range seg.Len() {
		if s.done {
			return nil
		}
		if err := s.block(seg, s.at(i, seg.Len())); err != nil {
			return err
		}
	}
	return nil
}

func (s *search) block(seg *journal.Segment, i int) error {
	may, err := s.matcher.block(seg, i)
	if err != nil || !may {
		return err
	}
	if err := s.ctx.Err(); err != nil {
		return err
	}
	if err := seg.Read(i, &s.buf); err != nil {
		return s.damaged(err)
	}
	for i := range s.buf.Len() {
		e, err := s.record(&s.buf, s.at(i, s.buf.Len()))
		if err != nil {
			if err = s.damaged(err); err != nil {
				return err
			}
			continue
		}
		if e == nil {
			continue
		}
		s.found++
		if !s.yield(e) || s.found == s.Limit {
			s.done = true
			return nil
		}
	}
	return nil
}
