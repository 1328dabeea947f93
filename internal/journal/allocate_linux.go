package journal

import (
	"errors"
	"os"
	"syscall"
)

// allocate reserves the blocks of a file up to size without changing its
// length (fallocate(2), FALLOC_FL_KEEP_SIZE). A file system that cannot do it
// gives no reserve against others who fill it.
func allocate(f *os.File, size int64) error {
	const keepSize = 1
	for {
		err := syscall.Fallocate(int(f.Fd()), keepSize, 0, size)
		switch {
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EOPNOTSUPP), errors.Is(err, syscall.ENOSYS):
			return nil
		case err != nil:
			return os.NewSyscallError("fallocate", err)
		default:
			return nil
		}
	}
}
