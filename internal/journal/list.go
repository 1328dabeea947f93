package journal

import (
	"cmp"
	"fmt"
	"os"
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
		if err != nil {
			continue // freed or sealed since the folder was read
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
	return slices.CompactFunc(list, func(a, b Info) bool { return a.Number == b.Number }), nil
}
