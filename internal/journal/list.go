package journal

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// The names in a journal's folder. Numbers have eight digits, or more when they need them.
const (
	logSuffix    = ".log"  // a segment as it was written; the one with the highest number is live
	sealedSuffix = ".seg"  // a sealed segment
	tornSuffix   = ".torn" // bytes that were cut off the end of a segment
	tempSuffix   = ".tmp"  // a file that is not finished; means nothing after a crash
	lockFile     = "lock"
)

func logName(n uint64) string    { return fmt.Sprintf("%08d%s", n, logSuffix) }
func sealedName(n uint64) string { return fmt.Sprintf("%08d%s", n, sealedSuffix) }

// segmentNumber reads a file name; ok is false for everything that is not named exactly so.
func segmentNumber(name, suffix string) (n uint64, ok bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	return n, err == nil && n > 0 && fmt.Sprintf("%08d", n) == digits
}

// Info is a segment as the folder shows it.
type Info struct {
	Number uint64
	Sealed bool
	Size   int64 // bytes of the file
}

func (i Info) name() string {
	if i.Sealed {
		return sealedName(i.Number)
	}
	return logName(i.Number)
}

// Segments lists the segments of a folder, oldest first. The last one is live
// when it is not sealed. A segment that is there as .log and as .seg is listed
// once, as sealed.
func Segments(dir string) ([]Info, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("journal: list segments: %w", err)
	}
	list, err := listed(dir, entries)
	if err != nil {
		return nil, fmt.Errorf("journal: list segments: %w", err)
	}
	return list, nil
}

// listed is Segments for the entries of a folder, which may have changed since.
func listed(dir string, entries []os.DirEntry) ([]Info, error) {
	var list []Info
	for _, e := range entries {
		n, sealed := segmentNumber(e.Name(), sealedSuffix)
		if !sealed {
			var ok bool
			if n, ok = segmentNumber(e.Name(), logSuffix); !ok {
				continue
			}
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) && !sealed { // sealed since the folder was read, or freed
			sealed = true
			info, err = os.Lstat(filepath.Join(dir, sealedName(n)))
		}
		if errors.Is(err, fs.ErrNotExist) {
			continue // freed
		}
		if err != nil {
			return nil, err
		}
		list = append(list, Info{Number: n, Sealed: sealed, Size: info.Size()})
	}
	slices.SortFunc(list, func(a, b Info) int {
		if a.Number == b.Number && a.Sealed != b.Sealed {
			if a.Sealed {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.Number, b.Number)
	})
	list = slices.CompactFunc(list, func(a, b Info) bool { return a.Number == b.Number })
	for i := 1; i < len(list); i++ {
		missed, err := overlooked(dir, list[i-1].Number+1, list[i].Number)
		if err != nil {
			return nil, err
		}
		if missed != (Info{}) {
			list = slices.Insert(list, i, missed)
		}
	}
	return list, nil
}

// mostOverlooked bounds the search for segments that a listing may have missed;
// more that are missing together are missing indeed.
const mostOverlooked = 8

// overlooked returns the first segment from a number on and before another that
// is there, although a listing did not show it: large folders are read in parts,
// and what is sealed between two parts may stand in neither, by its old name and
// by its new one.
func overlooked(dir string, from, to uint64) (Info, error) {
	for n := from; n < to && n-from < mostOverlooked; n++ {
		for _, i := range []Info{{Number: n}, {Number: n, Sealed: true}} { // in this order: a log becomes sealed
			info, err := os.Lstat(filepath.Join(dir, i.name()))
			if err == nil {
				i.Size = info.Size()
				return i, nil
			}
			if !errors.Is(err, fs.ErrNotExist) {
				return Info{}, err
			}
		}
	}
	return Info{}, nil
}
