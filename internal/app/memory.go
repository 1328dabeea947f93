package app

import (
	"io"
	"log"
	"os"
	"runtime/debug"

	"google.golang.org/grpc/grpclog"
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

// quietLibraries keeps what libraries print by themselves off standard error:
// net/http quotes the bytes of services there, grpc writes lines of its own.
func quietLibraries() {
	log.SetOutput(io.Discard)
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard))
}
