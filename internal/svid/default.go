package svid

import (
	"fmt"
	"os"
	"path/filepath"
)

// DefaultSocket is the path at which a zone of this host serves the Workload
// API when nobody named another folder: /run/sallyport for root, else the
// user's runtime folder (XDG Base Directory Specification), else a folder of the
// user's in the one for temporary files.
func DefaultSocket() string {
	const name = "workload.sock"
	switch runtime := os.Getenv("XDG_RUNTIME_DIR"); {
	case os.Geteuid() == 0:
		return filepath.Join("/run/sallyport", name)
	case filepath.IsAbs(runtime):
		return filepath.Join(runtime, "sallyport", name)
	}
	return filepath.Join(os.TempDir(), fmt.Sprintf("sallyport-%d", os.Geteuid()), name)
}
