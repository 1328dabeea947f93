package logs

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"sallyport.dev/internal/journal"
)

var testTime = time.Date(2026, 3, 14, 15, 9, 26, 535898000, time.UTC)

var stages = []string{"accept", "route", "forward"}

func options() journal.Options {
	return journal.Options{Zone: "shop.example", Stages: stages, Size: 64 << 20, SegmentSize: 64 << 10,
		Retain: math.MaxInt64, Clock: func() time.Time { return testTime }}
}

// record makes record i of a world with few values, so that queries find some.
func record(i int) *journal.Record {
	r := rand.New(rand.NewPCG(uint64(i), 3))
	rec := &journal.Record{
		Time:          testTime.Add(time.Duration(i)*100*time.Millisecond - time.Duration(r.IntN(500))*time.Millisecond), // not quite in order
		CorrelationID: correlation(i / 2),
		TraceID:       fmt.Sprintf("%032x", i+1),
		Listener:      "public",
		Service:       fmt.Sprintf("service-%d", r.IntN(4)),
		Method:        "GET",
		Client:        netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}),
		Principal:     fmt.Sprintf("00000000-0000-4000-8000-%012x", r.IntN(30)),
		Reason:        "ok",
		Status:        200,
		BytesIn:       int64(i),
		BytesOut:      int64(r.IntN(1000)),
		Duration:      time.Duration(r.IntN(5000)) * time.Microsecond,
		Stages:        []uint32{1, 2, 3},
	}
	rec.Route = "GET /" + rec.Service
	switch r.IntN(20) {
	case 0:
		rec.Reason, rec.Status, rec.Principal = "auth.missing", 401, "anonymous"
	case 1:
		rec.Reason, rec.Status = "upstream.timeout", 504
	case 2:
		rec.Service, rec.Route, rec.Reason, rec.Status = "", "", "route.unknown", 404
	}
	if i%500 == 7 {
		rec.Service, rec.Reason, rec.Status = "rare", "upstream.protocol", 502
	}
	return rec
}

func correlation(i int) string { return fmt.Sprintf("3f2b8c1e-9d4a-4c7b-8e21-%012x", i) }

func open(t testing.TB, dir string, o journal.Options) *journal.Journal {
	t.Helper()
	j, err := journal.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func write(t testing.TB, j *journal.Journal, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if err := j.Append(record(i)); err != nil {
			t.Fatal(err)
		}
	}
}

// filled makes a closed journal of n records with sealed segments and a live one.
func filled(t testing.TB, n int) string {
	t.Helper()
	dir := t.TempDir()
	j := open(t, dir, options())
	const part = 450 // more than a segment holds
	for i := 0; i < n; i += part {
		before := j.Head().Segment
		write(t, j, i, min(i+part, n))
		for i+part < n && j.Head().Segment == before {
			runtime.Gosched() // the segment is closed in the background
		}
	}
	for sealed := false; !sealed; { // in the background; Close would end it
		list, err := journal.Segments(dir)
		if err != nil {
			t.Fatal(err)
		}
		sealed = true
		for _, s := range list[:len(list)-1] {
			sealed = sealed && s.Sealed
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}
