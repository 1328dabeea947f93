package password

import (
	"crypto/sha1" // #nosec G505 -- names passwords, as the public lists do; protects nothing
	_ "embed"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/FastFilter/xorfilter"
)

// BreachedFile is the name of a zone's own list of breached passwords in its
// data folder.
const BreachedFile = "breached.filter"

// Breached is a set of passwords that are known from breaches, as a filter: it
// knows every one of them, and takes another password for one of them in one of
// 65,536 cases. It holds no password, and takes about 2.25 bytes for each.
//
// The zero value is the list that ships.
type Breached struct {
	count  uint64
	filter *xorfilter.BinaryFuse[uint16]
}

//go:generate go test -run ^TestEmbeddedFilterIsCurrent$ -write .

//go:embed breached.filter
var embeddedFilter []byte

// embedded is read once, when it is first needed.
var embedded = sync.OnceValue(func() *Breached {
	b, err := parseBreached(embeddedFilter)
	if err != nil { // a test reads it as it is built in
		panic(err)
	}
	return b
})

// Embedded returns the list that ships: common words and names of several
// languages with the numbers, years and signs that people put behind them,
// pairs of such words, walks on keyboards, sequences, phrases. It is made by
// `go generate` from words written for it; see embedded_test.go.
func Embedded() *Breached { return embedded() }

// OpenBreached reads a file that BuildBreached wrote. What is not exactly such a
// file, to the last byte, is an error.
func OpenBreached(path string) (*Breached, error) {
	f, err := os.Open(path) // #nosec G304 -- the operator names it
	if err != nil {
		return nil, fmt.Errorf("breached passwords: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("breached passwords: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() < minFilterFile || info.Size() > maxFilterFile {
		return nil, fmt.Errorf("breached passwords: %s is no filter of this version (see `sallyport breached build`)", path)
	}
	data := make([]byte, info.Size())
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, fmt.Errorf("breached passwords: %s: %w", path, err)
	}
	b, err := parseBreached(data)
	if err != nil {
		return nil, fmt.Errorf("breached passwords: %s: %w", path, err)
	}
	return b, nil
}

// Contains tells whether the bytes of a password are on the list.
func (b *Breached) Contains(password []byte) bool {
	return b.orEmbedded().filter.Contains(breachedKey(password))
}

func (b *Breached) orEmbedded() *Breached {
	if b == nil || b.filter == nil {
		return embedded()
	}
	return b
}

// breachedKey is what a password is in the filter: the first 64 bits of its
// SHA-1, so that lists of SHA-1 and lists of passwords give the same filter.
func breachedKey(password []byte) uint64 {
	sum := sha1.Sum(password) // #nosec G401 -- see above
	return binary.BigEndian.Uint64(sum[:8])
}
