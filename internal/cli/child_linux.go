package cli

import "syscall"

// childOf makes the kernel end a child when this process dies, and keeps the
// terminal's ctrl-C for this process alone, which then ends its children in order.
func childOf() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
}
