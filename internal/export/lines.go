package export

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"sallyport.dev/internal/journal"
)

// The bounds of the files of JSON lines: FILE, and FILE.1 (the newest) to FILE.8.
const (
	maxFile  = 128 << 20
	oldFiles = 8
)

// linesSink appends records to a file, a JSON object on each line.
//
// A batch is written with one write, and synced before the position moves: what
// counts as exported survives a loss of power. A batch that could not be written
// whole is cut off again. Other programs may move the file away at any time: the
// next batch makes a new one (as logrotate with `create` or `nocreate` wants it).
type linesSink struct {
	path   string
	encode func([]byte, *journal.Entry) []byte
	most   int64 // bytes of a file, but for one batch

	file  *os.File
	size  int64
	batch []byte
	items int
}

// openLines opens the file, so that one which cannot be written is known at the start.
func openLines(path string, encode func([]byte, *journal.Entry) []byte) (*linesSink, error) {
	s := &linesSink{path: path, encode: encode, most: maxFile}
	if err := s.open(); err != nil {
		return nil, fmt.Errorf("export: %w", err)
	}
	return s, nil
}

// shares says whether both write to one file, which they would rotate and cut under
// each other: the map compares names only.
func (s *linesSink) shares(t *linesSink) bool {
	a, err := s.file.Stat()
	b, err2 := t.file.Stat()
	return err == nil && err2 == nil && os.SameFile(a, b)
}

func (s *linesSink) add(e *journal.Entry) bool {
	s.batch = append(s.encode(s.batch, e), '\n')
	s.items++
	return s.items < batchItems && len(s.batch) < batchBytes
}

func (s *linesSink) count() int { return s.items }

func (s *linesSink) clear() { s.batch, s.items = s.batch[:0], 0 }

func (s *linesSink) close() {
	if s.file != nil {
		_ = s.file.Close() // what was written is synced
		s.file = nil
	}
}

// send writes the batch. Whatever fails is tried again: a full disk has room
// again one day.
func (s *linesSink) send(context.Context) outcome {
	if err := s.ready(); err != nil {
		return outcome{err: err}
	}
	_, err := s.file.Write(s.batch)
	if err == nil {
		err = s.file.Sync()
	}
	if err != nil {
		err = errors.Join(err, s.file.Truncate(s.size))
		s.close() // a failed sync may have lost what was written: begin anew
		return outcome{err: fmt.Errorf("write records: %w", err)}
	}
	s.size += int64(len(s.batch))
	return outcome{verdict: taken}
}

// ready makes sure that the file is open, in its place, and not too large.
func (s *linesSink) ready() error {
	if s.file != nil {
		there, err := os.Lstat(s.path)
		ours, err2 := s.file.Stat()
		if err != nil || err2 != nil || !os.SameFile(there, ours) || ours.Size() != s.size {
			s.close() // moved away, or changed by another
		}
	}
	if s.file == nil {
		if err := s.open(); err != nil {
			return err
		}
	}
	if s.size < s.most {
		return nil
	}
	return s.rotate()
}

// open opens the file for appending. A link is not followed: who may write its
// folder could point it elsewhere.
func (s *linesSink) open() error {
	f, err := os.OpenFile(s.path, os.O_RDWR|os.O_APPEND|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0o600) // #nosec G304 -- the operator names it
	if errors.Is(err, syscall.ELOOP) {
		return fmt.Errorf("open records: %s is a link; name the file itself", s.path)
	}
	if err != nil {
		return fmt.Errorf("open records: %w", err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("open records: %s is no regular file", s.path)
	}
	if err == nil {
		s.size, err = whole(f, info.Size())
	}
	if err == nil && s.size == 0 {
		err = syncFolder(filepath.Dir(s.path)) // it may be new
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	s.file = f
	return nil
}

// whole returns the end of the last whole line, and cuts off what a crash has
// left of a line of ours. What is no line of ours gets an end instead.
func whole(f *os.File, size int64) (int64, error) {
	from := max(size-2*maxLine, 0)
	tail := make([]byte, size-from)
	if _, err := f.ReadAt(tail, from); err != nil && err != io.EOF {
		return 0, fmt.Errorf("read records: %w", err)
	}
	at := bytes.LastIndexByte(tail, '\n') + 1
	rest := tail[at:]
	switch {
	case len(rest) == 0:
		return size, nil
	case at == 0 && from > 0, !torn(rest):
		if _, err := f.Write([]byte{'\n'}); err != nil {
			return 0, fmt.Errorf("end a line: %w", err)
		}
		return size + 1, nil
	}
	end := size - int64(len(rest))
	if err := f.Truncate(end); err != nil {
		return 0, fmt.Errorf("cut a torn line: %w", err)
	}
	return end, nil
}

// torn says whether a crash may have left this of a line of ours. What a file
// system had not written reads as zeros.
func torn(rest []byte) bool {
	rest = bytes.TrimRight(rest, "\x00")
	return bytes.HasPrefix(rest, []byte(lineBegins)) || bytes.HasPrefix([]byte(lineBegins), rest)
}

const (
	lineBegins = `{"time":"`
	maxLine    = 256 << 10 // a record of 32 KiB with each byte escaped
)

// rotate makes room for a new file: FILE becomes FILE.1, FILE.1 becomes FILE.2,
// and the oldest one goes.
func (s *linesSink) rotate() error {
	s.close()
	old := func(n int) string { return s.path + "." + strconv.Itoa(n) }
	if err := os.Remove(old(oldFiles)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("rotate records: %w", err)
	}
	for n := oldFiles - 1; n >= 1; n-- {
		if err := os.Rename(old(n), old(n+1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("rotate records: %w", err)
		}
	}
	if err := os.Rename(s.path, old(1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("rotate records: %w", err)
	}
	return s.open()
}

// syncFolder makes names durable.
func syncFolder(dir string) error {
	d, err := os.Open(dir) // #nosec G304 -- the folder of the operator's file
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	return nil
}
