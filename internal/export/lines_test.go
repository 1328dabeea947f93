package export

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sallyport.dev/internal/journal"
	"sallyport.dev/internal/logs"
	"sallyport.dev/zone"
)

// sequences are the records in files of JSON lines, in their order.
func sequences(t *testing.T, files ...string) (list []uint64) {
	t.Helper()
	for _, file := range files {
		data, err := os.ReadFile(filepath.Clean(file))
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(data) {
			var r struct {
				Sequence    uint64
				Correlation string `json:"correlation_id"`
			}
			if err := json.Unmarshal(line, &r); err != nil || line[len(line)-1] != '\n' || r.Correlation == "" {
				t.Fatalf("%s: line %q: %v", file, line, err)
			}
			list = append(list, r.Sequence)
		}
	}
	return list
}

// inOrder says whether a list counts from 0 to n-1.
func inOrder(list []uint64, n int) bool {
	for i, s := range list {
		if s != uint64(i) {
			return false
		}
	}
	return len(list) == n
}

func jsonl(file string) zone.Export { return zone.Export{Kind: zone.ExportJSONL, Target: file} }

// The file holds the same lines as `sallyport logs --format json`, and only its
// owner may read it.
func TestLines(t *testing.T) {
	t.Parallel()
	dir, file := t.TempDir(), filepath.Join(t.TempDir(), "records.jsonl")
	j := openJournal(t, dir, 0)
	b := newBench(t, j, dir, jsonl(file))
	write(t, j, 0, 1500)
	stop := b.run(t)
	eventually(t, "1500 records", func() bool { return b.value(t, "sallyport_export_records_total", file) == 1500 })
	stop()
	stop = b.run(t)
	write(t, j, 1500, 1600)
	eventually(t, "100 more", func() bool { return b.value(t, "sallyport_export_records_total", file) == 1600 })
	stop()
	if list := sequences(t, file); !inOrder(list, 1600) {
		t.Errorf("%d records, or another order, want 1600", len(list))
	}
	var want []byte
	if err := logs.New(dir).Search(t.Context(), logs.Query{Order: logs.OldestFirst}, func(e *journal.Entry) bool {
		want = append(logs.AppendJSON(want, e), '\n')
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Clean(file)); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the file is not what `logs` shows (%v)", err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
	}
}

// entry is a record as a sink gets it.
func entry(i int) *journal.Entry {
	return &journal.Entry{Record: *record(i), Sequence: uint64(i), Header: &journal.Header{Zone: "shop.example", Stages: []string{"identify", "forward"}}}
}

// put writes one batch of one record.
func put(t *testing.T, s *linesSink, i int) {
	t.Helper()
	s.add(entry(i))
	if o := s.send(t.Context()); o.verdict != taken {
		t.Fatalf("record %d: %+v", i, o)
	}
	s.clear()
}

func sinkAt(t *testing.T, file string) *linesSink {
	t.Helper()
	s, err := openLines(file, logs.AppendJSON)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	return s
}

func TestLinesRotate(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "records.jsonl")
	s := sinkAt(t, file)
	s.most = 1
	for i := range oldFiles + 5 {
		put(t, s, i)
	}
	files, err := filepath.Glob(file + "*")
	if err != nil || len(files) != oldFiles+1 {
		t.Errorf("files %v, %v, want %d", files, err, oldFiles+1)
	}
	if got := sequences(t, file, file+".1", file+".8"); len(got) != 3 || got[0] != 12 || got[1] != 11 || got[2] != 4 {
		t.Errorf("records %v, want 12, 11 and 4", got)
	}
}

// Other programs may move the file away, remove it, cut it, or its folder.
func TestLinesMoved(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "out")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(folder, "records.jsonl")
	s := sinkAt(t, file)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	put(t, s, 0)
	must(os.Rename(file, file+".old"))
	put(t, s, 1)
	if got := sequences(t, file+".old", file); !inOrder(got, 2) {
		t.Errorf("moved: records %v, want 0 and 1", got)
	}
	must(os.Remove(file))
	put(t, s, 2)
	must(os.Truncate(file, 0))
	put(t, s, 3)
	if got := sequences(t, file); len(got) != 1 || got[0] != 3 {
		t.Errorf("cut: records %v, want 3", got)
	}
	must(os.Rename(folder, folder+".away"))
	s.add(entry(4))
	if o := s.send(t.Context()); o.verdict != again || o.err == nil {
		t.Errorf("without a folder: %+v, want another try", o)
	}
	must(os.Rename(folder+".away", folder))
	if o := s.send(t.Context()); o.verdict != taken {
		t.Errorf("with the folder again: %+v", o)
	}
	if got := sequences(t, file); len(got) != 2 || got[1] != 4 {
		t.Errorf("records %v, want 3 and 4", got)
	}
}

// A write that fails leaves nothing behind, and comes again whole.
func TestLinesFailedWrite(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "records.jsonl")
	s := sinkAt(t, file)
	put(t, s, 0)
	s.close()
	readOnly, err := os.Open(filepath.Clean(file)) // every write to it fails
	if err != nil {
		t.Fatal(err)
	}
	s.file = readOnly
	s.add(entry(1))
	if o := s.send(t.Context()); o.verdict != again || o.err == nil {
		t.Errorf("a write that fails: %+v, want another try", o)
	}
	if o := s.send(t.Context()); o.verdict != taken {
		t.Errorf("the next one: %+v", o)
	}
	if got := sequences(t, file); !inOrder(got, 2) {
		t.Errorf("records %v, want 0 and 1", got)
	}
}

// What a crash left of a line goes; a line that is none of ours is left alone.
func TestLinesTorn(t *testing.T) {
	t.Parallel()
	line := string(append(logs.AppendJSON(nil, entry(0)), '\n'))
	for _, c := range []struct{ name, before, want string }{
		{"nothing", "", ""},
		{"whole", line, line},
		{"half a line", line + line[:100], line},
		{"the first bytes of a line", line + line[:3], line},
		{"half a line alone", line[:50], ""},
		{"zeros", line + strings.Repeat("\x00", 5000), line},
		{"another's line without end", line + "# mine", line + "# mine\n"},
		{"another's file without end", "# mine", "# mine\n"},
		{"a long line of another", strings.Repeat("x", 3*maxLine), strings.Repeat("x", 3*maxLine) + "\n"},
	} {
		file := filepath.Join(t.TempDir(), "records.jsonl")
		if err := os.WriteFile(file, []byte(c.before), 0o600); err != nil {
			t.Fatal(err)
		}
		s := sinkAt(t, file)
		put(t, s, 0)
		got, err := os.ReadFile(filepath.Clean(file))
		if err != nil || string(got) != c.want+line {
			t.Errorf("%s: %d bytes, %v, want %d", c.name, len(got), err, len(c.want+line))
		}
	}
}

// Links and what is no file are refused at the start.
func TestLinesElsewhere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	target := filepath.Join(dir, "passwd")
	link, pipe := filepath.Join(dir, "link"), filepath.Join(dir, "pipe")
	if err := errors.Join(os.WriteFile(target, nil, 0o600), os.Symlink(target, link), syscall.Mkfifo(pipe, 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{link, pipe, dir, filepath.Join(dir, "missing", "records"), "/dev/null"} {
		if s, err := openLines(file, logs.AppendJSON); err == nil {
			s.close()
			t.Errorf("%s was opened", file)
		}
	}
	if _, err := openLines(target, logs.AppendJSON); err != nil {
		t.Errorf("positive control: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a folder was made")
	}
}

// TestLinesShared: two names of one file are refused, two files are not.
func TestLinesShared(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := openJournal(t, dir, 0)
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	if err := errors.Join(os.WriteFile(one, nil, 0o600), os.Mkdir(filepath.Join(dir, "x"), 0o700), os.Symlink(dir, filepath.Join(dir, "x", "up"))); err != nil {
		t.Fatal(err)
	}
	for other, want := range map[string]bool{two: true, filepath.Join(dir, "x", "up", "one"): false} {
		b := newBench(t, j, dir, zone.Export{Kind: zone.ExportJSONL, Target: one}, zone.Export{Kind: zone.ExportJSONL, Target: other})
		x, err := New(b.Config)
		if (err == nil) != want {
			t.Errorf("%s and %s: %v, want taken: %t", one, other, err, want)
		}
		if err == nil {
			_ = x.Close()
		}
	}
}
