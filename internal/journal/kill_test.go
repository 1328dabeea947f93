package journal

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
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

// After a kill the end of the live segment is torn or spoilt behind what was
// synced, as a crash of the whole machine may leave it. Opening cuts it, says so,
// and keeps everything before it; the chain then holds over all lives.
func TestKillWithATornTail(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	o := options()
	o.Size, o.SegmentSize = 64<<20, 64<<10
	var synced uint64
	said := 0
	for round := range 5 {
		life(t, fmt.Sprintf("%d %d %s", round+1, o.Size, dir))
		head, err := readHead(dir, headFile)
		if err != nil {
			t.Fatal(err)
		}
		if head.Sequence < synced {
			t.Fatalf("round %d: the head went back from %d to %d", round, synced, head.Sequence)
		}
		synced = head.Sequence
		before, cut := spoilTail(t, dir, head)
		j := open(t, dir, o)
		if j.Head().Sequence < synced {
			t.Errorf("round %d: %d records were synced, %d are left", round, synced, j.Head().Sequence)
		}
		closeJournal(t, j)
		verify(t, dir)
		after := entries(t, dir)
		for i, id := range before {
			if after[i].CorrelationID != id {
				t.Fatalf("round %d: record %d is %s, want %s", round, i, after[i].CorrelationID, id)
			}
		}
		mark := after[len(after)-1]
		if isMark := mark.Kind == KindMark && strings.HasPrefix(mark.Tags[0], MarkTorn+":"); isMark != cut || len(after) > len(before)+1 {
			t.Errorf("round %d: cut %v, and %d records of %d are left, the last one %+v", round, cut, len(after), len(before), mark)
		}
		if cut {
			said++
		}
	}
	if said == 0 {
		t.Error("no tail was cut: this test tests nothing")
	}
}

// spoilTail does something to the end of the live segment, behind what was
// synced, and returns the correlation ids of what must be left, and whether
// something must be cut.
func spoilTail(t *testing.T, dir string, head Head) (left []string, cut bool) {
	t.Helper()
	list := segments(t, dir)
	name := list[len(list)-1].name()
	b := readFile(t, dir, name)
	_, raw, err := readHeader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	in := newScanner(bytes.NewReader(b), int64(len(raw)))
	var ends []int // of frames that were not synced
	var buf Buffer
	at := list[len(list)-1].firstRecord(t, dir)
	for {
		if at >= head.Sequence {
			ends = append(ends, int(in.off))
		}
		payload, _, err := in.next()
		if err != nil {
			break
		}
		buf.reset(nil, 0)
		if err := buf.add(payload); err != nil {
			t.Fatal(err)
		}
		at += uint64(buf.Len())
	}
	end := ends[rand.IntN(len(ends))] // after this frame
	switch rest := b[end:]; {
	case len(rest) == 0 || rand.IntN(4) == 0:
		b = append(b[:end:end], make([]byte, 1+rand.IntN(5000))...) // zeros
	case rand.IntN(2) == 0:
		b = b[:end+rand.IntN(len(rest))]
	default:
		rest[rand.IntN(min(len(rest), 40))] ^= 1 << rand.IntN(8)
	}
	writeFile(t, dir, name, b)
	for _, e := range entries(t, dir) {
		left = append(left, e.CorrelationID)
	}
	in = newScanner(bytes.NewReader(b), int64(len(raw)))
	for {
		if _, _, err := in.next(); err != nil {
			return left, err != io.EOF
		}
	}
}

func (i Info) firstRecord(t *testing.T, dir string) uint64 {
	t.Helper()
	s, err := openSegment(dir, i, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	return s.Header.First
}
