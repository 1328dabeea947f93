package journal

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// childEnv makes the test binary a writer that is to be killed. Its value is
// the number of the round, the size of the journal and the folder.
const childEnv = "SALLYPORT_TEST_JOURNAL_WRITER"

func TestMain(m *testing.M) {
	if job := os.Getenv(childEnv); job != "" {
		writeUntilKilled(job)
	}
	os.Exit(m.Run())
}

// ofRound is the first record of a round: no two lives write the same one.
func ofRound(n int) int { return n << 24 }

// writeUntilKilled writes from several goroutines and says on its standard
// output what was acknowledged.
func writeUntilKilled(job string) {
	fields := strings.SplitN(job, " ", 3)
	round, err := strconv.Atoi(fields[0])
	if err == nil {
		var size int64
		size, err = strconv.ParseInt(fields[1], 10, 64)
		o := options()
		o.Size, o.SegmentSize = size, 64<<10
		var j *Journal
		if err == nil {
			j, err = Open(fields[2], o)
		}
		if err == nil {
			writeForever(j, ofRound(round))
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func writeForever(j *Journal, from int) {
	var mu sync.Mutex // one line, one write
	for w := range 4 {
		go func() {
			for i := from + w; ; i += 4 {
				put := j.Append
				if i%97 == 0 {
					put = j.AppendSync
				}
				if err := put(record(i)); err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				mu.Lock()
				fmt.Println(correlation(i))
				mu.Unlock()
			}
		}()
	}
	select {}
}

// life runs a writer, kills it (SIGKILL) at a random moment and returns what it acknowledged.
func life(t *testing.T, job string) (acknowledged []string) {
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), binary)
	child.Env = append(os.Environ(), childEnv+"="+job)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for n := 1 + rand.IntN(1500); n > 0 && lines.Scan(); n-- {
		acknowledged = append(acknowledged, lines.Text())
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() { // said before the kill arrived; the last line may be half a line
		if len(lines.Text()) == len(correlation(0)) {
			acknowledged = append(acknowledged, lines.Text())
		}
	}
	_ = child.Wait() // killed
	if len(acknowledged) == 0 {
		t.Fatal("the writer acknowledged nothing")
	}
	return acknowledged
}

// A writer is killed again and again at whatever it is doing: writing, syncing,
// rotating, sealing, and in the small journal freeing. What it has acknowledged
// is there, once, and the chain holds over all of its lives.
func TestKill(t *testing.T) {
	for _, c := range []struct {
		name   string
		size   int64
		rounds int
	}{
		{"nothing is freed", 64 << 20, 7},
		{"older segments are freed", 1 << 20, 6}, // the last life fits
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "journal")
			o := options()
			o.Size, o.SegmentSize = c.size, 64<<10
			if c.size == 1<<20 {
				j := open(t, dir, o)
				write(t, j, 0, 12000) // full: each rotation frees
				closeJournal(t, j)
			}
			var expected []string
			for round := range c.rounds {
				said := life(t, fmt.Sprintf("%d %d %s", round+1, c.size, dir))
				if c.size > 1<<20 || round == c.rounds-1 {
					expected = append(expected, said...)
				}
			}
			closeJournal(t, open(t, dir, o))
			report := verify(t, dir)
			found := map[string]int{}
			for _, e := range entries(t, dir) {
				found[e.CorrelationID]++
			}
			for _, id := range expected {
				if found[id] != 1 {
					t.Errorf("acknowledged record %s is there %d times", id, found[id])
				}
			}
			if freed := report.Begin.Sequence > 0; freed != (c.size == 1<<20) {
				t.Errorf("segments were freed: %v", freed)
			}
			t.Logf("%d acknowledged records of %d lives, %d segments", len(expected), c.rounds, report.Segments)
		})
	}
}
