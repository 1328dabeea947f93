//go:build unix

package upstream

import "syscall"

// peekFD tries to read from the non-blocking socket of an idle connection. A
// byte that it takes is not missed: the connection is then closed.
func (w *wire) peekFD(fd uintptr) bool {
	var b [1]byte
	_, err := syscall.Read(int(fd), b[:])
	w.seen = err != syscall.EAGAIN && err != syscall.EWOULDBLOCK
	return true // never wait for readiness
}
