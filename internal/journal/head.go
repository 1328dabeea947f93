package journal

import (
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"
)

// Head is a place in the journal between two records: so many records came
// before it, and this is the chain value after them. A head that was kept
// elsewhere anchors the journal: Verify finds out whether the journal still
// passes through it.
type Head struct {
	Segment  uint64
	Sequence uint64 // of the next record
	Chain    Chain
}

// The two heads that a journal keeps in its own folder. Both are rewritten in
// place by one write, which takes no room on a full disk.
const (
	headFile  = "head"  // how far the journal was synced; written after each sync
	floorFile = "floor" // where the oldest kept segment begins; synced before older ones are removed
)

// headForm has a fixed length, so that a new line covers the old one.
const headForm = "sallyport-journal-head segment %020d sequence %020d chain %x"

// MarshalText writes the head as one line without its end, with a checksum.
func (h Head) MarshalText() ([]byte, error) {
	line := fmt.Appendf(nil, headForm, h.Segment, h.Sequence, h.Chain[:])
	return fmt.Appendf(line, " crc %08x", crc32.Checksum(line, castagnoli)), nil
}

// UnmarshalText reads what MarshalText writes, and nothing else.
func (h *Head) UnmarshalText(b []byte) error {
	fields := strings.Split(string(b), " ")
	if len(fields) != 9 {
		return fmt.Errorf("journal head: %d fields, want 9", len(fields))
	}
	var got Head
	var err error
	if got.Segment, err = strconv.ParseUint(fields[2], 10, 63); err != nil {
		return fmt.Errorf("journal head: segment: %w", err)
	}
	if got.Sequence, err = strconv.ParseUint(fields[4], 10, 63); err != nil {
		return fmt.Errorf("journal head: sequence: %w", err)
	}
	chain, err := hex.DecodeString(fields[6])
	if err != nil || len(chain) != len(got.Chain) {
		return fmt.Errorf("journal head: chain is not %d bytes of hexadecimal digits", len(got.Chain))
	}
	got.Chain = Chain(chain)
	if want, _ := got.MarshalText(); string(want) != string(b) {
		return fmt.Errorf("journal head: checksum or form does not hold")
	}
	*h = got
	return nil
}

// line is what the files hold.
func (h Head) line() []byte {
	b, _ := h.MarshalText() // never fails
	return append(b, '\n')
}

// readHead reads one of the two files. The error is ErrDamaged when it is not what was written.
func readHead(dir, name string) (h Head, err error) {
	f, err := readOnly(dir, name)
	if err != nil {
		return h, err
	}
	b, err := io.ReadAll(io.LimitReader(f, 1<<10))
	if err = errors.Join(err, f.Close()); err != nil {
		return h, err
	}
	line, ok := strings.CutSuffix(string(b), "\n")
	if !ok {
		return h, fmt.Errorf("%w: the line does not end", ErrDamaged)
	}
	if err := h.UnmarshalText([]byte(line)); err != nil {
		return h, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return h, nil
}

// openHead writes a head whole, however long or torn the file was, and opens it
// to be rewritten in place.
func openHead(d disk, name string, h Head) (file, error) {
	if err := replace(d, name, h.line()); err != nil {
		return nil, err
	}
	f, err := d.open(name)
	if err != nil {
		return nil, fmt.Errorf("journal: open %s: %w", name, err)
	}
	return f, nil
}
