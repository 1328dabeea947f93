package workload

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"

	"sallyport.dev/internal/unixsock"
)

// Listen makes the socket, with mode 0666: any process may ask, the kernel says
// which it is. The folder is made if it is not there: 0755 for root, so that
// other users reach the socket, else 0700. A folder in which others could put
// a socket of theirs is refused, or the zone's processes would take their
// identities, and their roots, from a stranger. A socket that nobody serves any
// more is removed; a living one is another zone's, and is refused.
func Listen(path string) (*net.UnixListener, error) {
	folder := fs.FileMode(0o700)
	if os.Geteuid() == 0 {
		folder = 0o755
	}
	l, err := unixsock.Listen(context.Background(), path, 0o666, folder) // dials nobody but this host
	if err != nil {
		return nil, fmt.Errorf("workload api: %w", err)
	}
	return l, nil
}
