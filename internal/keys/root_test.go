package keys

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// newRoot makes a root key in a folder of its own.
func newRoot(t *testing.T) *Root {
	t.Helper()
	r, err := OpenRoot(filepath.Join(t.TempDir(), "data.root"), true)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSealOpens(t *testing.T) {
	r := newRoot(t)
	for _, plain := range []string{"", "a secret", strings.Repeat("x", maxPlain)} {
		sealed, err := r.Seal("a/b", []byte(plain))
		if err != nil {
			t.Fatal(err)
		}
		if len(sealed) != len(plain)+sealOverhead {
			t.Errorf("a seal of %d bytes adds %d, want %d", len(plain), len(sealed)-len(plain), sealOverhead)
		}
		if got, err := r.Open("a/b", sealed); err != nil || string(got) != plain {
			t.Errorf("opened %d bytes, %v, want the %d sealed", len(got), err, len(plain))
		}
	}
	one, _ := r.Seal("a", []byte("x"))
	two, _ := r.Seal("a", []byte("x"))
	if bytes.Equal(one, two) {
		t.Error("two seals of one value are equal: the nonce is used twice")
	}
}

func TestOpenRefuses(t *testing.T) {
	r := newRoot(t)
	sealed, err := r.Seal("a", []byte("a secret"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range sealed {
		b := bytes.Clone(sealed)
		b[i] ^= 1
		want := ErrAltered
		if i >= 1 && i < 5 { // Tink's key id: it names another key now
			want = ErrWrongRoot
		}
		if _, err := r.Open("a", b); !errors.Is(err, want) {
			t.Errorf("byte %d flipped: %v, want %v", i, err, want)
		}
	}
	for name, c := range map[string]struct {
		place  string
		sealed []byte
		want   error
	}{
		"another place": {"b", sealed, ErrAltered},
		"cut":           {"a", sealed[:len(sealed)-1], ErrAltered},
		"empty":         {"a", nil, ErrAltered},
		"too large":     {"a", make([]byte, maxPlain+sealOverhead+1), ErrAltered},
	} {
		if _, err := r.Open(c.place, c.sealed); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	for _, name := range []string{"", "a b", "a\x00", "é", strings.Repeat("n", maxName+1)} {
		if _, err := r.Seal(name, nil); err == nil {
			t.Errorf("Seal under %q: no error", name)
		}
		if _, err := r.Open(name, sealed); err == nil {
			t.Errorf("Open under %q: no error", name)
		}
	}
	if _, err := r.Seal("a", make([]byte, maxPlain+1)); err == nil {
		t.Error("Seal of too much: no error")
	}
	if got, err := r.Open("a", sealed); err != nil || string(got) != "a secret" { // the twin
		t.Errorf("as it was sealed: %q, %v", got, err)
	}
}

func TestWrongRootNamesFileAndMend(t *testing.T) {
	one, two := newRoot(t), newRoot(t)
	sealed, err := one.Seal("a", []byte("a secret"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = two.Open("a", sealed)
	if !errors.Is(err, ErrWrongRoot) {
		t.Fatalf("another root: %v, want %v", err, ErrWrongRoot)
	}
	for _, want := range []string{two.file, "give the root key file that belongs to this data folder", "nothing was changed"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not say %q", err, want)
		}
	}
}

func TestRootIsMadeOnlyWhenAsked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data.root")
	if _, err := OpenRoot(path, false); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Fatalf("OpenRoot of nothing: %v, want %v with the path", err, fs.ErrNotExist)
	}
	first, err := OpenRoot(path, true)
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
	}
	sealed, _ := first.Seal("a", []byte("a secret"))
	for _, create := range []bool{false, true} { // create never makes a second
		again, err := OpenRoot(path, create)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := again.Open("a", sealed); err != nil || string(got) != "a secret" {
			t.Errorf("create %v: opened %q, %v", create, got, err)
		}
	}
	after, _ := os.ReadFile(path)
	if !bytes.Equal(before, after) {
		t.Error("the file was changed by opening it")
	}
	if names, _ := filepath.Glob(path + "*"); len(names) != 1 {
		t.Errorf("left behind: %v", names)
	}
}

func TestRootMadeByManyIsOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data.root")
	var roots [8]*Root
	var wg sync.WaitGroup
	for i := range roots {
		wg.Go(func() {
			var err error
			if roots[i], err = OpenRoot(path, true); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	sealed, _ := roots[0].Seal("a", []byte("x"))
	for i, r := range roots {
		if _, err := r.Open("a", sealed); err != nil {
			t.Errorf("root %d: %v", i, err)
		}
	}
}

func TestRootFileIsRefused(t *testing.T) {
	good, err := os.ReadFile(newRoot(t).file)
	if err != nil {
		t.Fatal(err)
	}
	write := func(path string, content []byte, mode fs.FileMode) error {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return err
		}
		return os.Chmod(path, mode)
	}
	for _, c := range []struct {
		name string
		make func(path string) error
		says string // "": accepted
	}{
		{"0600", func(p string) error { return write(p, good, 0o600) }, ""},
		{"0400", func(p string) error { return write(p, good, 0o400) }, ""},
		{"group may read", func(p string) error { return write(p, good, 0o640) }, "mode 0640"},
		{"group may write", func(p string) error { return write(p, good, 0o620) }, "mode 0620"},
		{"others may read", func(p string) error { return write(p, good, 0o604) }, "mode 0604"},
		{"symbolic link", func(p string) error {
			if err := write(p+".real", good, 0o600); err != nil {
				return err
			}
			return os.Symlink(p+".real", p)
		}, "symbolic link"},
		{"dangling link", func(p string) error { return os.Symlink(p+".nowhere", p) }, "symbolic link"},
		{"folder", func(p string) error { return os.Mkdir(p, 0o700) }, "not a regular file"},
		{"fifo", func(p string) error { return syscall.Mkfifo(p, 0o600) }, "not a regular file"},
		{"empty", func(p string) error { return write(p, nil, 0o600) }, "not a Tink keyset"},
		{"not a keyset", func(p string) error { return write(p, []byte(`{"primaryKeyId":1}`), 0o600) }, "not a Tink keyset"},
		{"cut", func(p string) error { return write(p, good[:len(good)/2], 0o600) }, "not a Tink keyset"},
		{"too large", func(p string) error { return write(p, make([]byte, maxRootFile+1), 0o600) }, "larger than"},
		{"another kind of key", func(p string) error {
			return write(p, bytes.Replace(good, []byte("AesGcmKey"), []byte("AesCmacKey"), 1), 0o600)
		}, "restore the file"},
	} {
		for _, create := range []bool{false, true} {
			path := filepath.Join(t.TempDir(), "data.root")
			if err := c.make(path); err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			_, err := OpenRoot(path, create)
			if c.says == "" {
				if err != nil {
					t.Errorf("%s (create %v): %v, want it taken", c.name, create, err)
				}
				continue
			}
			if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), path) {
				t.Errorf("%s (create %v): %v, want an error that says %q and names the file", c.name, create, err, c.says)
			}
		}
	}
}

func TestForeignOwnerIsRefused(t *testing.T) {
	path := newRoot(t).file
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := private(path, info, os.Geteuid()); err != nil {
		t.Errorf("own file: %v", err)
	}
	if err := private(path, info, os.Geteuid()+1); err == nil || !strings.Contains(err.Error(), "belongs to uid") {
		t.Errorf("file of another: %v, want an error that says whose it is", err)
	}
}

func TestRootDoesNotPrint(t *testing.T) {
	r := newRoot(t)
	content, err := os.ReadFile(r.file)
	if err != nil {
		t.Fatal(err)
	}
	var keyset struct {
		Key []struct{ KeyData struct{ Value string } }
	}
	if err := json.Unmarshal(content, &keyset); err != nil {
		t.Fatal(err)
	}
	value, err := base64.StdEncoding.DecodeString(keyset.Key[0].KeyData.Value)
	if err != nil || len(value) < 32 {
		t.Fatalf("key value of %d bytes, %v: the test proves nothing", len(value), err)
	}
	secret := value[len(value)-32:]
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		for _, form := range forms(secret) {
			if got := fmt.Sprintf(verb, r); strings.Contains(got, string(form)) {
				t.Errorf("%s prints the key: %s", verb, got)
			}
		}
	}
	if got := r.LogValue().String(); got != "root key "+r.file {
		t.Errorf("LogValue %q", got)
	}
}

func TestCheckApart(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	for _, d := range []string{data, filepath.Join(data, "sub"), filepath.Join(dir, "database")} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"alias": data, "into": filepath.Join(data, "sub")} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		root, data string // below dir
		apart      bool
	}{
		{"data.root", "data", true},
		{"database/root", "data", true}, // a prefix of the name is not the folder
		{"data/../data.root", "data", true},
		{"new/root", "data", true},
		{"data.root", "new", true},
		{"data/root", "data", false},
		{"data", "data", false},
		{"data/sub/root", "data", false},
		{"data/new/root", "data", false},
		{"new/../data/root", "data", false},
		{"alias/root", "data", false},
		{"into/root", "data", false},
		{"data/root", "alias", false},
		{"new/root", "new", false},
	} {
		err := CheckApart(filepath.Join(dir, c.root), filepath.Join(dir, c.data))
		if (err == nil) != c.apart {
			t.Errorf("root %s, data %s: %v, want apart %v", c.root, c.data, err, c.apart)
		}
	}
	t.Chdir(dir)
	if err := CheckApart("data/root", "./data"); err == nil || !strings.Contains(err.Error(), "data.root") {
		t.Errorf("relative paths: %v, want an error that proposes data.root", err)
	}
}
