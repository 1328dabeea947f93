//go:build !linux

package workload

import (
	"errors"
	"fmt"
	"net"
	"runtime"
)

var (
	errGone    = errors.New("the process that opened the connection has ended")
	errChanged = errors.New("the process is another user or another program than when it connected")
)

// supported refuses: without a handle of the peer's process a pid is a guess.
func supported() error {
	return fmt.Errorf("processes can be attested on Linux only, this is %s; join with a token instead: %w", runtime.GOOS, errors.ErrUnsupported)
}

// process is never made.
type process struct {
	pid int
	uid uint32
}

func identify(*net.UnixConn) (*process, error) { return nil, supported() }
func (*process) attest() (facts, error)        { return facts{}, supported() }
func (*process) alive() error                  { return supported() }
func (*process) wait()                         {}
func (*process) close()                        {}
