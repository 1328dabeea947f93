package app

import (
	"os"
	"runtime/debug"
)

const (
	gcPercent   = 800       // the live heap is small and turns over fast: at the default it is collected many times a second
	memoryLimit = 512 << 20 // bytes; towards it the collector works as hard as it must
)

// boundMemory trades memory that is cheap for CPU that is not, within a limit
// (docs/decisions/0007). The environment of the Go runtime wins.
func boundMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
}
