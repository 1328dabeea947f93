package cli

import "syscall"

// childOf keeps the terminal's ctrl-C for this process alone, which then ends
// its children in order.
func childOf() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
