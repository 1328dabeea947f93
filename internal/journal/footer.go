package journal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"time"
)

// The end of a sealed segment: offset and length of the index, CRC-32C of the
// index and of these twelve bytes, magic.
const (
	trailerMagic = "SALLYSEG"
	trailerSize  = 8 + 4 + 4 + 8
	maxIndex     = 8 << 20
)

var errFooter = fmt.Errorf("%w: footer is malformed", ErrDamaged)

// footer is what a reader keeps of a sealed segment: everything but its blocks and filters.
type footer struct {
	header *Header
	start  Chain // chain value before the first frame
	index  *index
	size   int64 // of the file

	blocks  []int64 // offsets
	filters []int64 // offsets, by block
	filter  int64   // offset of the filter of the whole segment
	first   []uint64
}

func appendTrailer(dst []byte, offset int64, index []byte) []byte {
	start := len(dst)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(offset))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(index)))
	crc := crc32.Update(crc32.Checksum(index, castagnoli), castagnoli, dst[start:])
	dst = binary.LittleEndian.AppendUint32(dst, crc)
	return append(dst, trailerMagic...)
}

// readFooter reads the footer of a sealed segment of that size. Header, blocks,
// filters, index and trailer must fill the file without a gap: there is no byte
// that no checksum covers.
func readFooter(r io.ReaderAt, size int64) (*footer, error) {
	header, headerBytes, err := readHeader(r)
	if err != nil {
		return nil, err
	}
	var trailer [trailerSize]byte
	if size < int64(len(headerBytes)+trailerSize) {
		return nil, fmt.Errorf("%w: the file is too short", errFooter)
	}
	if _, err := r.ReadAt(trailer[:], size-trailerSize); err != nil {
		return nil, fmt.Errorf("segment footer: %w", err)
	}
	w := wire{b: trailer[:]}
	offset, length, crc := w.u64(), w.u32(), w.u32()
	if string(w.b) != trailerMagic || length > maxIndex || offset > uint64(size) || int64(offset)+int64(length)+trailerSize != size {
		return nil, errFooter
	}
	b := make([]byte, length)
	if _, err := r.ReadAt(b, int64(offset)); err != nil {
		return nil, fmt.Errorf("segment footer: %w", err)
	}
	if crc32.Update(crc32.Checksum(b, castagnoli), castagnoli, trailer[:12]) != crc {
		return nil, fmt.Errorf("%w: checksum mismatch", errFooter)
	}
	x, err := parseIndex(b)
	if err != nil {
		return nil, err
	}
	h := newHasher()
	f := &footer{header: header, start: h.next(&header.Previous, headerBytes), index: x, size: size}
	if f.place(int64(len(headerBytes))) != int64(offset) {
		return nil, fmt.Errorf("%w: its parts do not fill the file", errFooter)
	}
	return f, nil
}

// place computes where everything lies, from the end of the header on, and returns where the index must begin.
func (f *footer) place(at int64) int64 {
	first := f.header.First
	for i := range f.index.blocks {
		b := &f.index.blocks[i]
		f.blocks = append(f.blocks, at)
		f.first = append(f.first, first)
		at += int64(b.ids + b.packed)
		first += uint64(b.records)
	}
	for i := range f.index.blocks {
		f.filters = append(f.filters, at)
		at += int64(f.index.blocks[i].filterSize)
	}
	f.filter = at
	return at + int64(f.index.filterSize)
}

// next is the sequence number after the last record.
func (f *footer) next() uint64 { return f.header.First + f.index.records }

// newest is what retention goes by: the time of the newest record, and not
// before the segment itself, whatever the records say.
func (f *footer) newest() time.Time {
	newest := microTime(int64(f.index.max))
	if newest.Before(f.header.Created) {
		return f.header.Created
	}
	return newest
}

// readBlock fills b with block i. The caller's file is that of the footer.
func (f *footer) readBlock(r io.ReaderAt, i int, b *Buffer) error {
	x := &f.index.blocks[i]
	b.reset(f.header, f.first[i])
	n := x.ids + x.packed
	if cap(b.packed) < n {
		b.packed = make([]byte, max(n, 128<<10))
	}
	if _, err := r.ReadAt(b.packed[:n], f.blocks[i]); err != nil {
		return fmt.Errorf("read block: %w", err)
	}
	return b.unpack(x, b.packed[:n])
}
