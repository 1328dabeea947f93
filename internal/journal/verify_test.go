package journal

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Any flipped byte of a segment, sealed or not, and of the two heads is found.
// The positive control is the untouched copy.
func TestFlippedBytesAreFound(t *testing.T) {
	dir := filled(t, 130)
	verify(t, dir)
	list := segments(t, dir)
	if !list[0].Sealed || list[len(list)-1].Sealed {
		t.Fatalf("segments %+v, want sealed ones and a live one", list)
	}
	spoilt := copyDir(t, dir)
	for _, name := range []string{list[0].name(), list[len(list)-1].name(), headFile, floorFile} {
		good := readFile(t, dir, name)
		for _, at := range places(len(good)) {
			bad := bytes.Clone(good)
			bad[at] ^= 1 << (at % 8)
			writeFile(t, spoilt, name, bad)
			if len(findings(t, spoilt)) == 0 {
				t.Errorf("%s: the flip of byte %d of %d is not found", name, at, len(good))
			}
		}
		writeFile(t, spoilt, name, good)
	}
	verify(t, spoilt)
}

// places are all bytes at both ends of a file and a sample of those between.
func places(size int) (list []int) {
	const ends, sample = 80, 80
	random := rand.New(rand.NewPCG(1, uint64(size)))
	for i := range size {
		if i < ends || i >= size-2*ends || random.IntN(size) < sample {
			list = append(list, i)
		}
	}
	return list
}

// Segments that are missing, exchanged, cut, repeated or of another journal are found.
func TestMovedSegmentsAreFound(t *testing.T) {
	dir := filled(t, 600)
	list := segments(t, dir)
	last := list[len(list)-1]
	if len(list) < 5 {
		t.Fatalf("%d segments, want 5 at least", len(list))
	}
	other := filled(t, 600)
	cut := func(name string, by int) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			b := readFile(t, dir, name)
			writeFile(t, dir, name, b[:len(b)-by])
		}
	}
	remove := func(names ...string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			for _, name := range names {
				if err := os.Remove(filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	lastFrame := frameOffsets(t, dir, last)
	for _, c := range []struct {
		name  string
		spoil func(*testing.T, string)
		want  string
	}{
		{"the first is missing", remove(list[0].name()), "kept from segment 1"},
		{"one in the middle is missing", remove(list[2].name()), "segments 3 to 3 are missing"},
		{"the last is missing", remove(last.name()), "its end is missing"},
		{"all are missing", func(t *testing.T, dir string) {
			for _, s := range list {
				remove(s.name())(t, dir)
			}
		}, "its end is missing"},
		{"two are exchanged", func(t *testing.T, dir string) {
			a, b := readFile(t, dir, list[1].name()), readFile(t, dir, list[2].name())
			writeFile(t, dir, list[1].name(), b)
			writeFile(t, dir, list[2].name(), a)
		}, "the header says"},
		{"one is repeated", func(t *testing.T, dir string) {
			writeFile(t, dir, list[2].name(), readFile(t, dir, list[1].name()))
		}, "the header says"},
		{"one is of another journal", func(t *testing.T, dir string) {
			writeFile(t, dir, list[2].name(), readFile(t, other, list[2].name()))
		}, "another journal"},
		{"a sealed one is cut", cut(list[1].name(), 100), "footer"},
		{"the live one is cut within a frame", cut(last.name(), 7), "no whole frame"},
		{"the live one is cut between frames", cut(last.name(), lastFrame), "its end is missing"},
		{"one has no header", func(t *testing.T, dir string) {
			b := readFile(t, dir, list[2].name())
			b[3] ^= 1
			writeFile(t, dir, list[2].name(), b)
		}, "are missing before it"},
		{"the head is missing", remove(headFile), "anchor head"},
		{"the floor is missing", remove(floorFile), "anchor floor"},
	} {
		spoilt := copyDir(t, dir)
		c.spoil(t, spoilt)
		found := findings(t, spoilt)
		if !slices.ContainsFunc(found, func(f Finding) bool { return strings.Contains(f.String(), c.want) }) {
			t.Errorf("%s: findings %v, want one with %q", c.name, found, c.want)
		}
	}
}

// frameOffsets returns the length of the last frame of a log.
func frameOffsets(t *testing.T, dir string, s Info) (last int) {
	t.Helper()
	log := readFile(t, dir, s.name())
	_, raw, err := readHeader(bytes.NewReader(log))
	if err != nil {
		t.Fatal(err)
	}
	in := newScanner(bytes.NewReader(log), int64(len(raw)))
	for {
		from := in.off
		if _, _, err := in.next(); err != nil {
			return last
		}
		last = int(in.off - from)
	}
}

// Whoever rewrites the end of the journal, with a whole chain and a fitting
// head, is found by an anchor that was kept elsewhere. Anchors of what was freed
// meanwhile say nothing.
func TestAnchors(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, options())
	var anchors []Head
	for i := 0; i < 3000; i += 500 {
		write(t, j, i, i+500)
		anchors = append(anchors, j.Head())
	}
	waitSealed(t, j)
	closeJournal(t, j)
	verify(t, dir, anchors...)

	forged := t.TempDir() // the same journal with one record changed
	k := open(t, forged, options())
	write(t, k, 0, 1000)
	write(t, k, 0, 1)
	write(t, k, 1001, 3000)
	waitSealed(t, k)
	closeJournal(t, k)
	verify(t, forged)
	if len(findings(t, forged, anchors[5])) == 0 {
		t.Error("a changed record before the anchor is not found")
	}

	short := t.TempDir()
	k = open(t, short, options())
	write(t, k, 0, 2999)
	closeJournal(t, k)
	if len(findings(t, short, anchors[5])) == 0 {
		t.Error("a missing record before the anchor is not found")
	}
	if len(findings(t, dir, Head{Segment: 2, Sequence: 501, Chain: Chain{7}})) == 0 {
		t.Error("an anchor that the journal has no place for is not found")
	}

	k = open(t, dir, options())
	write(t, k, 3000, 16_000)
	closeJournal(t, k)
	if report := verify(t, dir, anchors[:3]...); report.Begin.Segment <= anchors[0].Segment {
		t.Error("nothing was freed")
	}
}

// Verify works beside the writer, and takes what is being written for no damage.
func TestVerifyBesideTheWriter(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, options())
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				_ = j.Append(record(i))
			}
		}
	}()
	for range 20 {
		verify(t, dir)
	}
	close(stop)
	<-done
	closeJournal(t, j)
	verify(t, dir)
}

func TestVerifyEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Verify(ctx, filled(t, 100)); !errors.Is(err, context.Canceled) {
		t.Errorf("Verify = %v, want %v", err, context.Canceled)
	}
	if _, err := Verify(t.Context(), filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("Verify of no folder: no error")
	}
}
