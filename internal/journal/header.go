package journal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"time"
)

// Header is the beginning of each segment.
type Header struct {
	Journal  [16]byte  // random; the same in all segments of one journal
	Segment  uint64    // number of the segment, from 1
	First    uint64    // sequence number of its first record
	Created  time.Time // microseconds
	Previous Chain     // final chain value of the segment before; zero in segment 1
	Zone     string
	Stages   []string // names of the stages, by their index in Record.Stages
}

const (
	headerMagic   = "SALLYJNL"
	formatVersion = 1
	maxHeader     = 64 << 10
)

// appendHeader appends: magic, length of the body, body, CRC-32C of all that.
func appendHeader(dst []byte, h *Header) []byte {
	body := binary.AppendUvarint(nil, formatVersion)
	body = append(body, h.Journal[:]...)
	body = binary.LittleEndian.AppendUint64(body, h.Segment)
	body = binary.LittleEndian.AppendUint64(body, h.First)
	body = binary.LittleEndian.AppendUint64(body, micros(h.Created))
	body = append(body, h.Previous[:]...)
	body = appendText(body, h.Zone)
	body = binary.AppendUvarint(body, uint64(len(h.Stages)))
	for _, s := range h.Stages {
		body = appendText(body, s)
	}
	start := len(dst)
	dst = append(dst, headerMagic...)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(body)))
	dst = append(dst, body...)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

// readHeader reads the header at the beginning of a segment and returns its bytes too: they are part of the chain.
func readHeader(r io.ReaderAt) (*Header, []byte, error) {
	head := make([]byte, len(headerMagic)+4)
	if _, err := r.ReadAt(head, 0); err == io.EOF {
		return nil, nil, fmt.Errorf("%w: segment header: the file is too short", ErrDamaged)
	} else if err != nil {
		return nil, nil, fmt.Errorf("segment header: %w", err)
	}
	n := binary.LittleEndian.Uint32(head[len(headerMagic):])
	if string(head[:len(headerMagic)]) != headerMagic || n > maxHeader {
		return nil, nil, fmt.Errorf("%w: segment header: not a journal segment", ErrDamaged)
	}
	whole := make([]byte, len(head)+int(n)+4)
	if _, err := r.ReadAt(whole, 0); err != nil && err != io.EOF {
		return nil, nil, fmt.Errorf("segment header: %w", err)
	}
	body, sum := whole[len(head):len(head)+int(n)], whole[len(head)+int(n):]
	if crc32.Checksum(whole[:len(whole)-4], castagnoli) != binary.LittleEndian.Uint32(sum) {
		return nil, nil, fmt.Errorf("%w: segment header: checksum mismatch", ErrDamaged)
	}
	h, err := parseHeader(body)
	return h, whole, err
}

func parseHeader(body []byte) (*Header, error) {
	w := wire{b: body}
	if v := w.uvarint(); v != formatVersion {
		return nil, fmt.Errorf("%w: segment header: format version %d, this program reads %d", ErrDamaged, v, formatVersion)
	}
	h := &Header{}
	copy(h.Journal[:], w.bytes(len(h.Journal)))
	h.Segment = w.u64()
	h.First = w.u64()
	created := w.u64()
	h.Created = time.UnixMicro(int64(min(created, maxNumber))).UTC()
	h.Previous = w.chain()
	h.Zone = string(w.text(maxText))
	stages := w.count(1)
	for range min(stages, maxStages) {
		h.Stages = append(h.Stages, string(w.text(maxText)))
	}
	if !w.ended() || created > maxNumber || stages > maxStages || h.Segment == 0 || h.First > maxNumber {
		return nil, fmt.Errorf("%w: segment header: malformed", ErrDamaged)
	}
	return h, nil
}

// StageName returns the name of a stage by its index.
func (h *Header) StageName(i int) string {
	if i < len(h.Stages) {
		return h.Stages[i]
	}
	return fmt.Sprintf("stage_%d", i)
}
