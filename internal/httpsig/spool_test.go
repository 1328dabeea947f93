package httpsig

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"sallyport.dev/internal/problem"
)

func newSpool(t testing.TB, budget int64) (*Spool, string) {
	t.Helper()
	dir := t.TempDir()
	s, err := NewSpool(dir, budget)
	if err != nil {
		t.Fatal(err)
	}
	return s, dir
}

func blob(size int) []byte {
	b := make([]byte, size)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(b)
	return b
}

func TestSpool(t *testing.T) {
	for _, size := range []int{0, 1, SpoolMemory - 1, SpoolMemory, SpoolMemory + 1, 3*SpoolMemory + 5} {
		for name, wrap := range map[string]func(io.Reader) io.Reader{
			"whole": func(r io.Reader) io.Reader { return r }, "halves": iotest.HalfReader, "end with data": iotest.DataErrReader,
		} {
			s, dir := newSpool(t, 1<<20)
			data := blob(size)
			b, err := s.Take(wrap(bytes.NewReader(data)), int64(size))
			if err != nil {
				t.Fatalf("%d bytes, %s: %v", size, name, err)
			}
			inFile := size > SpoolMemory
			if b.Size != int64(size) || b.Sum != sha256.Sum256(data) || (b.Bytes() == nil) != inFile || (s.Used() > 0) != inFile {
				t.Errorf("%d bytes, %s: size %d, used %d, in memory %v", size, name, b.Size, s.Used(), b.Bytes() != nil)
			}
			for range 2 { // it can be read again
				got, err := io.ReadAll(b)
				if err != nil || !bytes.Equal(got, data) {
					t.Errorf("%d bytes, %s: read %d, %v", size, name, len(got), err)
				}
				if _, err := b.Seek(0, io.SeekStart); err != nil {
					t.Error(err)
				}
			}
			left, err := os.ReadDir(dir)
			if err != nil || len(left) != 0 {
				t.Errorf("the folder holds %v, %v", left, err)
			}
			for range 2 {
				if err := b.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			}
			if s.Used() != 0 {
				t.Errorf("%d bytes are still taken", s.Used())
			}
		}
	}
}

func TestSpoolRefuses(t *testing.T) {
	reset := problem.New(problem.RequestTimeout, errors.New("body rate"))
	large := blob(2 * SpoolMemory)
	for _, c := range []struct {
		name   string
		r      io.Reader
		limit  int64
		budget int64
		want   problem.Reason
	}{
		{"as much as may be", bytes.NewReader(large), int64(len(large)), 1 << 20, problem.OK},
		{"one byte more", bytes.NewReader(large), int64(len(large)) - 1, 1 << 20, problem.RequestBodyTooLarge},
		{"more than a small limit", strings.NewReader("abc"), 2, 1 << 20, problem.RequestBodyTooLarge},
		{"anything at a limit of nothing", strings.NewReader("a"), 0, 1 << 20, problem.RequestBodyTooLarge},
		{"nothing at a limit of nothing", strings.NewReader(""), 0, 1 << 20, problem.OK},
		{"no room", bytes.NewReader(large), 1 << 20, int64(len(large)) - 1, problem.ProofUnavailable},
		{"just room", bytes.NewReader(large), 1 << 20, int64(len(large)), problem.OK},
		{"broken early", iotest.ErrReader(reset), 1 << 20, 1 << 20, problem.RequestTimeout},
		{"broken late", io.MultiReader(bytes.NewReader(large), iotest.ErrReader(reset)), 1 << 20, 1 << 20, problem.RequestTimeout},
		{"cut off early", iotest.ErrReader(io.ErrUnexpectedEOF), 1 << 20, 1 << 20, problem.InternalError},
		{"cut off late", io.MultiReader(bytes.NewReader(large), iotest.ErrReader(io.ErrUnexpectedEOF)), 1 << 20, 1 << 20, problem.InternalError},
	} {
		s, dir := newSpool(t, c.budget)
		b, err := s.Take(c.r, c.limit)
		wantReason(t, c.name, err, c.want)
		if strings.HasPrefix(c.name, "cut off") && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v", c.name, err)
		}
		if (b == nil) != (err != nil) {
			t.Errorf("%s: body %v with %v", c.name, b, err)
		}
		if err == nil {
			_ = b.Close()
		}
		if left, _ := os.ReadDir(dir); s.Used() != 0 || len(left) != 0 {
			t.Errorf("%s: %d bytes are taken, the folder holds %v", c.name, s.Used(), left)
		}
	}
	if _, err := NewSpool("", 1); err == nil {
		t.Error("a spool without folder")
	}
	gone, err := NewSpool(t.TempDir()+"/none", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	_, err = gone.Take(bytes.NewReader(large), 1<<20)
	wantReason(t, "a folder that is not there", err, problem.ProofUnavailable)
}

// What waits in memory is bounded as well: senders of small bodies that never end
// do not fill it.
func TestSpoolMemoryIsBounded(t *testing.T) {
	s, _ := newSpool(t, 1<<20)
	s.memoryBudget = 3*SpoolMemory + 1
	take := func(size int) (*Body, error) { return s.Take(bytes.NewReader(blob(size)), 1<<20) }
	var kept []*Body
	for range 3 {
		b, err := take(SpoolMemory)
		if err != nil {
			t.Fatal(err)
		}
		kept = append(kept, b)
	}
	_, err := take(2)
	wantReason(t, "beside them", err, problem.ProofUnavailable)
	_ = kept[0].Close()
	_ = kept[0].Close() // gives back once
	_, err = s.Take(iotest.TimeoutReader(bytes.NewReader(blob(SpoolMemory))), 1<<20)
	if err == nil {
		t.Error("a body that breaks off")
	}
	large, err := take(SpoolMemory + 1)
	if err != nil {
		t.Errorf("one that goes on to a file: %v", err)
	}
	_, err = s.Take(bytes.NewReader(blob(SpoolMemory)), 1)
	wantReason(t, "too large", err, problem.RequestBodyTooLarge)
	last, err := take(SpoolMemory)
	if err != nil {
		t.Errorf("after one was closed: %v", err)
	}
	for _, b := range append(kept, large, last) {
		_ = b.Close()
	}
	if n := s.memory.Load(); n != 0 {
		t.Errorf("%d bytes of memory are still taken", n)
	}
}

// One body's room is not another's.
func TestSpoolBudgetIsShared(t *testing.T) {
	large := blob(2 * SpoolMemory)
	s, _ := newSpool(t, int64(3*SpoolMemory))
	first, err := s.Take(bytes.NewReader(large), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Take(bytes.NewReader(large), 1<<20)
	wantReason(t, "beside the first", err, problem.ProofUnavailable)
	if _, err := s.Take(strings.NewReader("small"), 1<<20); err != nil {
		t.Errorf("a small one: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := s.Take(bytes.NewReader(large), 1<<20)
	if err != nil {
		t.Fatalf("after the first: %v", err)
	}
	_ = again.Close()
}
