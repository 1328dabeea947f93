package journal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// disk is what a journal asks of a file system. The one in use is folder; tests
// put one in its place that is full, fails, or forgets what was not synced.
type disk interface {
	create(name string) (file, error) // must not be there yet
	open(name string) (file, error)   // for reading and writing
	rename(from, to string) error     // replaces
	remove(name string) error         // fine when it is not there
	sync() error                      // makes names durable
}

type file interface {
	io.ReaderAt
	io.WriterAt
	size() (int64, error)
	allocate(size int64) error // reserves room without changing the size; may do nothing
	Truncate(size int64) error
	Sync() error
	Close() error
}

// folder is a disk in a folder of the operating system.
type folder string

func (d folder) create(name string) (file, error) {
	f, err := os.OpenFile(filepath.Join(string(d), name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600) // #nosec G304 -- a name of ours in the operator's folder
	return osFile{f}, err
}

func (d folder) open(name string) (file, error) {
	f, err := os.OpenFile(filepath.Join(string(d), name), os.O_RDWR, 0) // #nosec G304 -- likewise
	return osFile{f}, err
}

func (d folder) rename(from, to string) error {
	return os.Rename(filepath.Join(string(d), from), filepath.Join(string(d), to))
}

func (d folder) remove(name string) error {
	err := os.Remove(filepath.Join(string(d), name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (d folder) sync() error {
	f, err := os.Open(string(d))
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

type osFile struct{ *os.File }

func (f osFile) size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f osFile) allocate(size int64) error { return allocate(f.File, size) }

// readOnly opens a file for whoever only reads, beside a writer or without one.
func readOnly(dir, name string) (*os.File, error) {
	return os.Open(filepath.Join(dir, name)) // #nosec G304 -- a name of ours in the operator's folder
}

// replace writes a small file whole: under another name, synced, then renamed.
func replace(d disk, name string, data []byte) error {
	temp := name + tempSuffix
	if err := d.remove(temp); err != nil {
		return fmt.Errorf("journal: replace %s: %w", name, err)
	}
	f, err := d.create(temp)
	if err != nil {
		return fmt.Errorf("journal: replace %s: %w", name, err)
	}
	_, err = f.WriteAt(data, 0)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = errors.Join(d.rename(temp, name), d.sync())
	}
	if err != nil {
		return fmt.Errorf("journal: replace %s: %w", name, err)
	}
	return nil
}
