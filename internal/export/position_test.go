package export

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func openFile(t *testing.T, name string) *position {
	t.Helper()
	f, err := os.OpenFile(filepath.Clean(name), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	return &position{file: f}
}

func TestPosition(t *testing.T) {
	t.Parallel()
	const journal = "00112233445566778899aabbccddeeff"
	dir := t.TempDir()
	p, err := openPosition(dir, "logs", "https://otlp.example")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.load(journal); !errors.Is(err, errNoPosition) {
		t.Errorf("a new position: %v, want none", err)
	}
	for _, n := range []uint64{0, 1, 99, 1 << 62, 3} {
		if err := p.save(journal, n); err != nil {
			t.Fatal(err)
		}
		if got, err := p.load(journal); got != n || err != nil {
			t.Errorf("load = %d, %v, want %d", got, err, n)
		}
	}
	if _, err := p.load("ffeeddccbbaa99887766554433221100"); !errors.Is(err, errNoPosition) {
		t.Errorf("of another journal: %v, want none", err)
	}
	for _, signal := range []string{"logs", "traces"} {
		for _, target := range []string{"https://otlp.example", "https://other.example"} {
			q, err := openPosition(dir, signal, target)
			if err != nil {
				t.Fatal(err)
			}
			_, err = q.load(journal)
			if same := signal == "logs" && target == "https://otlp.example"; same != (err == nil) {
				t.Errorf("%s to %s: %v, want the position: %v", signal, target, err, same)
			}
			q.close()
		}
	}
	whole := positionText(journal, 3)
	if len(whole) != positionLine {
		t.Errorf("a line of %d bytes, want %d", len(whole), positionLine)
	}
	for i := range whole {
		bad := append([]byte(nil), whole...)
		bad[i] ^= 1
		if err := os.WriteFile(p.file.Name(), bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if at, err := p.load(journal); err == nil {
			t.Errorf("byte %d changed: %d, want an error", i, at)
		}
	}
	for _, bad := range []string{" ", string(whole[:50]), string(whole) + "x"} {
		if err := os.WriteFile(p.file.Name(), []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if at, err := p.load(journal); err == nil {
			t.Errorf("%q: %d, want an error", bad, at)
		}
		if err := p.save(journal, 7); err != nil {
			t.Fatal(err)
		}
		if at, err := p.load(journal); at != 7 || err != nil {
			t.Errorf("%q, and saved over: %d, %v, want 7: else each start sends the whole journal", bad, at, err)
		}
	}
	p.close()
	if info, err := os.Stat(p.file.Name()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
	}
}
