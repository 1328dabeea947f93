package journal

import (
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"
	"slices"
)

// Key is something that filters can be asked for: a correlation id or a
// principal.
type Key struct {
	hash   uint64
	text   string
	id     [16]byte
	binary bool // text is a canonical UUID: id holds it
}

// The kinds of keys: the first byte of what is hashed.
const (
	keyCorrelation = 'c'
	keyPrincipal   = 'p'
)

// CorrelationKey is the key of a correlation id.
func CorrelationKey(id string) Key { return newKey(keyCorrelation, id) }

// PrincipalKey is the key of a principal's `sub`.
func PrincipalKey(sub string) Key { return newKey(keyPrincipal, sub) }

func newKey(kind byte, text string) Key {
	k := Key{text: text}
	if k.binary = parseUUID(&k.id, text); k.binary {
		k.hash = keyHash(kind, k.id[:])
	} else {
		k.hash = keyHash(kind, []byte(text))
	}
	return k
}

// keyHash is the first eight bytes of SHA-256 over the kind and the key as it
// is encoded in a record.
func keyHash(kind byte, key []byte) uint64 {
	var b [1 + maxText]byte
	b[0] = kind
	n := copy(b[1:], key)
	sum := sha256.Sum256(b[:1+n])
	return binary.LittleEndian.Uint64(sum[:])
}

// Correlates says whether the record has the correlation id of k, without
// parsing the record.
func (r Raw) Correlates(k *Key) bool {
	n := r.fixed()
	if len(r) < n || (r[1]&flagCorrelation != 0) != k.binary {
		return false
	}
	if k.binary {
		return [16]byte(r[2:]) == k.id
	}
	w := wire{b: r[n:]}
	return string(w.text(maxText)) == k.text
}

// HasPrincipal says whether the record has the principal of k.
func (v *View) HasPrincipal(k *Key) bool {
	if v.flags&flagPrincipal != 0 {
		return k.binary && [16]byte(v.principal) == k.id
	}
	return !k.binary && string(v.principal) == k.text
}

// A filter is a split block Bloom filter (as Apache Parquet specifies it):
// lines of 32 bytes, of which a key sets one bit in each of eight words. One
// line decides, so a filter can be asked on disk by reading one line. With
// filterBits a key it says yes wrongly about once in 200 times, and never no.
// Behind each line stands its own CRC-32C: a bit that got lost would say no.
type filter []byte

const (
	filterWords = 32
	filterLine  = filterWords + 4
	filterBits  = 12
	// maxFilter bounds one filter: 4 million keys, far more than a segment holds.
	maxFilter = (4 << 20) * filterBits / (8 * filterWords) * filterLine
)

var filterSalt = [8]uint32{
	0x47b6137b, 0x44974d91, 0x8824ad5b, 0xa2b7289d, 0x705495c7, 0x2df1424b, 0x9efc4947, 0x5c6bfb31,
}

// newFilter makes a filter of a set of hashes.
func newFilter(keys map[uint64]struct{}) filter {
	lines := (len(keys)*filterBits + filterWords*8 - 1) / (filterWords * 8)
	f := make(filter, min(max(lines, 1)*filterLine, maxFilter))
	for h := range keys {
		line := f[filterAt(h, len(f)):]
		for i, salt := range filterSalt {
			word := line[4*i:]
			binary.LittleEndian.PutUint32(word, binary.LittleEndian.Uint32(word)|filterMask(h, salt))
		}
	}
	for line := range slices.Chunk(f, filterLine) {
		binary.LittleEndian.PutUint32(line[filterWords:], crc32.Checksum(line[:filterWords], castagnoli))
	}
	return f
}

// lineIsSound says whether a line matches its checksum.
func lineIsSound(line []byte) bool {
	return binary.LittleEndian.Uint32(line[filterWords:]) == crc32.Checksum(line[:filterWords], castagnoli)
}

// filterAt returns the offset of the line that decides on a hash: its upper
// half, scaled to the number of lines.
func filterAt(h uint64, size int) int {
	return int((h>>32)*uint64(size/filterLine)>>32) * filterLine
}

// filterMask returns the bit of a hash in the word of a salt: the upper five
// bits of the hash's lower half times the salt.
func filterMask(h uint64, salt uint32) uint32 { return 1 << ((uint32(h) * salt) >> 27) }

// lineHolds says whether the line that decides on a hash has all of its bits.
func lineHolds(line []byte, h uint64) bool {
	for i, salt := range filterSalt {
		if binary.LittleEndian.Uint32(line[4*i:])&filterMask(h, salt) == 0 {
			return false
		}
	}
	return true
}
