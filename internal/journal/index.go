package journal

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// Facet is a combination that occurs in a segment. There are few: services and
// reasons are closed lists. Each block names its own, so a search for, say,
// the failures of one service decodes no block without one.
type Facet struct {
	Service string
	Reason  string
	Status  int
}

// index is the footer of a sealed segment.
type index struct {
	records    uint64
	frames     uint64
	min, max   uint64 // times in microseconds
	final      Chain
	filterSize int    // of the whole segment; it follows those of the blocks
	filterCRC  uint32 // CRC-32C of all filters
	facets     []Facet
	blocks     []blockIndex
}

// blockIndex is what a footer says of one block.
type blockIndex struct {
	ids        int // bytes of ids, kept as they are
	packed     int // bytes of the rest, compressed
	rest       int // bytes of the rest
	crc        uint32
	records    int
	min, max   uint64
	chain      Chain // after the block's last frame
	filterSize int
	facets     []int // indexes into index.facets, ascending
}

var errIndex = fmt.Errorf("%w: index is malformed", ErrDamaged)

func (x *index) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, x.records)
	dst = binary.AppendUvarint(dst, x.frames)
	dst = binary.LittleEndian.AppendUint64(dst, x.min)
	dst = binary.LittleEndian.AppendUint64(dst, x.max)
	dst = append(dst, x.final[:]...)
	dst = binary.AppendUvarint(dst, uint64(x.filterSize))
	dst = binary.LittleEndian.AppendUint32(dst, x.filterCRC)
	dst = binary.AppendUvarint(dst, uint64(len(x.facets)))
	for _, f := range x.facets {
		dst = appendText(dst, f.Service)
		dst = appendText(dst, f.Reason)
		dst = binary.AppendUvarint(dst, uint64(f.Status))
	}
	dst = binary.AppendUvarint(dst, uint64(len(x.blocks)))
	for i := range x.blocks {
		dst = x.blocks[i].append(dst)
	}
	return dst
}

func (b *blockIndex) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(b.ids))
	dst = binary.AppendUvarint(dst, uint64(b.packed))
	dst = binary.AppendUvarint(dst, uint64(b.rest))
	dst = binary.LittleEndian.AppendUint32(dst, b.crc)
	dst = binary.AppendUvarint(dst, uint64(b.records))
	dst = binary.LittleEndian.AppendUint64(dst, b.min)
	dst = binary.LittleEndian.AppendUint64(dst, b.max)
	dst = append(dst, b.chain[:]...)
	dst = binary.AppendUvarint(dst, uint64(b.filterSize))
	dst = binary.AppendUvarint(dst, uint64(len(b.facets)))
	last := 0
	for _, f := range b.facets {
		dst = binary.AppendUvarint(dst, uint64(f-last))
		last = f
	}
	return dst
}

// parseIndex reads an index. What it returns holds together: sizes are within
// bounds, facets exist and the sums are right. Whether it is true, only Verify
// finds out.
func parseIndex(b []byte) (*index, error) {
	w := &wire{b: b}
	x := &index{records: w.number(maxNumber), frames: w.number(maxNumber), min: w.u64(), max: w.u64(), final: w.chain()}
	x.filterSize = int(w.number(maxFilter))
	x.filterCRC = w.u32()
	x.facets = make([]Facet, 0, w.count(3))
	for range cap(x.facets) {
		x.facets = append(x.facets, Facet{string(w.text(maxText)), string(w.text(maxText)), int(w.number(maxStatus))})
	}
	x.blocks = make([]blockIndex, 0, w.count(minBlockIndex))
	var records uint64
	for range cap(x.blocks) {
		b := parseBlockIndex(w, len(x.facets))
		x.blocks = append(x.blocks, b)
		records += uint64(b.records)
	}
	if !w.ended() || records != x.records || !filterFits(x.filterSize) || x.max > maxNumber {
		return nil, errIndex
	}
	return x, nil
}

// minBlockIndex is the length of the shortest blockIndex.
const minBlockIndex = 3 + 4 + 1 + 16 + 32 + 2

func parseBlockIndex(w *wire, facets int) blockIndex {
	b := blockIndex{
		ids:    int(w.number(maxBlock)),
		packed: int(w.number(maxBlock)),
		rest:   int(w.number(maxBlock)),
		crc:    w.u32(), records: int(w.number(maxBlock)),
		min: w.u64(), max: w.u64(), chain: w.chain(),
		filterSize: int(w.number(maxFilter)),
	}
	b.facets = make([]int, 0, w.count(1))
	last := 0
	for range cap(b.facets) {
		last += int(w.number(maxBlock))
		b.facets = append(b.facets, last)
	}
	if b.ids+b.rest > maxBlock || !filterFits(b.filterSize) || b.max > maxNumber || last >= max(facets, 1) {
		w.fail()
	}
	return b
}

func filterFits(size int) bool { return size >= filterLine && size%filterLine == 0 }

// facetSet gives facets their numbers in the order they are met.
type facetSet struct {
	numbers map[Facet]int
	list    []Facet
	names   Names
}

func (s *facetSet) number(v *View) int {
	f := Facet{s.names.Get(v.Service), s.names.Get(v.Reason), v.Status}
	n, ok := s.numbers[f]
	if !ok {
		if s.numbers == nil {
			s.numbers = make(map[Facet]int)
		}
		n = len(s.list)
		s.numbers[f] = n
		s.list = append(s.list, f)
	}
	return n
}

// sortedKeys returns the members of a set in ascending order.
func sortedKeys(set map[int]struct{}) []int {
	keys := make([]int, 0, len(set))
	for k := range set {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
