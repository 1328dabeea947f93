package svid

import (
	"os"
	"path/filepath"
	"strconv"
)

// DefaultSocket is the path at which a zone of this host serves the Workload
// API when nobody named another folder: /run/sallyport for root, else the
// user's runtime folder (XDG Base Directory Specification). It is never in a
// folder where another user could be first.
func DefaultSocket() string {
	const name = "workload.sock"
	switch runtime := os.Getenv("XDG_RUNTIME_DIR"); {
	case os.Geteuid() == 0:
		return filepath.Join("/run/sallyport", name)
	case filepath.IsAbs(runtime):
		return filepath.Join(runtime, "sallyport", name)
	}
	return filepath.Join("/run/user", strconv.Itoa(os.Geteuid()), "sallyport", name)
}
