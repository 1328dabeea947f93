package journal

import (
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// A block ends with the frame that brings it to blockRecords or blockBytes. With
// the largest frame that stays under maxBlock, which is all that a reader will
// ever hold open of a segment.
const (
	blockRecords = 2048
	blockBytes   = 512 << 10
	maxBlock     = 2 << 20
)

// Buffer holds the records of one block. It is filled again and again by
// Segment.Read and Cursor.Next, each of which ends the life of the Raws it gave
// out before. The zero value is ready; it is for one goroutine.
type Buffer struct {
	First  uint64  // sequence number of record 0
	Header *Header // of the segment

	data   []byte // payloads, one behind the other
	frames []int  // where in data each payload ends
	spans  []span // of the records in data

	packed, rest []byte
	unpacker     *zstd.Decoder
}

type span struct{ from, to int }

// Len returns the number of records.
func (b *Buffer) Len() int { return len(b.spans) }

// At returns a record.
func (b *Buffer) At(i int) Raw {
	s := b.spans[i]
	return Raw(b.data[s.from:s.to:s.to])
}

// Entry materialises record i, which v has just parsed.
func (b *Buffer) Entry(i int, v *View, names *Names) (*Entry, error) {
	r, err := v.Record(names)
	if err != nil {
		return nil, err
	}
	return &Entry{Record: r, Sequence: b.First + uint64(i), Header: b.Header}, nil
}

func (b *Buffer) reset(h *Header, first uint64) {
	b.Header, b.First = h, first
	b.data, b.frames, b.spans = b.data[:0], b.frames[:0], b.spans[:0]
}

func (b *Buffer) full() bool { return len(b.spans) >= blockRecords || len(b.data) >= blockBytes }

// add takes one more payload; nothing of it when it is no row of whole records.
func (b *Buffer) add(payload []byte) error {
	data, spans := len(b.data), len(b.spans)
	b.data = append(b.data, payload...)
	err := b.found(len(payload))
	if err != nil {
		b.data, b.spans = b.data[:data], b.spans[:spans]
	}
	return err
}

// found notes the records of a payload that stands at the end of data.
func (b *Buffer) found(n int) error {
	w := wire{b: b.data[len(b.data)-n:]}
	for len(w.b) > 0 {
		r := w.text(maxRecord)
		if len(r) < 2 {
			return errRecord
		}
		end := len(b.data) - len(w.b)
		b.spans = append(b.spans, span{end - len(r), end})
	}
	if w.bad {
		return errRecord
	}
	b.frames = append(b.frames, len(b.data))
	return nil
}

// noLimit lets fill read as many records as a block holds.
const noLimit = 1 << 30

// fill reads frames until the buffer is full or holds limit records, or the file
// ends: io.EOF or errTorn then says how, when nothing was read. A frame that
// holds no whole records ends the file too: nobody knows how many they were.
func (b *Buffer) fill(s *scanner, limit int) error {
	for !b.full() && len(b.spans) < limit {
		from := s.off
		payload, _, err := s.next()
		if err == nil {
			if err = b.add(payload); err != nil {
				s.seek(from)
				err = fmt.Errorf("%w: %w", errTorn, err)
			}
		}
		if err != nil {
			if len(b.frames) > 0 && (err == io.EOF || errors.Is(err, errTorn)) {
				return nil
			}
			return err
		}
	}
	return nil
}

// holds says whether a record has the correlation id of k.
func (b *Buffer) holds(k *Key) bool {
	for i := range b.spans {
		if b.At(i).Correlates(k) {
			return true
		}
	}
	return false
}

// times returns the earliest and the latest time of the records.
func (b *Buffer) times() (lo, hi uint64) {
	for i := range b.spans {
		t := b.At(i).micros()
		if i == 0 || t < lo {
			lo = t
		}
		hi = max(hi, t)
	}
	return lo, hi
}

// cut drops the records from a sequence number on, and says whether there were any.
func (b *Buffer) cut(until uint64) bool {
	if until-b.First >= uint64(len(b.spans)) {
		return false
	}
	b.spans = b.spans[:until-b.First]
	return true
}

// skip drops the records before a sequence number.
func (b *Buffer) skip(before uint64) {
	if before > b.First {
		n := min(before-b.First, uint64(len(b.spans)))
		b.spans = b.spans[n:]
		b.First += n
	}
}
