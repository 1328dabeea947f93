package app

import (
	"io/fs"
	"syscall"
)

// inode tells a file from another one that was moved to its place.
func inode(info fs.FileInfo) uint64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Ino
	}
	return 0
}
