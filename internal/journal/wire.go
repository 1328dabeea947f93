package journal

import "encoding/binary"

// wire reads the varints, lengths and texts of the format. It never reads past
// its bytes: the first thing that does not fit sets bad, and everything after
// that is zero. Callers look at bad once, at the end.
type wire struct {
	b   []byte
	bad bool
}

func (w *wire) fail() {
	w.bad, w.b = true, nil
}

// uvarint reads a varint; nearly all are of one byte, and that case is inlined.
func (w *wire) uvarint() uint64 {
	if len(w.b) > 0 && w.b[0] < 0x80 {
		v := w.b[0]
		w.b = w.b[1:]
		return uint64(v)
	}
	return w.longUvarint()
}

func (w *wire) longUvarint() uint64 {
	v, n := binary.Uvarint(w.b)
	if n <= 0 {
		w.fail()
		return 0
	}
	w.b = w.b[n:]
	return v
}

// number reads a varint that must not be over limit.
func (w *wire) number(limit uint64) uint64 {
	v := w.uvarint()
	if v > limit {
		w.fail()
		return 0
	}
	return v
}

// count reads how many items follow, of at least size bytes each: no count can
// make a reader allocate more than the bytes at hand justify.
func (w *wire) count(size int) int {
	v := w.uvarint()
	if v > uint64(len(w.b)/size) {
		w.fail()
		return 0
	}
	return int(v)
}

func (w *wire) bytes(n int) []byte {
	if n > len(w.b) {
		w.fail()
		return nil
	}
	v := w.b[:n:n]
	w.b = w.b[n:]
	return v
}

// text reads a length and that many bytes, limit at most.
func (w *wire) text(limit int) []byte { return w.bytes(int(w.number(uint64(limit)))) }

func (w *wire) byte() byte {
	if v := w.bytes(1); v != nil {
		return v[0]
	}
	return 0
}

func (w *wire) u32() uint32 {
	if v := w.bytes(4); v != nil {
		return binary.LittleEndian.Uint32(v)
	}
	return 0
}

func (w *wire) u64() uint64 {
	if v := w.bytes(8); v != nil {
		return binary.LittleEndian.Uint64(v)
	}
	return 0
}

func (w *wire) chain() (c Chain) {
	copy(c[:], w.bytes(len(c)))
	return c
}

// ended says whether everything was read and all of it made sense.
func (w *wire) ended() bool { return !w.bad && len(w.b) == 0 }

func appendText(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}
