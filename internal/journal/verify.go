package journal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// Report is what Verify found.
type Report struct {
	Segments int
	Records  uint64
	Bytes    int64
	Begin    Head // where the oldest kept segment begins
	End      Head // where the journal ends
	Findings []Finding
}

// Finding is one thing that is not as it was written.
type Finding struct {
	Segment uint64 // 0: the folder
	Offset  int64  // in the segment's file; -1: the file as a whole
	Text    string
}

func (f Finding) String() string {
	switch {
	case f.Segment == 0:
		return f.Text
	case f.Offset < 0:
		return fmt.Sprintf("segment %d: %s", f.Segment, f.Text)
	default:
		return fmt.Sprintf("segment %d, offset %d: %s", f.Segment, f.Offset, f.Text)
	}
}

// maxFindings bounds a report; more would say nothing new.
const maxFindings = 1000

// Verify reads a whole journal and derives everything again: checksums, the
// chain over all segments, and in sealed segments every index entry and filter.
// It works beside a writer.
//
// What was removed from the end leaves a chain that is whole, so that end must
// be known from elsewhere: the folder's own head, and anchors, which are heads
// that somebody kept outside of the folder. Each one that lies within the
// journal must be a place that the chain passes through.
//
// The error tells that the folder could not be read; what is wrong in it is in
// the report.
//
// It waits for a command `sallyport verify`: until then tests and benchmarks call it.
func Verify(ctx context.Context, dir string, anchors ...Head) (*Report, error) {
	v := &verification{dir: dir, hash: newHasher(), anchors: slices.Clone(anchors), writer: hasWriter(dir)}
	if h := v.readAnchor(headFile); h != nil {
		v.anchors = append(v.anchors, *h)
	}
	list, err := Segments(dir)
	if err != nil {
		return nil, err
	}
	for i, s := range list {
		if err := v.segment(ctx, s, i == len(list)-1); err != nil {
			return nil, err
		}
	}
	v.end()
	return &v.Report, nil
}

type verification struct {
	Report
	dir     string
	hash    hasher
	anchors []Head
	writer  bool     // there is one at work
	begun   bool     // a segment was verified, and none behind it was freed since
	journal [16]byte // id, from the first segment
	at      Head     // place in the journal that was reached
	number  uint64   // of the current segment
	buf     Buffer
}

func (v *verification) found(offset int64, format string, args ...any) {
	if len(v.Findings) < maxFindings {
		v.Findings = append(v.Findings, Finding{v.number, offset, fmt.Sprintf(format, args...)})
	}
}

// readAnchor returns a head of the folder, nil when there is none to be trusted.
func (v *verification) readAnchor(name string) *Head {
	h, err := readHead(v.dir, name)
	if err != nil {
		v.found(-1, "anchor %s: %v", name, err)
		return nil
	}
	return &h
}

// open opens a listed segment: nil when retention has freed it. A writer may be
// moving the floor, so it is read after the file is open, and once more when a
// file is gone.
func (v *verification) open(s *Info) (f *os.File, floor *Head, err error) {
	f, err = readOnly(v.dir, s.name())
	if errors.Is(err, fs.ErrNotExist) && !s.Sealed {
		s.Sealed = true // sealed meanwhile
		f, err = readOnly(v.dir, s.name())
	}
	gone := errors.Is(err, fs.ErrNotExist)
	if v.begun && !gone {
		return f, nil, err
	}
	floor = v.readAnchor(floorFile)
	if floor == nil || s.Number >= floor.Segment {
		return f, floor, err
	}
	v.begun = false // the journal begins anew at the floor
	if gone {
		return nil, floor, nil
	}
	return nil, floor, f.Close()
}

// segment verifies one segment. Only errors of reading are returned.
func (v *verification) segment(ctx context.Context, s Info, last bool) error {
	f, floor, err := v.open(&s)
	if err != nil {
		return fmt.Errorf("journal: verify: %w", err)
	}
	if f == nil {
		return nil
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("journal: verify: %w", err)
	}
	v.number = s.Number
	v.Segments++
	v.Bytes += info.Size()
	h, raw, err := readHeader(f)
	if err != nil {
		v.found(0, "%v", err)
		v.at.Segment = s.Number // unreadable, not missing
		return nil
	}
	v.joins(h, s, floor)
	v.at = Head{Segment: s.Number, Sequence: h.First, Chain: v.hash.next(&h.Previous, raw)}
	v.pass()
	if s.Sealed {
		return v.sealed(ctx, f, info.Size())
	}
	return v.log(ctx, f, int64(len(raw)), info.Size(), last)
}

// joins checks that a segment begins where the one before it ended.
func (v *verification) joins(h *Header, s Info, floor *Head) {
	if h.Segment != s.Number {
		v.found(0, "the header says that this is segment %d", h.Segment)
	}
	begin := Head{Segment: s.Number, Sequence: h.First, Chain: h.Previous}
	if !v.begun {
		v.begun, v.Begin, v.journal = true, begin, h.Journal
		if floor != nil && *floor != begin {
			v.found(0, "the journal is kept from segment %d, record %d on: this is another place", floor.Segment, floor.Sequence)
		}
		return
	}
	switch {
	case h.Journal != v.journal:
		v.found(0, "this is a segment of another journal")
	case s.Number != v.at.Segment+1:
		v.found(0, "segments %d to %d are missing", v.at.Segment+1, s.Number-1)
	case h.First != v.at.Sequence:
		v.found(0, "records %d to %d are missing before it", v.at.Sequence, h.First-1)
	case h.Previous != v.at.Chain:
		v.found(0, "the chain does not lead here from segment %d", v.at.Segment)
	}
}

// frame takes one payload into the chain.
func (v *verification) frame(payload []byte, records int) {
	v.at.Chain = v.hash.next(&v.at.Chain, payload)
	v.at.Sequence += uint64(records)
	v.Records += uint64(records)
	v.pass()
}

// pass strikes out the anchors that the chain passes through here, and reports
// those that name another value.
func (v *verification) pass() {
	v.anchors = slices.DeleteFunc(v.anchors, func(a Head) bool {
		if a.Sequence != v.at.Sequence || a.Segment != v.at.Segment {
			return false
		}
		if a.Chain != v.at.Chain {
			v.found(-1, "the chain does not pass through the anchor at record %d: what lies before it was changed", a.Sequence)
		}
		return true
	})
}

// end reports the anchors that were not met and what the folder holds besides.
func (v *verification) end() {
	v.End = v.at
	v.number = 0
	for _, a := range v.anchors {
		switch {
		case v.Segments > 0 && a.Segment < v.Begin.Segment:
			// Freed since the anchor was taken.
		case v.Segments == 0 || a.Sequence > v.at.Sequence:
			v.found(-1, "the journal ends at record %d, but it had reached record %d: its end is missing", v.at.Sequence, a.Sequence)
		default:
			v.found(-1, "the journal has no place for the anchor at record %d of segment %d", a.Sequence, a.Segment)
		}
	}
}

// log verifies a segment that is not sealed.
func (v *verification) log(ctx context.Context, f *os.File, from, size int64, last bool) error {
	in := newScanner(io.NewSectionReader(f, 0, size), from)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		at := in.off
		payload, claimed, err := in.next()
		switch {
		case err == io.EOF:
			return nil
		case err == errPart && last && v.writer:
			return nil // being written
		case errors.Is(err, errTorn):
			v.found(at, "%v; %d bytes from here on are not read", err, size-at)
			return nil
		case err != nil:
			return err
		}
		v.buf.reset(nil, v.at.Sequence)
		if err := v.buf.add(payload); err != nil {
			v.found(at, "%v", err)
		}
		v.frame(payload, v.buf.Len())
		if v.at.Chain != *claimed {
			v.found(at, "the chain is broken: this frame does not follow the one before it")
			v.at.Chain = *claimed // to find out whether what follows holds together
		}
		v.marks(at)
	}
}

// marks reports what the journal itself has noted as damage.
func (v *verification) marks(at int64) {
	var view View
	for i := range v.buf.Len() {
		err := view.Parse(v.buf.At(i))
		if err == nil && view.Kind != KindMark {
			continue
		}
		var tags []string
		if err == nil {
			_, tags, err = view.parseLists(&Names{})
		}
		if err != nil {
			v.found(at, "record %d: %v", v.buf.First+uint64(i), err)
		}
		for _, tag := range tags {
			if name, _, _ := strings.Cut(tag, ":"); name == MarkDamaged {
				v.found(at, "record %d notes that durable records were lost before it (%s)", v.buf.First+uint64(i), tag)
			}
		}
	}
}
