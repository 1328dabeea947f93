package export

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"sallyport.dev/internal/journal"
)

// Each record arrives, in order and once while nothing fails, in bounded batches.
func TestRecordsArriveInOrder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, f := openJournal(t, dir, 0), newFake(t)
	b := newBench(t, j, dir, f.otlp())
	write(t, j, 0, 2500)
	stop := b.run(t)
	eventually(t, "2500 records", func() bool { return f.count() == 2500 })
	write(t, j, 2500, 2600)
	eventually(t, "100 more", func() bool { return f.count() == 2600 })
	stop()
	want := make([]string, 2600)
	for i := range want {
		want[i] = fmt.Sprintf("%s-%d", j.ID(), i)
	}
	if !slices.Equal(f.order, want) {
		t.Errorf("%d records in another order, or twice", len(f.order))
	}
	if len(f.spans) != 2600 {
		t.Errorf("%d spans, want 2600", len(f.spans))
	}
	if f.largest > batchBytes+64<<10 {
		t.Errorf("a message of %d bytes, want at most %d and a record", f.largest, batchBytes)
	}
	for signal, want := range map[string]float64{signalLogs: 2600, signalTraces: 2600} {
		if got := b.value(t, "sallyport_export_records_total", f.URL, signal); got != want {
			t.Errorf("%s: counted %v, want %v", signal, got, want)
		}
	}
	if lag, lost := b.value(t, "sallyport_export_lag_records"), b.value(t, "sallyport_export_dropped_total"); lag != 0 || lost != 0 {
		t.Errorf("lag %v, dropped %v, want 0", lag, lost)
	}
}

// What was written up to the end is sent at the end, though it was not synced yet.
func TestTheEndIsSent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, f := openJournal(t, dir, 0), newFake(t)
	b := newBench(t, j, dir, f.otlp())
	stop := b.run(t)
	for i := range 50 {
		if err := j.Append(record(i)); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	if n := f.count(); n != 50 {
		t.Errorf("%d records at the end, want 50", n)
	}
}

// An exporter that is stopped in the middle goes on where it was.
func TestRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, f := openJournal(t, dir, 0), newFake(t)
	b := newBench(t, j, dir, f.otlp())
	write(t, j, 0, 3000)
	var batches atomic.Int32
	f.says(func(w http.ResponseWriter, signal string) { // the second batch is the last for now
		if signal == signalLogs && batches.Add(1) > 2 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	stop := b.run(t)
	eventually(t, "a refused attempt", func() bool { return batches.Load() > 2 })
	stop()
	before := f.count()
	if before == 0 || before >= 3000 {
		t.Fatalf("positive control: %d records before the restart", before)
	}
	f.says(nil)
	stop = b.run(t)
	eventually(t, "all records", func() bool { return f.count() == 3000 })
	stop()
	if len(f.order) != 3000 {
		t.Errorf("%d records arrived, want each of 3000 once", len(f.order))
	}
}

// While the receiver is away nothing is lost; then all of it arrives.
func TestAnswersThatAreTriedAgain(t *testing.T) {
	t.Parallel()
	page := func(w http.ResponseWriter, _ string) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write([]byte("<html>please log in</html>"))
	}
	cut := func(w http.ResponseWriter, _ string) { // the answer breaks off: nobody knows
		w.Header().Set("Content-Length", "100")
		w.WriteHeader(http.StatusOK)
		panic(http.ErrAbortHandler)
	}
	busy := func(w http.ResponseWriter, _ string) {
		w.Header().Set("Retry-After", "1000000")
		w.WriteHeader(http.StatusTooManyRequests)
	}
	elsewhere := newFake(t)
	redirect := func(w http.ResponseWriter, signal string) { // what it leads to is not the operator's word
		w.Header().Set("Location", elsewhere.URL+"/v1/"+signal)
		w.WriteHeader(http.StatusPermanentRedirect)
	}
	for _, c := range []struct {
		name   string
		answer func(http.ResponseWriter, string)
	}{
		{"429 with a long Retry-After", busy}, {"502", status(502)}, {"503", status(503)}, {"504", status(504)},
		{"a web page", page}, {"an answer that breaks off", cut}, {"a redirect", redirect},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			j, f := openJournal(t, dir, 0), newFake(t)
			b := newBench(t, j, dir, f.otlp())
			f.says(c.answer)
			write(t, j, 0, 20)
			stop := b.run(t)
			eventually(t, "three attempts", func() bool {
				return b.value(t, "sallyport_export_failures_total", signalLogs) >= 3
			})
			if lag := b.value(t, "sallyport_export_lag_records", signalLogs); lag != 20 {
				t.Errorf("lag %v, want 20", lag)
			}
			if n := b.value(t, "sallyport_export_records_total"); n != 0 {
				t.Errorf("%v counted as taken, want 0", n)
			}
			f.says(nil)
			// A web page counts as taken by the fake, and not by us: the rest is new.
			eventually(t, "no lag", func() bool { return b.value(t, "sallyport_export_lag_records") == 0 })
			stop()
			if f.count() != 20 || b.value(t, "sallyport_export_dropped_total") != 0 {
				t.Errorf("%d records, %v dropped, want 20 and 0", f.count(), b.value(t, "sallyport_export_dropped_total"))
			}
			if n := strings.Count(b.log.String(), "not sent"); n < 1 || n > 2 { // at most one for logs and for traces
				t.Errorf("%d lines tell of failures, want one for each signal that failed:\n%s", n, b.log)
			}
		})
	}
	if n := elsewhere.requests(); n != 0 {
		t.Errorf("a redirect was followed %d times", n)
	}
}

// What a receiver refuses for good is dropped, counted and told; the rest goes on.
func TestAnswersThatAreFinal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		answer func(http.ResponseWriter, string)
	}{
		{"400", status(400)}, {"401", status(401)}, {"404", status(404)}, {"413", status(413)}, {"500", status(500)}, {"501", status(501)},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			j, f := openJournal(t, dir, 0), newFake(t)
			b := newBench(t, j, dir, f.otlp())
			f.says(c.answer)
			write(t, j, 0, 20)
			stop := b.run(t)
			eventually(t, "drops", func() bool { return b.value(t, "sallyport_export_dropped_total", lostRefused) == 40 })
			f.says(nil)
			write(t, j, 20, 30)
			eventually(t, "ten records", func() bool { return f.count() == 10 })
			stop()
			if !strings.Contains(b.log.String(), "refused records for good; they are dropped\" export="+f.URL+" signal=logs records=20") {
				t.Errorf("no line says what was dropped:\n%s", b.log)
			}
		})
	}
}

// Partial success: what the receiver left out is counted, and not sent again.
func TestPartialSuccess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, f := openJournal(t, dir, 0), newFake(t)
	b := newBench(t, j, dir, f.otlp())
	f.says(func(w http.ResponseWriter, _ string) {
		w.Header().Set("Content-Type", mediaProtobuf)
		_, _ = w.Write(partial(7, "too old"))
	})
	write(t, j, 0, 20)
	stop := b.run(t)
	eventually(t, "no lag", func() bool { return b.value(t, "sallyport_export_lag_records") == 0 && f.count() == 20 })
	stop()
	if got, lost := b.value(t, "sallyport_export_records_total", signalLogs), b.value(t, "sallyport_export_dropped_total", signalLogs, lostRejected); got != 13 || lost != 7 {
		t.Errorf("%v taken and %v rejected, want 13 and 7", got, lost)
	}
	if !strings.Contains(b.log.String(), "too old") {
		t.Errorf("the log does not tell what the receiver said:\n%s", b.log)
	}
}

// When retention frees what was not sent, the number that is told is the number
// that is missing, and what is left arrives.
func TestRetentionOvertakes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, f := openJournal(t, dir, 1<<20), newFake(t)
	b := newBench(t, j, dir, f.otlp())
	f.says(status(http.StatusServiceUnavailable))
	write(t, j, 0, 10)
	stop := b.run(t)
	eventually(t, "an attempt", func() bool { return b.value(t, "sallyport_export_failures_total", signalLogs) > 0 })
	const all = 4000
	writeEach(t, j, large, 10, all)
	eventually(t, "positive control: retention has freed 1000 records", func() bool {
		first, err := oldest(dir) // an error: it was freed under our hands
		return err == nil && first >= 1000
	})
	eventually(t, "a drop that is told while the receiver is away", func() bool {
		return b.value(t, "sallyport_export_dropped_total", signalLogs, lostRetention) > 0
	})
	f.says(nil)
	eventually(t, "no lag", func() bool { return b.value(t, "sallyport_export_lag_records") == 0 })
	stop()
	lost := int(b.value(t, "sallyport_export_dropped_total", signalLogs, lostRetention))
	if got := f.count(); got+lost != all || lost < 1000 {
		t.Errorf("%d records arrived and %d are told as dropped, together %d, want %d", got, lost, got+lost, all)
	}
	if n := len(f.order); n != f.count() {
		t.Errorf("%d records came twice", n-f.count())
	}
	if !strings.Contains(b.log.String(), "retention freed records before they were sent") {
		t.Errorf("no line tells of it:\n%s", b.log)
	}
}

// oldest is the sequence number of the first record that the journal still holds.
func oldest(dir string) (uint64, error) {
	r := journal.NewReader(dir)
	list, err := r.Segments()
	if err != nil {
		return 0, err
	}
	s, err := r.Open(list[0], nil)
	if err != nil {
		return 0, err
	}
	defer func() { _ = s.Close() }()
	return s.Header.First, nil
}

// A new exporter begins with the oldest record, and what was freed before its
// time is nothing that it lost.
func TestANewExporterHasLostNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, f := openJournal(t, dir, 1<<20), newFake(t)
	const all = 4000
	writeEach(t, j, large, 0, all)
	if err := j.Close(); err != nil { // retention runs beside the writer: now it has come to rest
		t.Fatal(err)
	}
	j = openJournal(t, dir, 1<<20)
	first, err := oldest(dir)
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t, j, dir, f.otlp())
	stop := b.run(t)
	eventually(t, "the newest record", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.got[fmt.Sprintf("%s-%d", j.ID(), all-1)] > 0
	})
	stop()
	if lost := b.value(t, "sallyport_export_dropped_total"); lost != 0 || first == 0 || f.count() < 300 {
		t.Errorf("%v dropped of %d that were freed before, %d arrived; want 0, some, many", lost, first, f.count())
	}
}

// A position of another journal, or of one that has gone back, means nothing.
func TestPositionOfAnotherJournal(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	one := t.TempDir()
	first := openJournal(t, one, 0)
	b := newBench(t, first, one, f.otlp())
	write(t, first, 0, 30)
	stop := b.run(t)
	eventually(t, "30 records", func() bool { return f.count() == 30 })
	stop()
	two := t.TempDir()
	second := openJournal(t, two, 0)
	write(t, second, 0, 10)
	b.Source, b.Reader = second, journal.NewReader(two)
	stop = b.run(t)
	eventually(t, "10 records of another journal", func() bool { return f.count() == 40 })
	stop()
	for _, at := range positions(t, b.Dir) {
		if err := at.save(second.ID(), 1000); err != nil {
			t.Fatal(err)
		}
		at.close()
	}
	stop = b.run(t)
	eventually(t, "a line in the log", func() bool { return strings.Contains(b.log.String(), "ends before records that were sent") })
	write(t, second, 10, 15)
	eventually(t, "what is new", func() bool { return f.count() == 45 })
	stop()
}

func positions(t *testing.T, dir string) (list []*position) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.position"))
	if err != nil || len(names) != 2 {
		t.Fatalf("positions %v, %v, want two", names, err)
	}
	for _, name := range names {
		list = append(list, openFile(t, name))
	}
	return list
}

// What the journal cannot read is counted and told, and what follows it arrives.
func TestDamagedRecords(t *testing.T) {
	t.Parallel()
	const all = 3000
	dir := t.TempDir()
	j, f := openJournal(t, dir, 1<<20), newFake(t)
	write(t, j, 0, all)
	reader := journal.NewReader(dir)
	var list []journal.Info
	eventually(t, "a sealed segment behind the first", func() bool {
		list, _ = reader.Segments()
		return len(list) > 3 && list[1].Sealed
	})
	name := filepath.Join(dir, fmt.Sprintf("%08d.seg", list[1].Number))
	data, err := os.ReadFile(filepath.Clean(name))
	if err != nil {
		t.Fatal(err)
	}
	data[500] ^= 1 // in its first block
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	b := newBench(t, j, dir, f.otlp())
	stop := b.run(t)
	eventually(t, "the newest record", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.got[fmt.Sprintf("%s-%d", j.ID(), all-1)] > 0
	})
	stop()
	lost := int(b.value(t, "sallyport_export_dropped_total", signalLogs, lostDamaged))
	if lost == 0 || f.count()+lost != all {
		t.Errorf("%d records arrived and %d are told as damaged, together %d, want %d", f.count(), lost, f.count()+lost, all)
	}
	if n := strings.Count(b.log.String(), "damaged records are not sent"); n != 2 {
		t.Errorf("%d lines tell of it, want one for each signal:\n%s", n, b.log)
	}
}
