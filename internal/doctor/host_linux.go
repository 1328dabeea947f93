package doctor

import (
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// system fills in what only this kernel's calls tell.
func (h *Host) system() {
	h.Kernel = func() (string, error) {
		var u unix.Utsname
		if err := unix.Uname(&u); err != nil {
			return "", err
		}
		return unix.ByteSliceToString(u.Release[:]), nil
	}
	h.Pidfd = func() error {
		fd, err := unix.PidfdOpen(os.Getpid(), 0)
		if err != nil {
			return err
		}
		return unix.Close(fd)
	}
	h.OpenFiles = func() (uint64, error) {
		var r unix.Rlimit
		err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r)
		return r.Cur, err // Go has raised it to the hard limit, as it does for `serve`
	}
	h.Clock = kernelClock
	h.Disk = statfs
	h.Locked = func(path string) (bool, error) {
		f, err := openRegular(path)
		if err != nil {
			return false, err
		}
		defer func() { _ = f.Close() }()                         // gives the lock back, too
		err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) // #nosec G115 -- a file descriptor is small
		if errors.Is(err, unix.EWOULDBLOCK) {
			return true, nil
		}
		return false, err
	}
}

// kernelClock asks and sets nothing (adjtimex with modes 0 needs no privilege).
func kernelClock() (KernelClock, error) {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	if err != nil {
		return KernelClock{}, err
	}
	return KernelClock{
		Synchronized: state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0,
		MaxError:     time.Duration(t.Maxerror) * time.Microsecond, //nolint:unconvert // 32 bits on some machines
	}, nil
}

func statfs(path string) (Disk, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return Disk{}, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return Disk{}, err
	}
	own, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return Disk{}, errors.ErrUnsupported
	}
	block := uint64(st.Bsize) // #nosec G115 -- positive
	return Disk{
		Device: uint64(own.Dev), Type: int64(st.Type), ReadOnly: st.Flags&unix.ST_RDONLY != 0, //nolint:unconvert // other widths elsewhere
		Size: st.Blocks * block, Free: st.Bavail * block, Inodes: st.Files, Unused: st.Ffree,
	}, nil
}
