package doctor

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
)

// listening names the process that listens on an address, by /proc/net/tcp and
// the descriptors of the processes that this user may look at. Empty: not found.
func (e *examination) listening(address string) string {
	if e.Host.ReadFile == nil || e.Host.ReadDir == nil || e.Host.Readlink == nil {
		return ""
	}
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		b, err := e.Host.ReadFile(file)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) {
			s, ok := parseSocket(line)
			if !ok || !s.takes(address) {
				continue
			}
			if who := e.process(s.inode); who != "" {
				return who
			}
			return fmt.Sprintf("a process of uid %d", s.uid)
		}
	}
	return ""
}

// socket is one listening socket of /proc/net/tcp.
type socket struct {
	at    netip.AddrPort
	uid   uint64
	inode string
}

// parseSocket reads a line of /proc/net/tcp or tcp6 (proc_net(5)): number, local
// address, remote address, state, three more, uid, timeout, inode.
func parseSocket(line string) (socket, bool) {
	f := strings.Fields(line)
	if len(f) < 10 || f[3] != "0A" { // listening
		return socket{}, false
	}
	text, portText, ok := strings.Cut(f[1], ":")
	raw, err := hex.DecodeString(text)
	port, perr := strconv.ParseUint(portText, 16, 16)
	uid, uerr := strconv.ParseUint(f[7], 10, 32)
	if !ok || err != nil || perr != nil || uerr != nil || len(raw) != 4 && len(raw) != 16 {
		return socket{}, false
	}
	for i := 0; i+4 <= len(raw); i += 4 { // words of the host, which are little-endian where we run
		raw[i], raw[i+1], raw[i+2], raw[i+3] = raw[i+3], raw[i+2], raw[i+1], raw[i]
	}
	a, _ := netip.AddrFromSlice(raw)
	return socket{at: netip.AddrPortFrom(a.Unmap(), uint16(port)), uid: uid, inode: f[9]}, true
}

// takes says whether the socket is in the way of an address: the same port, and
// one address or all.
func (s socket) takes(address string) bool {
	host, port, err := net.SplitHostPort(address)
	if err != nil || port != strconv.Itoa(int(s.at.Port())) {
		return false
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	a, err := netip.ParseAddr(host)
	return host == "" || err != nil || a.IsUnspecified() || s.at.Addr().IsUnspecified() || a.Unmap() == s.at.Addr()
}

const (
	mostProcesses   = 1 << 16
	mostDescriptors = 1 << 20 // of all processes together
)

// process names the process that has a socket open. Empty: it is another user's.
func (e *examination) process(inode string) string {
	all, err := e.Host.ReadDir("/proc")
	if err != nil {
		return ""
	}
	want, looked := "socket:["+inode+"]", 0
	for i, pid := range all {
		if _, err := strconv.Atoi(pid); err != nil || i > mostProcesses {
			continue
		}
		dir := filepath.Join("/proc", pid, "fd")
		fds, err := e.Host.ReadDir(dir)
		if err != nil {
			continue // another user's, or gone
		}
		for _, fd := range fds {
			if looked++; looked > mostDescriptors {
				return ""
			}
			if to, err := e.Host.Readlink(filepath.Join(dir, fd)); err == nil && to == want {
				comm, _ := e.Host.ReadFile(filepath.Join("/proc", pid, "comm")) // without it the pid has to do
				return strings.TrimSpace(fmt.Sprintf("pid %s %s", pid, strings.TrimSpace(string(comm))))
			}
		}
	}
	return ""
}
