package journal

import (
	"encoding/binary"
	"net/netip"
	"time"
	"unicode/utf8"
)

// The flags of a record: the second byte of its body.
const (
	flagCorrelation = 1 << 0 // the correlation id stands as 16 bytes
	flagTrace       = 1 << 1 // the trace id stands as 16 bytes
	flagIPv4        = 1 << 2
	flagIPv6        = 1 << 3
	flagPrincipal   = 1 << 4 // the principal stands as 16 bytes
	flagsKnown      = flagCorrelation | flagTrace | flagIPv4 | flagIPv6 | flagPrincipal
)

// appendRecord appends the length and body of a record. It allocates nothing
// but what dst may need to grow.
func appendRecord(dst []byte, r *Record) []byte {
	// Nearly every body is 128 to 16,383 bytes long: two bytes of length. The
	// body is written behind them and moved in the rare other case.
	start := len(dst)
	dst = append(dst, 0, 0)
	dst = appendBody(dst, r)
	n := len(dst) - start - 2
	if n >= 1<<7 && n < 1<<14 {
		binary.PutUvarint(dst[start:], uint64(n))
		return dst
	}
	var head [binary.MaxVarintLen64]byte
	k := binary.PutUvarint(head[:], uint64(n))
	if k > 2 {
		dst = append(dst, 0)
	}
	copy(dst[start+k:], dst[start+2:start+2+n])
	copy(dst[start:], head[:k])
	return dst[:start+k+n]
}

func appendBody(dst []byte, r *Record) []byte {
	start := len(dst)
	dst = append(dst, byte(r.Kind), 0)
	var flags byte
	var id [16]byte
	if parseUUID(&id, r.CorrelationID) {
		flags |= flagCorrelation
		dst = append(dst, id[:]...)
	}
	if parseHex(&id, r.TraceID) {
		flags |= flagTrace
		dst = append(dst, id[:]...)
	}
	dst = binary.LittleEndian.AppendUint64(dst, micros(r.Time))
	if flags&flagCorrelation == 0 {
		dst = appendCut(dst, r.CorrelationID, maxText)
	}
	if flags&flagTrace == 0 {
		dst = appendCut(dst, r.TraceID, maxText)
	}
	dst, address := appendAddr(dst, r.Client)
	dst = appendCut(dst, r.Listener, maxText)
	dst = appendCut(dst, r.Service, maxText)
	dst = appendCut(dst, r.Route, maxText)
	dst = appendCut(dst, r.Method, maxText)
	if parseUUID(&id, r.Principal) {
		flags |= flagPrincipal
		dst = append(dst, id[:]...)
	} else {
		dst = appendCut(dst, r.Principal, maxText)
	}
	dst = appendCut(dst, r.Reason, maxText)
	dst = binary.AppendUvarint(dst, min(positive(int64(r.Status)), maxStatus))
	dst = binary.AppendUvarint(dst, positive(r.BytesIn))
	dst = binary.AppendUvarint(dst, positive(r.BytesOut))
	dst = binary.AppendUvarint(dst, positive(r.Duration.Microseconds()))
	stages := r.Stages[:min(len(r.Stages), maxStages)]
	dst = append(dst, byte(len(stages)))
	for _, us := range stages {
		dst = binary.AppendUvarint(dst, uint64(us))
	}
	tags := r.Tags[:min(len(r.Tags), maxTags)]
	dst = append(dst, byte(len(tags)))
	for _, tag := range tags {
		dst = appendCut(dst, tag, maxTag)
	}
	dst[start+1] = flags | address
	return dst
}

// appendCut appends a text, cut to limit bytes at a whole character.
func appendCut(dst []byte, s string, limit int) []byte {
	if len(s) <= limit {
		return appendText(dst, s)
	}
	const mark = "…"
	end := limit - len(mark)
	for i := 0; i < utf8.UTFMax && end > 0 && !utf8.RuneStart(s[end]); i++ {
		end--
	}
	dst = binary.AppendUvarint(dst, uint64(end+len(mark)))
	dst = append(dst, s[:end]...)
	return append(dst, mark...)
}

func appendAddr(dst []byte, a netip.Addr) ([]byte, byte) {
	switch a = a.Unmap(); {
	case a.Is4():
		b := a.As4()
		return append(dst, b[:]...), flagIPv4
	case a.Is6():
		b := a.As16()
		return append(dst, b[:]...), flagIPv6
	}
	return dst, 0
}

// micros is a time on disk: microseconds since 1970, 0 for anything before.
func micros(t time.Time) uint64 { return positive(t.UnixMicro()) }

func positive(v int64) uint64 { return uint64(min(max(v, 0), maxNumber)) }

// hexDigits maps a lower-case hexadecimal digit to its value, all else to 0xff.
var hexDigits = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for i, c := range "0123456789abcdef" {
		t[c] = byte(i)
	}
	return t
}()

// parseUUID reads a UUID in its canonical form (RFC 9562 section 4: lower case,
// hyphens), so that what is printed later is what came in.
func parseUUID(id *[16]byte, s string) bool {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return false
	}
	return unhex(id[0:4], s[0:8]) && unhex(id[4:6], s[9:13]) && unhex(id[6:8], s[14:18]) &&
		unhex(id[8:10], s[19:23]) && unhex(id[10:16], s[24:36])
}

func parseHex(id *[16]byte, s string) bool { return len(s) == 32 && unhex(id[:], s) }

// unhex fills dst from twice as many lower-case hexadecimal digits.
func unhex(dst []byte, s string) bool {
	for i := range dst {
		hi, lo := hexDigits[s[2*i]], hexDigits[s[2*i+1]]
		if hi|lo > 0x0f {
			return false
		}
		dst[i] = hi<<4 | lo
	}
	return true
}
