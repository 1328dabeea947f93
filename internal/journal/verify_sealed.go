package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"reflect"
	"slices"
)

// sealed verifies a sealed segment: its index and filters are made again from its blocks.
func (v *verification) sealed(ctx context.Context, f *os.File, size int64) error {
	foot, err := readFooter(f, size)
	if errors.Is(err, ErrDamaged) {
		v.found(size, "%v", err)
		return nil
	}
	if err != nil {
		return err
	}
	again := index{records: foot.index.records, final: foot.index.final, blocks: foot.index.blocks}
	var facets facetSet
	all := make(map[uint64]struct{})
	for i := range foot.blocks {
		if err := ctx.Err(); err != nil {
			return err
		}
		x := &foot.index.blocks[i]
		at := foot.blocks[i]
		if err := foot.readBlock(f, i, &v.buf); errors.Is(err, ErrDamaged) {
			v.found(at, "block %d: %v", i, err)
			v.at = Head{Segment: v.at.Segment, Sequence: foot.first[i] + uint64(x.records), Chain: x.chain}
			continue
		} else if err != nil {
			return err
		}
		again.frames += uint64(len(v.buf.frames))
		v.payloads()
		if v.at.Chain != x.chain {
			v.found(at, "block %d: the chain is broken", i)
			v.at.Chain = x.chain
		}
		d, err := v.buf.describe(&facets)
		if err != nil {
			v.found(at, "block %d: %v", i, err)
			continue
		}
		v.marks(at)
		v.entry(f, foot, i, d)
		if i == 0 || d.min < again.min {
			again.min = d.min
		}
		again.max = max(again.max, d.max)
		for k := range d.keys {
			all[k] = struct{}{}
		}
	}
	v.footer(f, foot, &again, facets.list, newFilter(all))
	return nil
}

func (v *verification) payloads() {
	b := &v.buf
	from, n := 0, 0
	for _, to := range b.frames {
		records := 0
		for n+records < len(b.spans) && b.spans[n+records].to <= to {
			records++
		}
		v.frame(b.data[from:to], records)
		from, n = to, n+records
	}
}

// entry compares the index entry and filter of a block with what the block says.
func (v *verification) entry(f *os.File, foot *footer, i int, d description) {
	x := &foot.index.blocks[i]
	if x.min != d.min || x.max != d.max || !slices.Equal(x.facets, d.facets) {
		v.found(foot.blocks[i], "block %d: its index entry is not true", i)
	}
	v.filter(f, foot.filters[i], x.filterSize, newFilter(d.keys), fmt.Sprintf("the filter of block %d", i))
}

func (v *verification) filter(f *os.File, at int64, size int, want filter, what string) {
	got := make([]byte, size)
	if _, err := f.ReadAt(got, at); err != nil || !bytes.Equal(got, want) {
		v.found(at, "%s is not true", what)
	}
}

// footer compares what the index says of the whole segment.
func (v *verification) footer(f *os.File, foot *footer, again *index, facets []Facet, all filter) {
	x := foot.index
	again.facets, again.filterSize = facets, len(all)
	if crc, err := filtersCRC(f, foot); err != nil || crc != x.filterCRC {
		v.found(foot.filter, "the filters do not match their checksum")
	}
	again.filterCRC = x.filterCRC
	if len(again.facets) == 0 {
		again.facets = x.facets[:0]
	}
	if !reflect.DeepEqual(*x, *again) {
		v.found(foot.filter+int64(x.filterSize), "the index is not true")
	}
	if v.at.Chain != x.final {
		v.found(foot.filter+int64(x.filterSize), "the chain does not end as the index says")
		v.at.Chain = x.final
	}
	v.filter(f, foot.filter, x.filterSize, all, "the filter of the segment")
}

func filtersCRC(f io.ReaderAt, foot *footer) (uint32, error) {
	start := foot.filter
	if len(foot.filters) > 0 {
		start = foot.filters[0]
	}
	h := crc32.New(castagnoli)
	_, err := io.Copy(h, io.NewSectionReader(f, start, foot.filter+int64(foot.index.filterSize)-start))
	return h.Sum32(), err
}
