package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/zstd"
)

// sealing rewrites one closed .log file as a sealed segment.
type sealing struct {
	in     *scanner
	out    file
	at     int64 // of the next byte in out
	hash   hasher
	chain  Chain
	packer *zstd.Encoder
	index  index
	facets facetSet
	keys   map[uint64]struct{} // of the whole segment
	blocks []filter
	buf    Buffer
	again  Buffer // what was packed is unpacked and compared before the .log may go
	ids    []byte
	rest   []byte
	packed []byte
}

// sealSegment writes NUMBER.seg from NUMBER.log and returns its footer. The
// file has its name only when all of it is durable. The .log stays; a .log that
// is not whole is refused. pause is called after each block.
func sealSegment(ctx context.Context, d disk, number uint64, pause func(context.Context) error) (_ *footer, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("journal: seal segment %d: %w", number, err)
		}
	}()
	in, err := d.open(logName(number))
	if err != nil {
		return nil, err
	}
	defer func() { _ = in.Close() }() // only read
	header, headerBytes, err := readHeader(in)
	if err != nil {
		return nil, err
	}
	temp := sealedName(number) + tempSuffix
	if err := d.remove(temp); err != nil {
		return nil, err
	}
	out, err := d.create(temp)
	if err != nil {
		return nil, err
	}
	s := newSealing(out, newScanner(in, int64(len(headerBytes))))
	s.buf.reset(header, header.First)
	s.chain = s.hash.next(&header.Previous, headerBytes)
	err = s.run(ctx, headerBytes, pause)
	if err = errors.Join(err, out.Close()); err == nil {
		err = errors.Join(d.rename(temp, sealedName(number)), d.sync())
	}
	if err != nil {
		return nil, errors.Join(err, d.remove(temp))
	}
	return s.footer(header, headerBytes), nil
}

func newSealing(out file, in *scanner) *sealing {
	packer, _ := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(maxBlock/2)) // fails for wrong options only
	return &sealing{in: in, out: out, hash: newHasher(), packer: packer, keys: make(map[uint64]struct{})}
}

func (s *sealing) footer(header *Header, headerBytes []byte) *footer {
	f := &footer{header: header, start: s.hash.next(&header.Previous, headerBytes), index: &s.index, size: s.at}
	f.place(int64(len(headerBytes)))
	return f
}

func (s *sealing) run(ctx context.Context, header []byte, pause func(context.Context) error) error {
	if err := s.write(header); err != nil {
		return err
	}
	for {
		payload, claimed, err := s.in.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		s.chain = s.hash.next(&s.chain, payload)
		if s.chain != *claimed {
			return fmt.Errorf("%w before offset %d", errBroken, s.in.off)
		}
		if err := s.buf.add(payload); err != nil {
			return err
		}
		s.index.frames++
		if s.buf.full() {
			if err := s.block(); err != nil {
				return err
			}
			if err := pause(ctx); err != nil {
				return err
			}
		}
	}
	if s.buf.Len() > 0 {
		if err := s.block(); err != nil {
			return err
		}
	}
	return s.finish()
}

// block writes what the buffer holds and begins the next block.
func (s *sealing) block() error {
	d, err := s.buf.describe(&s.facets)
	if err != nil {
		return err
	}
	if err := s.pack(); err != nil {
		return err
	}
	f := newFilter(d.keys)
	x := blockIndex{
		ids: len(s.ids), packed: len(s.packed) - len(s.ids), rest: len(s.rest),
		crc: crc32.Checksum(s.packed, castagnoli), records: s.buf.Len(),
		min: d.min, max: d.max, chain: s.chain, filterSize: len(f), facets: d.facets,
	}
	s.again.reset(nil, 0)
	if err := s.again.unpack(&x, s.packed); err != nil {
		return err
	}
	if !bytes.Equal(s.again.data, s.buf.data) {
		return errors.New("a block does not come back as it was packed")
	}
	if len(s.index.blocks) == 0 || d.min < s.index.min {
		s.index.min = d.min
	}
	s.index.max = max(s.index.max, d.max)
	s.index.records += uint64(x.records)
	s.index.blocks = append(s.index.blocks, x)
	s.blocks = append(s.blocks, f)
	for k := range d.keys {
		s.keys[k] = struct{}{}
	}
	s.buf.reset(s.buf.Header, s.buf.First+uint64(x.records))
	return s.write(s.packed)
}

// pack makes ids, rest and packed of what the buffer holds.
func (s *sealing) pack() error {
	s.ids, s.rest = s.ids[:0], s.rest[:0]
	from := 0
	for _, to := range s.buf.frames {
		var err error
		if s.ids, s.rest, err = split(s.ids, s.rest, s.buf.data[from:to]); err != nil {
			return err
		}
		from = to
	}
	s.packed = append(s.packed[:0], s.ids...)
	s.packed = s.packer.EncodeAll(s.rest, s.packed)
	return nil
}

// finish writes filters, index and trailer, and syncs.
func (s *sealing) finish() error {
	s.blocks = append(s.blocks, newFilter(s.keys))
	for _, f := range s.blocks {
		s.index.filterCRC = crc32.Update(s.index.filterCRC, castagnoli, f)
		if err := s.write(f); err != nil {
			return err
		}
	}
	s.index.filterSize = len(s.blocks[len(s.blocks)-1])
	s.index.final = s.chain
	s.index.facets = s.facets.list
	offset := s.at
	x := s.index.append(nil)
	if len(x) > maxIndex {
		return fmt.Errorf("index of %d bytes is over the bound of %d", len(x), maxIndex)
	}
	if err := s.write(appendTrailer(x, offset, x)); err != nil {
		return err
	}
	return s.out.Sync()
}

func (s *sealing) write(b []byte) error {
	_, err := s.out.WriteAt(b, s.at)
	s.at += int64(len(b))
	return err
}
