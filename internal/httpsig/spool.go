package httpsig

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"slices"
	"sync/atomic"

	"sallyport.dev/internal/problem"
)

// SpoolMemory is how much of a body is kept in memory, in bytes. Longer ones go
// to a file.
const SpoolMemory = 64 << 10

// spoolMemoryBudget bounds the bodies in memory together.
const spoolMemoryBudget = 256 << 20

// Spool takes whole bodies before anything is done with them: a digest can be
// sent or checked only when the content is known to its end. Files are made in
// one folder, readable by nobody else, and have no name by the time they hold
// anything, so that they end with the process. Safe for concurrent use.
type Spool struct {
	dir          string
	budget       int64
	memoryBudget int64
	used         atomic.Int64 // bytes in files
	memory       atomic.Int64 // bytes in memory
}

// NewSpool returns a spool whose files lie in dir and hold budget bytes
// together; what is in memory has a bound of its own. The folder has to be on a
// disk that may hold what clients send.
func NewSpool(dir string, budget int64) (*Spool, error) {
	if dir == "" || budget < 0 {
		return nil, fmt.Errorf("httpsig: spool in folder %q with %d bytes", dir, budget)
	}
	return &Spool{dir: dir, budget: budget, memoryBudget: spoolMemoryBudget}, nil
}

// Used returns how many bytes lie in files.
func (s *Spool) Used() int64 { return s.used.Load() }

// Take reads r to its end, but no more than limit bytes, and returns the body,
// which the caller closes. Errors: those of r as they are;
// problem.RequestBodyTooLarge beyond limit; problem.ProofUnavailable when there is
// no room.
func (s *Spool) Take(r io.Reader, limit int64) (*Body, error) { return s.TakeSized(r, -1, limit) }

// TakeSized is Take of a body that is said to have size bytes. It is a hint, and
// what nobody has sent yet takes no room for it.
func (s *Spool) TakeSized(r io.Reader, size, limit int64) (*Body, error) {
	b := &Body{spool: s}
	in := &intake{bounded{r: r, left: limit}, b}
	head := make([]byte, 0, 512)
	if size >= 0 && size <= spoolFirst {
		head = make([]byte, 0, size+1) // one more shows the end
	}
	err := error(nil)
	for err == nil && len(head) <= SpoolMemory {
		if len(head) == cap(head) {
			head = slices.Grow(head, min(len(head), SpoolMemory+1-len(head)))
		}
		var n int
		n, err = in.Read(head[len(head):min(cap(head), SpoolMemory+1)])
		head = head[:len(head)+n]
	}
	switch {
	case err != nil && err != io.EOF:
	case len(head) <= SpoolMemory:
		b.memory, b.Sum, b.Size = head, sha256.Sum256(head), int64(len(head))
		b.content.Reset(head)
		b.ReadSeeker = &b.content
		return b, nil
	default:
		err = b.toFile(head, &in.bounded, err)
		b.forget()
	}
	if err != nil {
		_ = b.Close() // nobody has seen it
		return nil, spoolError(err)
	}
	return b, nil
}

// spoolFirst is the most that is taken of the memory before anything has come.
const spoolFirst = 4 << 10

// intake is a body on its way in; it counts what it takes of the memory.
type intake struct {
	bounded
	b *Body
}

func (in *intake) Read(p []byte) (int, error) {
	n, err := in.bounded.Read(p)
	in.b.held += int64(n)
	if s := in.b.spool; s.memory.Add(int64(n)) > s.memoryBudget {
		return 0, problem.New(problem.ProofUnavailable, fmt.Errorf("bodies would fill more than %d bytes of memory", s.memoryBudget))
	}
	return n, err
}

func spoolError(err error) error { return fmt.Errorf("httpsig: spool: %w", err) }

// Body is a body that is there to its end. It reads from its beginning.
type Body struct {
	io.ReadSeeker
	Sum  [sha256.Size]byte // SHA-256 of the content
	Size int64

	memory  []byte       // the content, when file is nil
	content bytes.Reader // of memory
	file    *os.File     // without name
	spool   *Spool
	kept    int64 // bytes taken of the spool's budget
	held    int64 // bytes taken of its memory
	closed  atomic.Bool
}

// Bytes returns the content when it is in memory, nil when it lies in a file.
func (b *Body) Bytes() []byte { return b.memory }

// Close gives back the room. It may be called again.
func (b *Body) Close() error {
	if b.closed.Swap(true) {
		return nil
	}
	b.forget()
	if b.file == nil {
		return nil
	}
	err := b.file.Close()
	b.spool.used.Add(-b.kept)
	return err
}

// Retire is nothing to do: reads do not wait for anybody. It is for who ends
// bodies of any kind (upstream.Body).
func (b *Body) Retire() {}

// forget gives back the memory.
func (b *Body) forget() {
	b.spool.memory.Add(-b.held)
	b.held = 0
}

// toFile writes head and then the rest of r, unless it has ended, to a file
// without name.
func (b *Body) toFile(head []byte, r io.Reader, end error) error {
	f, err := os.CreateTemp(b.spool.dir, "body-*")
	if err != nil {
		return problem.New(problem.ProofUnavailable, err)
	}
	b.file, b.ReadSeeker = f, f
	if err := os.Remove(f.Name()); err != nil {
		return problem.New(problem.ProofUnavailable, err)
	}
	sum := NewDigest()
	for piece := head; ; {
		if err := b.write(piece); err != nil {
			return problem.New(problem.ProofUnavailable, err)
		}
		sum.Write(piece)
		if end == io.EOF {
			break
		}
		var n int
		// Not io.ReadFull: its ErrUnexpectedEOF looks like that of a body cut off.
		if n, end = r.Read(head); end != nil && end != io.EOF {
			return end
		}
		piece = head[:n]
	}
	sum.Sum(b.Sum[:0])
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return problem.New(problem.ProofUnavailable, err)
	}
	return nil
}

func (b *Body) write(piece []byte) error {
	n := int64(len(piece))
	b.kept += n
	if b.spool.used.Add(n) > b.spool.budget {
		return fmt.Errorf("bodies would fill more than %d bytes", b.spool.budget)
	}
	if _, err := b.file.Write(piece); err != nil {
		return err
	}
	b.Size += n
	return nil
}

// bounded refuses to read more than left bytes, where io.LimitReader would
// pretend that they are all.
type bounded struct {
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:max(b.left+1, 1)]
	}
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, problem.New(problem.RequestBodyTooLarge, nil)
	}
	return n, err
}
