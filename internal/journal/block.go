package journal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/klauspost/compress/zstd"
)

// A block holds payloads in two parts. Random ids do not compress, and among
// other bytes they spoil what does, so they stand by themselves, as they are.
// The rest is compressed: per payload its length, and its records with the 16
// or 32 bytes of ids taken out. Flags in each record say what to put back, so
// payloads come back byte for byte and the chain holds over them.

var errBlock = fmt.Errorf("%w: block is malformed", ErrDamaged)

// split takes the ids out of a payload.
func split(ids, rest, payload []byte) (newIDs, newRest []byte, err error) {
	rest = binary.AppendUvarint(rest, uint64(len(payload)))
	w := wire{b: payload}
	for len(w.b) > 0 {
		from := len(payload) - len(w.b)
		body := w.text(maxRecord)
		n := Raw(body).ids()
		if len(body) < 2+n {
			return ids, rest, errRecord
		}
		to := len(payload) - len(w.b)
		rest = append(rest, payload[from:to-len(body)+2]...)
		ids = append(ids, body[2:2+n]...)
		rest = append(rest, body[2+n:]...)
	}
	return ids, rest, nil
}

// join undoes split for a whole block, into b.
func (b *Buffer) join(ids, rest []byte) error {
	w := wire{b: rest}
	left := wire{b: ids}
	for len(w.b) > 0 {
		start := len(b.data)
		end := start + int(w.number(maxPayload))
		for len(b.data) < end && !w.bad {
			n := int(w.number(maxRecord))
			head := w.bytes(2)
			if w.bad {
				break
			}
			k := Raw(head).ids()
			b.data = binary.AppendUvarint(b.data, uint64(n))
			b.data = append(b.data, head...)
			b.data = append(b.data, left.bytes(k)...)
			if n < 2+k {
				return errBlock
			}
			b.data = append(b.data, w.bytes(n-2-k)...)
		}
		if w.bad || left.bad || len(b.data) != end || end == start {
			return errBlock
		}
		if err := b.found(end - start); err != nil {
			return err
		}
	}
	if w.bad || len(left.b) > 0 {
		return errBlock
	}
	return nil
}

// unpack fills b from a block as it lies in a sealed segment: ids, then the
// compressed rest. It never holds more than the index promises, and the index
// promises at most maxBlock.
func (b *Buffer) unpack(x *blockIndex, block []byte) error {
	if crc32.Checksum(block, castagnoli) != x.crc {
		return fmt.Errorf("%w: checksum mismatch", errBlock)
	}
	if b.unpacker == nil {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecodeAllCapLimit(true),
			zstd.WithDecoderMaxMemory(maxBlock), zstd.WithDecoderLowmem(true))
		if err != nil {
			return fmt.Errorf("journal: unpack block: %w", err)
		}
		b.unpacker = d
	}
	if cap(b.rest) < x.rest {
		b.rest = make([]byte, 0, max(x.rest, blockBytes))
	}
	rest, err := b.unpacker.DecodeAll(block[x.ids:], b.rest[:0:x.rest])
	if err != nil {
		return fmt.Errorf("%w: %w", errBlock, err)
	}
	if len(rest) != x.rest {
		return errBlock
	}
	if err := b.join(block[:x.ids], rest); err != nil {
		return err
	}
	if len(b.spans) != x.records {
		return errBlock
	}
	return nil
}

// A description is what an index says of the contents of a block.
type description struct {
	min, max uint64
	facets   []int
	keys     map[uint64]struct{}
}

// describe derives it from the records; a sealed segment is checked by doing so again.
func (b *Buffer) describe(facets *facetSet) (description, error) {
	d := description{keys: make(map[uint64]struct{}, 2*b.Len())}
	d.min, d.max = b.times()
	numbers := make(map[int]struct{})
	var v View
	for i := range b.Len() {
		if err := v.Parse(b.At(i)); err != nil {
			return d, err
		}
		if _, _, err := v.parseLists(&facets.names); err != nil {
			return d, err
		}
		numbers[facets.number(&v)] = struct{}{}
		d.keys[keyHash(keyCorrelation, v.correlation)] = struct{}{}
		d.keys[keyHash(keyPrincipal, v.principal)] = struct{}{}
	}
	d.facets = sortedKeys(numbers)
	return d, nil
}
