package password

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sallyport.dev/internal/problem"
)

func build(t *testing.T, src List) (string, Built, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), BreachedFile)
	built, err := BuildBreached(t.Context(), path, src)
	return path, built, err
}

// pwned is a line of a list of hashes.
func pwned(password string, count int) string {
	return fmt.Sprintf("%X:%d\r\n", sha1.Sum([]byte(password)), count)
}

func TestBuildBreached(t *testing.T) {
	plain := "\uFEFFgeometrical\n\nQuinceMarmalade\r\nQuinceMarmalade\nshort\ncafe\u0301 au lait, please\nlatin\xe4long\n" +
		strings.Repeat("l", 70_000) + "\n" + strings.Repeat("m", 2000) + "\nthe last one has no end"
	path, built, err := build(t, List{Source: strings.NewReader(plain)})
	if err != nil {
		t.Fatal(err)
	}
	if built.Passwords != 4 || built.Left != 4 {
		t.Errorf("built %+v, want 4 passwords and 4 lines left out", built)
	}
	b, err := OpenBreached(path)
	if err != nil || b.count != 4 {
		t.Fatalf("OpenBreached: %d, %v", b.count, err)
	}
	for password, want := range map[string]bool{
		"geometrical": true, "QuinceMarmalade": true, "caf\u00e9 au lait, please": true, "the last one has no end": true,
		"quincemarmalade": false, "geometrical ": false, "short": false, "": false, strings.Repeat("l", 100): false,
	} {
		if got := b.Contains([]byte(password)); got != want {
			t.Errorf("Contains(%q) = %v, want %v", password, got, want)
		}
	}
	// The same as hashes, in another order, is the same file.
	hashes := pwned("the last one has no end", 1) + strings.ToLower(pwned("caf\u00e9 au lait, please", 12)) + pwned("QuinceMarmalade", 3) +
		fmt.Sprintf("%x", sha1.Sum([]byte("geometrical")))
	other, built, err := build(t, List{Source: strings.NewReader(hashes)})
	if err != nil || built.Passwords != 4 || built.Left != 0 {
		t.Fatalf("hashes: %+v, %v", built, err)
	}
	one, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if two, err := os.ReadFile(other); err != nil || !bytes.Equal(one, two) || int64(len(two)) != built.Bytes {
		t.Errorf("passwords and their hashes give different files of %d and %d bytes (%v)", len(one), len(two), err)
	}
}

func TestBuildBreachedBySeen(t *testing.T) {
	src := pwned("seen a thousand times", 1000) + pwned("seen ten times", 10) + pwned("seen nine times", 9)
	path, built, err := build(t, List{Source: strings.NewReader(src), Seen: 10})
	if err != nil || built.Passwords != 2 || built.Left != 1 {
		t.Fatalf("%+v, %v; want 2 passwords and 1 left out", built, err)
	}
	b, err := OpenBreached(path)
	if err != nil || !b.Contains([]byte("seen ten times")) || b.Contains([]byte("seen nine times")) {
		t.Errorf("%v: the wrong ones were taken", err)
	}
}

func TestBuildBreachedRefuses(t *testing.T) {
	digest := strings.Repeat("0123456789", 4)
	for _, c := range []struct {
		name string
		src  List
		want string
	}{
		{"empty", List{Source: strings.NewReader("")}, "no password"},
		{"short passwords only", List{Source: strings.NewReader("a\nb\n")}, "no password"},
		{"a word among hashes", List{Source: strings.NewReader(digest + ":1\npassword\n")}, "line 2"},
		{"a count that is none", List{Source: strings.NewReader(digest + ":many\n")}, "line 1"},
		{"a long line among hashes", List{Source: strings.NewReader(digest + "\n" + strings.Repeat("a", 70_000))}, "line 2"},
		{"NTLM", List{Source: strings.NewReader(digest[:32] + ":1\n")}, "NTLM"},
		{"SHA-256", List{Source: strings.NewReader(digest + digest[:24] + "\n")}, "SHA-256"},
		{"passwords that were called hashes", List{Source: strings.NewReader("geometrical\n"), Format: ListHashes}, "line 1"},
		{"counts of passwords", List{Source: strings.NewReader("geometrical\n"), Seen: 2}, "no counts"},
		{"counts of passwords that were called so", List{Source: strings.NewReader("geometrical\n"), Format: ListPlain, Seen: 2}, "no counts"},
	} {
		path, built, err := build(t, c.src)
		if err == nil || !errors.Is(err, ErrList) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %+v, %v; want an error with %q", c.name, built, err, c.want)
		}
		if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 0 {
			t.Errorf("%s: files are left: %v", c.name, left)
		}
	}
	if _, _, err := readKeys(t.Context(), List{Source: strings.NewReader("geometrical\nQuinceMarmalade\n")}, 1); !errors.Is(err, ErrList) {
		t.Errorf("more than are taken: %v", err)
	}
	if path, _, err := build(t, List{Source: failing{}}); err == nil || errors.Is(err, ErrList) || !strings.Contains(err.Error(), "it broke") {
		t.Errorf("a source that fails: %v", err)
	} else if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 0 {
		t.Errorf("a source that fails: files are left: %v", left)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	long := strings.Repeat(pwned("x", 1), 5000)
	if _, err := BuildBreached(ctx, filepath.Join(t.TempDir(), "f"), List{Source: strings.NewReader(long)}); !errors.Is(err, context.Canceled) {
		t.Errorf("when it is interrupted: %v", err)
	}
	// Also between lines none of which is taken: those of ten gigabytes may be so.
	ctx, cancel = context.WithCancel(t.Context())
	seldom := List{Source: io.MultiReader(strings.NewReader(pwned("a password", 9)+long), stopping{cancel}, strings.NewReader(long)), Seen: 2}
	if _, err := BuildBreached(ctx, filepath.Join(t.TempDir(), "f"), seldom); !errors.Is(err, context.Canceled) {
		t.Errorf("when it is interrupted among lines that are left out: %v", err)
	}
	if _, err := BuildBreached(t.Context(), filepath.Join(t.TempDir(), "none", "f"), List{Source: strings.NewReader("geometrical\n")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
	// A hash as a password is one where that is said.
	if _, built, err := build(t, List{Source: strings.NewReader(digest[:32] + "\n"), Format: ListPlain}); err != nil || built.Passwords != 1 {
		t.Errorf("a list that is plain: %+v, %v", built, err)
	}
}

// stopping is an empty source at which the person who waits has enough.
type stopping struct{ stop func() }

func (s stopping) Read([]byte) (int, error) { s.stop(); return 0, io.EOF }

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("it broke") }

// TestFalsePositives: 2^-16 is what the format promises. Of 200,000 passwords
// that are not on it, about three are taken for breached; the keys are fixed, so
// the number is.
func TestFalsePositives(t *testing.T) {
	b, wrong := Embedded(), 0
	for i := range 200_000 {
		if b.Contains(fmt.Appendf(nil, "not on the list %d", i)) {
			wrong++
		}
	}
	if wrong > 12 {
		t.Errorf("%d of 200000 are taken for breached, want about 3", wrong)
	}
}

func TestListCanBeReplaced(t *testing.T) {
	path, _, err := build(t, List{Source: strings.NewReader("geometrical\n")})
	if err != nil {
		t.Fatal(err)
	}
	own, err := OpenBreached(path)
	if err != nil {
		t.Fatal(err)
	}
	s := cheaply(t)
	for _, c := range []struct {
		name           string
		list           *Breached
		geometrical    problem.Reason
		schneckeOfList problem.Reason
	}{
		{"the one that ships", nil, problem.OK, problem.AccountPassword},
		{"its own", own, problem.AccountPassword, problem.OK},
		{"the zero value", &Breached{}, problem.OK, problem.AccountPassword},
	} {
		s.SetBreached(c.list)
		if got := problem.ReasonOf(s.Judge("geometrical", true)); got != c.geometrical {
			t.Errorf("%s: geometrical: %v, want %v", c.name, got, c.geometrical)
		}
		if got := problem.ReasonOf(s.Judge("Schnecke2024", true)); got != c.schneckeOfList {
			t.Errorf("%s: Schnecke2024: %v, want %v", c.name, got, c.schneckeOfList)
		}
		if got := problem.ReasonOf(s.Judge("password1", true)); got != problem.AccountPassword {
			t.Errorf("%s: password1: %v; the most used are refused whatever the list is", c.name, got)
		}
	}
}

func TestOpenBreachedRefuses(t *testing.T) {
	good := small(t)
	if _, err := parseBreached(good); err != nil {
		t.Fatal("positive control:", err)
	}
	for name, edit := range map[string]func(b []byte) []byte{
		"empty":              func([]byte) []byte { return nil },
		"header alone":       func(b []byte) []byte { return b[:filterHeader] },
		"truncated":          func(b []byte) []byte { return b[:len(b)-1] },
		"truncated, signed":  func(b []byte) []byte { return signed(b[:len(b)-34]) },
		"more after":         func(b []byte) []byte { return append(b, 0) },
		"more, signed":       func(b []byte) []byte { return signed(append(b[:len(b)-32], 0, 0)) },
		"one bit":            func(b []byte) []byte { b[60] ^= 1; return b },
		"checksum":           func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		"magic":              func(b []byte) []byte { b[0] = 'X'; return signed(b[:len(b)-32]) },
		"version":            func(b []byte) []byte { b[8] = 2; return signed(b[:len(b)-32]) },
		"segment length":     func(b []byte) []byte { binary.LittleEndian.PutUint32(b[12:], 3); return signed(b[:len(b)-32]) },
		"long segments":      func(b []byte) []byte { binary.LittleEndian.PutUint32(b[12:], 1<<31); return signed(b[:len(b)-32]) },
		"no segments":        func(b []byte) []byte { binary.LittleEndian.PutUint32(b[16:], 0); return signed(b[:len(b)-32]) },
		"many segments":      func(b []byte) []byte { binary.LittleEndian.PutUint32(b[16:], 1<<32-1); return signed(b[:len(b)-32]) },
		"many fingerprints":  func(b []byte) []byte { binary.LittleEndian.PutUint32(b[20:], 1<<32-1); return signed(b[:len(b)-32]) },
		"no passwords":       func(b []byte) []byte { binary.LittleEndian.PutUint64(b[24:], 0); return signed(b[:len(b)-32]) },
		"too many passwords": func(b []byte) []byte { binary.LittleEndian.PutUint64(b[24:], 1<<63); return signed(b[:len(b)-32]) },
	} {
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path, edit(bytes.Clone(good)), 0o600); err != nil {
			t.Fatal(err)
		}
		if b, err := OpenBreached(path); err == nil {
			t.Errorf("%s: read as %d passwords", name, b.count)
		}
	}
	if _, err := OpenBreached(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	if _, err := OpenBreached(t.TempDir()); err == nil {
		t.Error("a folder is read")
	}
}

// small is the file of a short list.
func small(t testing.TB) []byte {
	t.Helper()
	b, err := newBreached([]uint64{1, 2, 3, 1 << 63})
	if err != nil {
		t.Fatal(err)
	}
	return b.encode()
}

// signed puts the right checksum behind a body.
func signed(body []byte) []byte {
	sum := sha256.Sum256(body)
	return append(body, sum[:]...)
}

func FuzzBreachedFile(f *testing.F) {
	good := small(f)
	f.Add(good, true)
	f.Add(good[:len(good)-32], true)
	f.Add(good[:filterHeader], true)
	f.Fuzz(func(t *testing.T, data []byte, sign bool) {
		if sign { // past the checksum
			data = signed(bytes.Clone(data))
		}
		b, err := parseBreached(data)
		if err != nil {
			return
		}
		for i := range 64 { // an index outside of it would panic
			b.Contains([]byte{byte(i)})
			b.filter.Contains(uint64(i) << 58)
		}
		if again := b.encode(); !bytes.Equal(again, data) {
			t.Errorf("parseBreached(%x) writes back %x", data, again)
		}
	})
}

func FuzzBreachedList(f *testing.F) {
	f.Add([]byte(pwned("password1", 7)+pwned("password2", 1)), uint64(2))
	f.Add([]byte("geometrical\r\nQuinceMarmalade\n\n"), uint64(0))
	f.Add(append(bytes.Repeat([]byte("a"), 70_000), '\n'), uint64(1))
	f.Fuzz(func(t *testing.T, data []byte, seen uint64) {
		keys, left, err := readKeys(t.Context(), List{Source: bytes.NewReader(data), Seen: seen}, 1000)
		if rows := uint64(bytes.Count(data, []byte("\n")) + 1); err == nil && uint64(len(keys))+left > rows {
			t.Errorf("%d keys and %d left out of %d lines", len(keys), left, rows)
		}
	})
}
