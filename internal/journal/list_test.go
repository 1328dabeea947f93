package journal

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
)

// A folder changes while it is listed: what was sealed since is listed sealed,
// what a listing overlooked in the meantime is found, and what was freed is not.
func TestListingOfAFolderThatChanges(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{logName(1), logName(2), logName(3), logName(4), logName(5)} {
		writeFile(t, dir, name, []byte("x"))
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, from := range []uint64{1, 2, 4} { // sealed after the folder was read
		if err := os.Rename(filepath.Join(dir, logName(from)), filepath.Join(dir, sealedName(from))); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(dir, sealedName(1))); err != nil { // and freed
		t.Fatal(err)
	}
	want := []Info{{2, true, 1}, {3, false, 1}, {4, true, 1}, {5, false, 1}}
	for name, read := range map[string][]os.DirEntry{
		"the names are old":    entries,
		"a name is overlooked": slices.Delete(slices.Clone(entries), 3, 4),
	} {
		if got, err := listed(dir, read); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, want)
		}
	}
	c := NewReader(dir).Cursor(0)
	c.number = 3
	for _, names := range [][]string{{logName(3), logName(5)}, {logName(5), sealedName(4)}} {
		if next, err := c.after(names); err != nil || next.Number != 4 || !next.Sealed {
			t.Errorf("after segment 3 of %v: %+v, %v; want segment 4, sealed", names, next, err)
		}
	}
	c.number = 5
	if next, err := c.after([]string{logName(3), logName(5)}); err != nil || next != (Info{}) {
		t.Errorf("after the last segment: %+v, %v; want none", next, err)
	}
}

// However far two numbers lie apart, little is looked for between them.
func TestHolesAreNotSearchedForever(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir, logName(1), nil)
	writeFile(t, dir, logName(1<<62), nil)
	if got := segments(t, dir); len(got) != 2 {
		t.Errorf("%+v, want two segments", got)
	}
}

// A head that is read while it is written is read again; one that stays damaged is damaged.
func TestHeadBesideTheWriter(t *testing.T) {
	want := Head{Segment: 3, Sequence: 9, Chain: Chain{7}}
	torn := want.line()
	torn[70] ^= 1
	for _, c := range []struct {
		name  string
		reads [][]byte
		ok    bool
	}{
		{"whole", [][]byte{want.line()}, true},
		{"torn once", [][]byte{torn, want.line()}, true},
		{"damaged", [][]byte{torn}, false},
	} {
		n := 0
		got, err := parseHead(func() ([]byte, error) { n++; return c.reads[min(n, len(c.reads))-1], nil })
		if c.ok && (err != nil || got != want) || !c.ok && !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
}
