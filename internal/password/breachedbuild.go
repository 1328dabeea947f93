package password

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/FastFilter/xorfilter"
)

// ErrList is what the error of BuildBreached is when the list is at fault, and
// not a file or disk.
var ErrList = errors.New("list of breached passwords")

// List is a list of breached passwords to build a filter from.
type List struct {
	Source io.Reader
	Format ListFormat
	Seen   uint64 // of hashes with counts: take those that were seen that often; 0 is all
}

// Built tells what a filter was built from.
type Built struct {
	Passwords uint64 `json:"passwords"` // different ones in the filter
	Left      uint64 `json:"left_out"`  // lines left out: seen too seldom, or no password that could be chosen
	Bytes     int64  `json:"bytes"`     // of the file
}

// BuildBreached reads a list and writes the filter of it to a path, whole or not
// at all. The same passwords give the same file, in any order and either format.
//
// The list is read as a stream, line by line. Each password is a key of 8 bytes
// until the end; building takes up to 40 bytes for each: 400 MB for ten million.
// More than a hundred million are refused; of a longer list take those that
// were seen more often.
func BuildBreached(ctx context.Context, dst string, src List) (Built, error) {
	keys, left, err := readKeys(ctx, src, maxBreached)
	if err != nil {
		return Built{}, err
	}
	b, err := newBreached(keys)
	if err != nil {
		return Built{}, fmt.Errorf("breached passwords: %w", err)
	}
	data := b.encode()
	if err := writeWhole(dst, data); err != nil {
		return Built{}, fmt.Errorf("breached passwords: %w", err)
	}
	return Built{Passwords: b.count, Left: left, Bytes: int64(len(data))}, nil
}

// readKeys returns the keys of a list, at most so many.
func readKeys(ctx context.Context, src List, most int) (keys []uint64, left uint64, err error) {
	l := list{lines: newLines(interruptible{ctx, src.Source}), format: src.Format, seen: src.Seen}
	for {
		key, err := l.next()
		switch {
		case errors.Is(err, io.EOF):
			if len(keys) == 0 {
				return nil, 0, fmt.Errorf("%w: it has no password that could be chosen", ErrList)
			}
			return keys, l.left, nil
		case errors.Is(err, ErrList):
			return nil, 0, err
		case err != nil:
			return nil, 0, fmt.Errorf("list of breached passwords: %w", err)
		case len(keys) >= most:
			return nil, 0, fmt.Errorf("%w: more than %d passwords; take those that were seen more often", ErrList, most)
		}
		keys = append(keys, key)
	}
}

// interruptible is a source until ctx ends: a list may be of hours, with few lines
// that are taken.
type interruptible struct {
	ctx    context.Context
	source io.Reader
}

func (i interruptible) Read(b []byte) (int, error) {
	if i.ctx.Err() != nil {
		return 0, context.Cause(i.ctx)
	}
	return i.source.Read(b)
}

// newBreached builds the filter of keys, which it sorts: the library's result
// depends on their order.
func newBreached(keys []uint64) (*Breached, error) {
	slices.Sort(keys)
	keys = slices.Compact(keys)
	count := uint64(len(keys))
	f, err := xorfilter.NewBinaryFuse[uint16](keys)
	if err != nil {
		return nil, err
	}
	return &Breached{count: count, filter: f}, nil
}

// writeWhole writes a file so that a reader sees the old one or the new one.
func writeWhole(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone when it was renamed
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if end := f.Close(); err == nil {
		err = end
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return err
}
