package journal

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// recover brings the folder into the state in which it can be written: closed
// segments on the shelf, and a live segment that ends in a whole frame. It
// returns the marks that tell what was found.
func (j *Journal) recover() (notes []*Record, err error) {
	p, err := j.read()
	if err != nil {
		return nil, err
	}
	j.id = newID()
	last := len(p.segments) - 1
	closed := p.segments
	if last >= 0 && !p.segments[last].Sealed {
		closed = p.segments[:last]
	}
	end := p.floor
	for _, s := range closed {
		end = j.shelve(s, end)
	}
	if err := j.openFloor(p); err != nil {
		return nil, err
	}
	if len(closed) == len(p.segments) { // the folder is empty, or the last segment was closed
		return j.afresh(end, p.head)
	}
	return j.resume(p.segments[last], p.head, end)
}

// openFloor keeps the floor as it was, so that what is missing above it stays a
// finding. One that is not there, or cannot be read, is where the journal begins now.
func (j *Journal) openFloor(p past) (err error) {
	floor := p.floor
	switch {
	case floor != Head{}:
	case len(j.shelf.books) > 0:
		floor = j.shelf.books[0].begin
	case len(p.segments) > 0:
		floor.Segment = p.segments[0].Number
		if f, err := j.disk.open(p.segments[0].name()); err == nil {
			if h, _, err := readHeader(f); err == nil {
				floor.Sequence, floor.Chain = h.First, h.Previous
			}
			_ = f.Close() // only read
		}
	default:
		floor.Segment = 1
	}
	j.shelf.floor, err = openHead(j.disk, floorFile, floor)
	return err
}

// shelve puts a closed segment on the shelf and returns where the next begins.
// One that cannot be read stays where it is: Verify reports it.
func (j *Journal) shelve(s Info, end Head) Head {
	b := book{Info: s, begin: Head{Segment: s.Number, Sequence: end.Sequence, Chain: end.Chain}, newest: j.opts.Clock()}
	next := Head{Segment: s.Number + 1, Sequence: end.Sequence, Chain: end.Chain}
	f, err := j.disk.open(s.name())
	if err == nil {
		defer func() { _ = f.Close() }() // only read
		var h *Header
		if s.Sealed {
			var foot *footer
			if foot, err = readFooter(f, s.Size); err == nil {
				h = foot.header
				next.Sequence, next.Chain = foot.next(), foot.index.final
				b.newest = foot.newest()
			}
		} else {
			h, _, err = readHeader(f)
			if err := trim(f); err != nil {
				j.log.Warn("journal: room behind a closed segment is not given back", "segment", s.Number, "error", err)
			}
		}
		if h != nil {
			b.begin.Sequence, b.begin.Chain = h.First, h.Previous
			j.id = h.Journal
		}
	}
	if err != nil {
		b.damaged = true
		j.log.Error("journal: a segment cannot be read", "segment", s.Number, "error", err)
	}
	j.shelf.put(b)
	return next
}

// afresh begins a live segment where the journal ends. A head beyond that end
// means that whole segments are gone: their numbers stay free.
func (j *Journal) afresh(end, head Head) (notes []*Record, err error) {
	end.Segment = max(end.Segment, 1)
	if head.Sequence > end.Sequence {
		j.log.Error("journal: durable records are missing", "from", end.Sequence, "to", head.Sequence)
		notes = append(notes, j.mark(MarkDamaged, 0))
		end = Head{Segment: max(end.Segment, head.Segment+1), Sequence: head.Sequence, Chain: end.Chain}
	}
	j.live, err = j.begin(end)
	j.unnamed = true
	return notes, err
}

// resume goes on with the last segment, which was live.
func (j *Journal) resume(s Info, head, end Head) (notes []*Record, err error) {
	f, err := j.disk.open(s.name())
	if err != nil {
		return nil, fmt.Errorf("journal: open live segment: %w", err)
	}
	h, raw, err := readHeader(f)
	if err != nil {
		// Its header was synced before it had its name: this is damage.
		j.log.Error("journal: the last segment cannot be read and is left as it is", "segment", s.Number, "error", err)
		j.shelf.put(book{Info: s, begin: Head{Segment: s.Number, Sequence: end.Sequence, Chain: end.Chain}, newest: j.opts.Clock(), damaged: true})
		end.Segment = s.Number + 1
		notes, err = j.afresh(end, head)
		return append(notes, j.mark(MarkDamaged, s.Size)), errors.Join(err, f.Close())
	}
	j.id = h.Journal
	j.live = live{
		file: f, opened: h.Created, limit: j.opts.SegmentSize + j.opts.reserve(),
		begin: Head{Segment: s.Number, Sequence: h.First, Chain: h.Previous},
	}
	cause, err := j.readLive(h, raw)
	if err != nil {
		return nil, err
	}
	if torn := s.Size - j.live.size; torn > 0 {
		note, err := j.cut(torn, cause, head)
		if err != nil {
			return nil, err
		}
		notes = append(notes, note)
	}
	// Sequence numbers are never used again once they were durable: readers
	// keep their places by them.
	gap := head.Sequence > j.live.head.Sequence
	if gap {
		j.log.Error("journal: durable records are missing", "from", j.live.head.Sequence, "to", head.Sequence)
		if len(notes) == 0 {
			notes = append(notes, j.mark(MarkDamaged, 0))
		}
		j.live.head.Sequence = head.Sequence
		j.live.head.Segment = max(j.live.head.Segment, head.Segment)
	}
	if gap || h.Zone != j.opts.Zone || !slices.Equal(h.Stages, j.opts.Stages) {
		return notes, j.rotate()
	}
	if err := f.allocate(j.live.limit); err != nil {
		j.log.Warn("journal: no room can be reserved", "error", err)
	}
	return notes, nil
}

// readLive finds the end of the live segment: the last frame that is whole and
// in the chain. cause says what follows it.
func (j *Journal) readLive(h *Header, raw []byte) (cause, err error) {
	j.live.head = Head{Segment: h.Segment, Sequence: h.First, Chain: j.hash.next(&h.Previous, raw)}
	j.live.size = int64(len(raw))
	in := newScanner(j.live.file, j.live.size)
	var b Buffer
	for {
		payload, claimed, err := in.next()
		if err == io.EOF || errors.Is(err, errTorn) {
			return err, nil
		}
		if err != nil {
			return nil, err
		}
		chain := j.hash.next(&j.live.head.Chain, payload)
		if chain != *claimed {
			return errBroken, nil
		}
		b.reset(h, 0)
		if err := b.add(payload); err != nil {
			return err, nil
		}
		j.live.head.Chain = chain
		j.live.head.Sequence += uint64(b.Len())
		j.live.size = in.off
	}
}

// cut moves what follows the last whole frame into a file of its own. Bytes that
// had been synced cannot have been torn: those are damage, and never go without
// being kept.
func (j *Journal) cut(torn int64, cause error, head Head) (*Record, error) {
	name := tornName(j.live.begin.Segment, j.live.size)
	b := make([]byte, min(torn, mostTorn))
	if _, err := j.live.file.ReadAt(b, j.live.size); err != nil {
		return nil, fmt.Errorf("journal: read torn bytes: %w", err)
	}
	damage := head.Sequence > j.live.head.Sequence
	if err := replace(j.disk, name, b); err != nil {
		if damage || !isFull(err) {
			return nil, err
		}
		name = "" // nobody was promised these bytes, and a full disk must not keep the journal shut
	}
	if err := errors.Join(j.live.file.Truncate(j.live.size), j.live.file.Sync()); err != nil {
		return nil, fmt.Errorf("journal: cut torn bytes: %w", err)
	}
	if damage {
		j.log.Error("journal: damaged bytes were put aside", "segment", j.live.begin.Segment, "offset", j.live.size, "bytes", torn, "file", name, "cause", cause)
		return j.mark(MarkDamaged, torn), nil
	}
	j.log.Warn("journal: torn bytes were cut off", "segment", j.live.begin.Segment, "offset", j.live.size, "bytes", torn, "file", name, "cause", cause)
	return j.mark(MarkTorn, torn), nil
}

// mostTorn is more than a live segment ever allocates: what is longer was not
// written by a journal, and only its beginning is kept.
const mostTorn = 128 << 20

func tornName(segment uint64, offset int64) string {
	return fmt.Sprintf("%08d-%d%s", segment, offset, tornSuffix)
}

func tornNumber(name string) (segment uint64, offset int64, ok bool) {
	stem, ok := strings.CutSuffix(name, tornSuffix)
	number, at, dash := strings.Cut(stem, "-")
	if !ok || !dash {
		return 0, 0, false
	}
	segment, err := strconv.ParseUint(number, 10, 63)
	offset, err2 := strconv.ParseInt(at, 10, 63)
	return segment, offset, err == nil && err2 == nil && tornName(segment, offset) == name
}
