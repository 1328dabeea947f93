package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// Block says what is known of a block without reading it.
type Block struct {
	First    uint64 // sequence number of its first record
	Records  int
	Min, Max int64 // times of its records, microseconds since 1970
}

// Segment is one segment, open for reading by one goroutine. It stays readable
// when retention or sealing removes the file meanwhile.
type Segment struct {
	Header *Header
	Sealed bool
	f      *os.File
	foot   *footer  // sealed
	runs   []run    // not sealed; found by survey
	in     *scanner // not sealed
	asked  *Key     // not sealed: what survey was asked for
	torn   error    // not sealed: why survey could not read to the end
}

// run is a stretch of frames of a .log, read like a block.
type run struct {
	Block
	from  int64 // offset
	holds bool  // the correlation id that survey was asked for
}

// openSegment opens a segment of a folder. fs.ErrNotExist: it was freed, or
// sealed under another name, since the folder was listed.
func openSegment(dir string, i Info, foot *footer) (*Segment, error) {
	f, err := readOnly(dir, i.name())
	if err != nil {
		return nil, fmt.Errorf("journal: open segment %d: %w", i.Number, err)
	}
	s := &Segment{Sealed: i.Sealed, f: f, foot: foot}
	if i.Sealed {
		err = s.openSealed()
	} else {
		err = s.openLog()
	}
	if err != nil {
		_ = f.Close() // only read
		return nil, fmt.Errorf("journal: segment %d: %w", i.Number, err)
	}
	return s, nil
}

func (s *Segment) openSealed() error {
	info, err := s.f.Stat()
	if err != nil {
		return err
	}
	if s.foot == nil || s.foot.size != info.Size() {
		if s.foot, err = readFooter(s.f, info.Size()); err != nil {
			return err
		}
	}
	s.Header = s.foot.header
	return nil
}

func (s *Segment) openLog() error {
	header, raw, err := readHeader(s.f)
	if err != nil {
		return err
	}
	s.Header = header
	s.in = newScanner(s.f, int64(len(raw)))
	return nil
}

// survey reads all frames of a .log once to find its runs. What follows the last
// whole frame is being written, or torn, or damaged: see Torn.
func (s *Segment) survey(asked *Key) error {
	if s.Sealed {
		return nil
	}
	s.asked = asked
	var b Buffer
	for next := s.Header.First; ; next += uint64(b.Len()) {
		from := s.in.off
		b.reset(s.Header, next)
		if err := b.fill(s.in, noLimit); err == io.EOF {
			return nil
		} else if errors.Is(err, errTorn) {
			s.torn = fmt.Errorf("journal: segment %d, offset %d: %w: %w", s.Header.Segment, s.in.off, ErrDamaged, err)
			return nil
		} else if err != nil {
			return fmt.Errorf("journal: segment %d: %w", s.Header.Segment, err)
		}
		lo, hi := b.times()
		s.runs = append(s.runs, run{Block{next, b.Len(), int64(lo), int64(hi)}, from, asked == nil || b.holds(asked)})
	}
}

// Close ends reading.
func (s *Segment) Close() error { return s.f.Close() }

// Len returns the number of blocks; block 0 is the oldest.
func (s *Segment) Len() int {
	if s.Sealed {
		return len(s.foot.blocks)
	}
	return len(s.runs)
}

// Block returns what is known of block i.
func (s *Segment) Block(i int) Block {
	if !s.Sealed {
		return s.runs[i].Block
	}
	x := &s.foot.index.blocks[i]
	return Block{First: s.foot.first[i], Records: x.records, Min: int64(x.min), Max: int64(x.max)}
}

// Times returns the earliest and latest time of all records; ok is false when there are none.
func (s *Segment) Times() (lo, hi int64, ok bool) {
	if s.Sealed {
		return int64(s.foot.index.min), int64(s.foot.index.max), s.foot.index.records > 0
	}
	for i, r := range s.runs {
		if i == 0 || r.Min < lo {
			lo = r.Min
		}
		hi = max(hi, r.Max)
	}
	return lo, hi, len(s.runs) > 0
}

// Facets returns the facets of a sealed segment; BlockFacets gives indexes into it.
func (s *Segment) Facets() []Facet {
	if !s.Sealed {
		return nil
	}
	return s.foot.index.facets
}

// BlockFacets returns which facets block i of a sealed segment has.
func (s *Segment) BlockFacets(i int) []int { return s.foot.index.blocks[i].facets }

// Torn returns why a segment that is not sealed could not be read to its end; nil
// when it could. In the live one that is no finding: it is being written, or a
// crash has torn it. In any other it is damage, and the error is ErrDamaged.
func (s *Segment) Torn() error { return s.torn }

// MayHold says whether the segment may hold a key. False is certain: a line
// of a filter that is damaged denies nothing.
func (s *Segment) MayHold(k *Key) (bool, error) {
	if !s.Sealed {
		return true, nil
	}
	return s.ask(s.foot.filter, s.foot.index.filterSize, k)
}

// BlockMayHold says whether block i may hold a key. False is certain.
func (s *Segment) BlockMayHold(i int, k *Key) (bool, error) {
	if !s.Sealed {
		return k != s.asked || s.runs[i].holds, nil
	}
	return s.ask(s.foot.filters[i], s.foot.index.blocks[i].filterSize, k)
}

func (s *Segment) ask(at int64, size int, k *Key) (bool, error) {
	var line [filterLine]byte
	if _, err := s.f.ReadAt(line[:], at+int64(filterAt(k.hash, size))); err != nil {
		return true, fmt.Errorf("journal: segment %d: read filter: %w", s.Header.Segment, err)
	}
	return !lineIsSound(line[:]) || lineHolds(line[:], k.hash), nil
}

// Read fills b with block i.
func (s *Segment) Read(i int, b *Buffer) error {
	var err error
	if s.Sealed {
		err = s.foot.readBlock(s.f, i, b)
	} else {
		b.reset(s.Header, s.runs[i].First)
		s.in.seek(s.runs[i].from)
		err = b.fill(s.in, s.runs[i].Records)
		if err == io.EOF || errors.Is(err, errTorn) { // it was whole when it was surveyed
			err = fmt.Errorf("%w: %w", ErrDamaged, err)
		}
	}
	if err != nil {
		return fmt.Errorf("journal: segment %d, block %d: %w", s.Header.Segment, i, err)
	}
	return nil
}
