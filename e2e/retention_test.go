package e2e

import (
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// TestRetention: a journal that is full frees its oldest segments; requests are
// served all the while, what is left is found and holds together.
func TestRetention(t *testing.T) {
	t.Parallel()
	const size = 1 << 20
	up := startUpstream(t, nil)
	z := startZone(t, strings.Replace(crashMap, "2MiB", "1MiB", 1), map[string]string{"plain": up.address})
	first := z.do(call{path: "/open"})
	if len(z.of(first.ID)) != 1 {
		t.Fatal("positive control: the first request is on record")
	}
	gone := func() bool { return len(z.of(first.ID)) == 0 }
	var last answer
	for rounds := 0; !gone(); rounds++ {
		if rounds > 40 {
			t.Fatal("nothing was freed")
		}
		var work sync.WaitGroup
		for range 4 {
			client := z.client()
			work.Go(func() {
				for range 200 {
					parent := http.Header{"Traceparent": {"00-" + hexID(16) + "-" + hexID(8) + "-01"}} // kept as a link: room that does not compress
					if got := z.ask(call{path: "/open", header: parent, client: client}); got.Status != 200 {
						t.Errorf("%d %s %v", got.Status, got.reason(), got.Err)
					}
				}
			})
		}
		work.Wait()
		last = z.do(call{path: "/open"})
		if rs := z.of(last.ID); len(rs) != 1 {
			t.Errorf("the newest request has %d records", len(rs))
		}
	}
	t.Logf("the first segment was freed after %d records", len(z.records("--limit", "0")))
	if err := z.end(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	z.verifyJournal(t)
	var bytes int64
	entries, err := os.ReadDir(filepath.Join(z.data, "journal"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			bytes += info.Size()
		}
	}
	if bytes > 2*size {
		t.Errorf("the folder takes %d bytes, the map says %d", bytes, size)
	}
	if len(z.of(last.ID)) != 1 {
		t.Error("offline: the newest request is not found")
	}
}

// hexID is an id of so many random bytes.
func hexID(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}
