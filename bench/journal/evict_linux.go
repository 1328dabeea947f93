package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// evict has the kernel forget what it keeps of a file in memory.
func evict(f *os.File) error { return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) }
