package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
)

// built is the folder of the programs, once there is one.
var built atomic.Value

// programs builds the product and the shop's services once for all tests.
var programs = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "sallyport-e2e-")
	if err != nil {
		return "", err
	}
	built.Store(dir)
	cmd := exec.Command("go", "build", "-o", dir+"/", "./cmd/sallyport", "./examples/shop/...")
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return dir, fmt.Errorf("build: %w\n%s", err, out)
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, ok := built.Load().(string); ok {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

// nextPort walks below the range from which the kernel takes ports for outgoing
// connections, so that a port found free stays free until the zone binds it.
var nextPort atomic.Uint32

// freeAddress returns a loopback address that nothing listens on.
func freeAddress(t testing.TB) string {
	t.Helper()
	const first, count = 20000, 12000
	nextPort.CompareAndSwap(0, 1+rand.Uint32N(count)) // another start than tests of another process
	for range count {
		address := fmt.Sprintf("127.0.0.1:%d", first+nextPort.Add(1)%count)
		l, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		_ = l.Close()
		return address
	}
	t.Fatal("no free port")
	return ""
}

// syncBuffer is what a child wrote, readable while it runs.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
