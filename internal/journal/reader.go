package journal

import (
	"errors"
	"io/fs"
	"sync"
)

// Reader reads the journal of a folder, beside its writer and in any process.
// It keeps the footers of the sealed segments it has seen, 1,024 at most. It is
// safe for concurrent use.
type Reader struct {
	dir   string
	mu    sync.Mutex
	feet  map[uint64]*footer
	order []uint64 // of feet, the longest kept first
}

const maxFeet = 1024

// NewReader returns a reader of a folder, which need not be there yet.
func NewReader(dir string) *Reader {
	return &Reader{dir: dir, feet: make(map[uint64]*footer)}
}

// Segments lists the segments, oldest first; none when there is no folder yet.
func (r *Reader) Segments() ([]Info, error) {
	list, err := Segments(r.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return list, err
}

// Open opens a listed segment. The error is fs.ErrNotExist when retention has
// freed it meanwhile; one that was sealed meanwhile is opened sealed. asked is a
// correlation id that MayHold will be asked for, or nil: a segment without
// filters is asked while it is read.
func (r *Reader) Open(i Info, asked *Key) (*Segment, error) {
	s, err := r.open(i)
	if err != nil {
		return nil, err
	}
	if err := s.survey(asked); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// open opens a segment without looking for the runs of one that is not sealed.
func (r *Reader) open(i Info) (*Segment, error) {
	s, err := r.openAs(i)
	if errors.Is(err, fs.ErrNotExist) && !i.Sealed {
		i.Sealed = true
		return r.openAs(i)
	}
	return s, err
}

func (r *Reader) openAs(i Info) (*Segment, error) {
	r.mu.Lock()
	foot := r.feet[i.Number]
	r.mu.Unlock()
	s, err := openSegment(r.dir, i, foot)
	if err != nil || !s.Sealed || s.foot == foot {
		return s, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.feet[i.Number]; !known {
		if len(r.order) >= maxFeet {
			delete(r.feet, r.order[0])
			r.order = r.order[1:]
		}
		r.order = append(r.order, i.Number)
	}
	r.feet[i.Number] = s.foot
	return s, nil
}

// End returns the sequence number after the last record that is written; 0 when
// there is none.
func (r *Reader) End() (uint64, error) {
	list, err := r.Segments()
	if err != nil || len(list) == 0 {
		return 0, err
	}
	s, err := r.Open(list[len(list)-1], nil)
	if err != nil {
		return 0, err
	}
	end := s.Header.First
	if n := s.Len(); n > 0 {
		end = s.Block(n-1).First + uint64(s.Block(n-1).Records)
	}
	return end, s.Close()
}
