package journal

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
)

// Chain is a value of the hash chain: SHA-256 of the value before it and of the
// bytes it stands for.
type Chain [sha256.Size]byte

// The parts of a frame, in their order: length of the payload, CRC-32C of
// everything else in the frame, payload, chain value after it.
const (
	frameHead  = 8
	frameTail  = sha256.Size
	maxPayload = 1 << 20
)

// castagnoli is the table of CRC-32C (RFC 3720 appendix B.4): the polynomial that processors compute.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// hasher computes chain values without allocating.
type hasher struct{ h hash.Hash }

func newHasher() hasher { return hasher{sha256.New()} }

// extend appends the chain value that follows previous over data.
func (h hasher) extend(dst []byte, previous *Chain, data []byte) []byte {
	h.h.Reset()
	h.h.Write(previous[:])
	h.h.Write(data)
	return h.h.Sum(dst)
}

func (h hasher) next(previous *Chain, data []byte) (c Chain) {
	h.extend(c[:0], previous, data)
	return c
}

// sealFrame finishes a frame whose first frameHead bytes are room for the head
// and whose rest is the payload, and returns it with the chain value it ends in.
func sealFrame(frame []byte, h hasher, previous *Chain) ([]byte, Chain) {
	payload := len(frame) - frameHead
	frame = h.extend(frame, previous, frame[frameHead:])
	binary.LittleEndian.PutUint32(frame, uint32(payload))
	binary.LittleEndian.PutUint32(frame[4:], frameCRC(frame))
	return frame, Chain(frame[frameHead+payload:])
}

func frameCRC(frame []byte) uint32 {
	return crc32.Update(crc32.Checksum(frame[:4], castagnoli), castagnoli, frame[frameHead:])
}

// errTorn is the error of a scanner that meets something that is no whole
// frame: the end of a file that is being written, a torn write, or damage.
var errTorn = errors.New("no whole frame")

// errPart is the errTorn of a frame that the file ends in.
var errPart = fmt.Errorf("%w: the file ends in it", errTorn)

// errBroken is the error of a frame that is whole, but not the successor of the one before it.
var errBroken = fmt.Errorf("%w: chain is broken", ErrDamaged)

// scanner reads the frames of a .log file from an offset on. After io.EOF or
// errTorn it may be asked again: a file under its writer grows.
type scanner struct {
	r   io.ReaderAt
	off int64 // of the next frame
	buf []byte
	beg int // buf[beg:end] are the bytes at off
	end int
}

const scanChunk = 256 << 10

func newScanner(r io.ReaderAt, off int64) *scanner { return &scanner{r: r, off: off} }

// next returns the payload of the next frame, valid until the next call, and
// the chain value that the frame claims. io.EOF: the file ends here, between
// two frames.
func (s *scanner) next() ([]byte, *Chain, error) {
	head, err := s.peek(frameHead)
	if err != nil {
		return nil, nil, err
	}
	n := int(binary.LittleEndian.Uint32(head))
	if n == 0 || n > maxPayload {
		s.drop()
		return nil, nil, fmt.Errorf("%w: length %d", errTorn, n)
	}
	frame, err := s.peek(frameHead + n + frameTail)
	if err != nil {
		return nil, nil, err
	}
	if binary.LittleEndian.Uint32(frame[4:]) != frameCRC(frame) {
		s.drop()
		return nil, nil, fmt.Errorf("%w: checksum mismatch", errTorn)
	}
	s.beg += len(frame)
	s.off += int64(len(frame))
	return frame[frameHead : frameHead+n], (*Chain)(frame[frameHead+n:]), nil
}

// seek goes to another frame.
func (s *scanner) seek(off int64) {
	if off != s.off {
		s.drop()
		s.off = off
	}
}

// drop forgets what was read ahead, so that the next call reads it anew.
func (s *scanner) drop() { s.beg, s.end = 0, 0 }

// peek returns the next n bytes without passing over them.
func (s *scanner) peek(n int) ([]byte, error) {
	if s.end-s.beg >= n {
		return s.buf[s.beg : s.beg+n], nil
	}
	copy(s.buf, s.buf[s.beg:s.end])
	s.beg, s.end = 0, s.end-s.beg
	if len(s.buf) < n {
		s.buf = append(make([]byte, 0, max(scanChunk, n)), s.buf[:s.end]...)
		s.buf = s.buf[:cap(s.buf)]
	}
	for s.end < n {
		k, err := s.r.ReadAt(s.buf[s.end:], s.off+int64(s.end))
		s.end += k
		if s.end >= n {
			break
		}
		if err == io.EOF && s.end == 0 {
			return nil, io.EOF
		}
		if err == io.EOF {
			s.drop()
			return nil, errPart
		}
		if err != nil {
			s.drop()
			return nil, fmt.Errorf("journal: read frame: %w", err)
		}
	}
	return s.buf[:n], nil
}
