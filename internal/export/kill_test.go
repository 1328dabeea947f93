package export

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport.dev/internal/journal"
	"sallyport.dev/zone"
)

// childEnv makes the test binary an exporter that kills itself between the
// receiver's answer and the move of its position. Its value is the receiver, the
// folder and the batch after which it happens.
const childEnv = "SALLYPORT_TEST_EXPORTER"

func exportUntilKilled(job string) {
	var url, dir string
	var after int
	if _, err := fmt.Sscan(job, &url, &dir, &after); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	folder := filepath.Join(dir, "journal")
	j, err := journal.Open(folder, journal.Options{Zone: "shop.example"})
	if err == nil {
		c := Config{
			Exports: []zone.Export{{Kind: zone.ExportOTLP, Target: url}}, Source: j, Reader: journal.NewReader(folder),
			Dir: filepath.Join(dir, "export"), Registerer: prometheus.NewRegistry(), Every: time.Millisecond, pace: quick(),
		}
		batches := make(chan struct{}, after)
		c.acked = func() {
			select {
			case batches <- struct{}{}:
			default:
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
		}
		var x *Export
		if x, err = New(c); err == nil {
			err = x.Run(context.Background())
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// An exporter that is killed after the receiver's answer and before its position
// moves sends those records again, and leaves none out.
func TestKill(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts processes")
	}
	dir := t.TempDir()
	folder := filepath.Join(dir, "journal")
	f := newFake(t)
	j, err := journal.Open(folder, journal.Options{Zone: "shop.example"})
	if err != nil {
		t.Fatal(err)
	}
	write(t, j, 0, 4500)
	id := j.ID()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	// A life that ends after an answer about spans says nothing of log records: then
	// there is one more, which ends with its first answer and so gets no further.
	for round := 0; round < 3 || round < 30 && len(f.order) == f.count(); round++ {
		child := exec.CommandContext(t.Context(), os.Args[0]) // #nosec G204 -- this test itself
		child.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %d", childEnv, f.URL, dir, []int{0, 1, 2, 0}[min(round, 3)]))
		out, err := child.CombinedOutput()
		if err == nil || !strings.Contains(err.Error(), "killed") {
			t.Fatalf("round %d: %v\n%s", round, err, out)
		}
	}
	killed := f.count()
	if killed == 0 || killed == 4500 {
		t.Fatalf("positive control: %d records before the last life, want some", killed)
	}
	j = openJournal(t, folder, 0)
	b := newBench(t, j, folder, f.otlp())
	b.Dir = filepath.Join(dir, "export")
	stop := b.run(t)
	eventually(t, "no lag", func() bool { return f.count() == 4500 })
	stop()
	for i := range 4500 {
		if f.got[fmt.Sprintf("%s-%d", id, i)] == 0 {
			t.Fatalf("record %d never arrived", i)
		}
	}
	if len(f.order) == 4500 {
		t.Error("no record came twice: the kills came at another moment than they should")
	}
	if lost := b.value(t, "sallyport_export_dropped_total"); lost != 0 {
		t.Errorf("%v dropped, want 0", lost)
	}
}
