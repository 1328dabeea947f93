package password

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/FastFilter/xorfilter"
)

// The file of a filter, all numbers little-endian:
//
//	 0  8  "SPBREACH"
//	 8  4  version: 1 (binary fuse of 16 bits over the first 64 bits of SHA-1)
//	12  4  segment length, a power of two
//	16  4  segment count
//	20  4  fingerprints: (segment count + 2) * segment length
//	24  8  passwords
//	32  8  seed
//	40     fingerprints, 2 bytes each
//	   32  SHA-256 of everything before it
//
// The checksum finds damage, not intent: who can write the data folder can write
// the filter.
const (
	filterMagic   = "SPBREACH"
	filterVersion = 1
	filterHeader  = 40

	maxBreached      = 100_000_000 // passwords
	maxFingerprints  = 130_000_000 // the library takes 1.125 for each of many
	maxSegmentLength = 1 << 18     // the library's

	minFilterFile = filterHeader + sha256.Size
	maxFilterFile = minFilterFile + 2*maxFingerprints
)

var errFilterForm = errors.New("not a filter of breached passwords, or damaged")

// parseBreached reads a file. Every index that the filter will compute is inside
// of it when its dimensions agree, which is checked here.
func parseBreached(data []byte) (*Breached, error) {
	if len(data) < minFilterFile || len(data) > maxFilterFile || string(data[:8]) != filterMagic {
		return nil, errFilterForm
	}
	le := binary.LittleEndian
	if v := le.Uint32(data[8:]); v != filterVersion {
		return nil, fmt.Errorf("filter of version %d, want %d", v, filterVersion)
	}
	body, sum := data[:len(data)-sha256.Size], data[len(data)-sha256.Size:]
	length, segments, n := le.Uint32(data[12:]), le.Uint32(data[16:]), le.Uint32(data[20:])
	count := le.Uint64(data[24:])
	switch {
	case bits.OnesCount32(length) != 1 || length > maxSegmentLength || segments == 0,
		uint64(n) != (uint64(segments)+2)*uint64(length),
		uint64(len(body)) != filterHeader+2*uint64(n),
		count == 0 || count > uint64(n):
		return nil, errFilterForm
	}
	if got := sha256.Sum256(body); !bytes.Equal(got[:], sum) {
		return nil, errFilterForm
	}
	f := &xorfilter.BinaryFuse[uint16]{
		Seed:               le.Uint64(data[32:]),
		SegmentLength:      length,
		SegmentLengthMask:  length - 1,
		SegmentCount:       segments,
		SegmentCountLength: segments * length,
		Fingerprints:       make([]uint16, n),
	}
	for i := range f.Fingerprints {
		f.Fingerprints[i] = le.Uint16(body[filterHeader+2*i:])
	}
	return &Breached{count: count, filter: f}, nil
}

// encode writes a file.
func (b *Breached) encode() []byte {
	f, le := b.filter, binary.LittleEndian
	data := make([]byte, 0, minFilterFile+2*len(f.Fingerprints))
	data = append(data, filterMagic...)
	for _, v := range []uint32{filterVersion, f.SegmentLength, f.SegmentCount, uint32(len(f.Fingerprints))} {
		data = le.AppendUint32(data, v)
	}
	data = le.AppendUint64(data, b.count)
	data = le.AppendUint64(data, f.Seed)
	for _, p := range f.Fingerprints {
		data = le.AppendUint16(data, p)
	}
	sum := sha256.Sum256(data)
	return append(data, sum[:]...)
}
