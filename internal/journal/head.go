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
	h, err = parseHead(func() ([]byte, error) { return io.ReadAll(io.NewSectionReader(f, 0, 1<<10)) })
	return h, errors.Join(err, f.Close())
}

// headReads is how often a head is read that does not hold together: who reads
// it while it is written in place may see half of each line.
const headReads = 10

func parseHead(read func() ([]byte, error)) (h Head, err error) {
	for range headReads {
		b, readErr := read()
		if readErr != nil {
			return h, readErr
		}
		line, ok := strings.CutSuffix(string(b), "\n")
		if !ok {
			err = fmt.Errorf("%w: the line does not end", ErrDamaged)
		} else if err = h.UnmarshalText([]byte(line)); err == nil {
			return h, nil
		} else {
			err = fmt.Errorf("%w: %w", ErrDamaged, err)
		}
	}
	return h, err
}

// openHead writes a head and opens it to be rewritten in place. A file that has
// the length of a head is rewritten in place already, because that works on a
// full disk too; any other is replaced.
func openHead(d disk, name string, h Head) (file, error) {
	line := h.line()
	f, err := d.open(name)
	if err == nil {
		if size, err := f.size(); err == nil && size == int64(len(line)) {
			_, err = f.WriteAt(line, 0)
			if err = errors.Join(err, f.Sync()); err != nil {
				return nil, fmt.Errorf("journal: write %s: %w", name, errors.Join(err, f.Close()))
			}
			return f, nil
		}
		_ = f.Close() // nothing was written
	}
	if err := replace(d, name, line); err != nil {
		return nil, err
	}
	if f, err = d.open(name); err != nil {
		return nil, fmt.Errorf("journal: open %s: %w", name, err)
	}
	return f, nil
}
