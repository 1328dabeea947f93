package app

import (
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// nobody is a uid that no user has.
const nobody = ^uint32(0)

// connUID asks the kernel who is on the other side (SO_PEERCRED).
func connUID(c net.Conn) (uint32, error) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return nobody, fmt.Errorf("%T is no unix connection", c)
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return nobody, err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) // #nosec G115 -- a file descriptor is small
	}); err != nil {
		return nobody, err
	}
	if credErr != nil {
		return nobody, credErr
	}
	return cred.Uid, nil
}
