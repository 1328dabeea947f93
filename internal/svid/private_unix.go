//go:build unix

package svid

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// openPrivate opens a file that its owner alone can read. The checks are made on
// the open file, so that nothing can be exchanged between check and reading.
func openPrivate(path string) (*os.File, error) {
	// O_NONBLOCK: opening a FIFO put in its place must not wait for a writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0) // #nosec G304 -- in the folder that the operator names
	if errors.Is(err, syscall.ELOOP) {
		return nil, fmt.Errorf("%s is a symbolic link: the identity stays in its folder", path)
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil {
		err = checkPrivate(path, info, os.Geteuid())
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func checkPrivate(path string, info fs.FileInfo, uid int) error {
	switch {
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file", path)
	case !ownedBy(info, uid):
		return fmt.Errorf("%s does not belong to uid %d, which this process runs as: chown it, or run as its owner", path, uid)
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("%s is open to other users (mode %04o): if nobody read it, chmod 600; else remove it and run `sallyport join NAME` again", path, info.Mode().Perm())
	}
	return nil
}

// privateFolder refuses a folder in which others can put files of their own.
func privateFolder(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is not a folder", dir)
	case !ownedBy(info, os.Geteuid()):
		return fmt.Errorf("%s does not belong to uid %d, which this process runs as: give it a folder of its own", dir, os.Geteuid())
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("%s can be written by other users (mode %04o): chmod 700", dir, info.Mode().Perm())
	}
	return nil
}

func ownedBy(info fs.FileInfo, uid int) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int64(stat.Uid) == int64(uid)
}
