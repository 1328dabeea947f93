package journal

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"
)

func sample(i int) *Record {
	return &Record{
		Kind: KindRequest, Time: time.UnixMicro(1760000000000000 + int64(i)*1000),
		CorrelationID: fmt.Sprintf("3f2b8c1e-9d4a-4c7b-8e21-%012x", i), TraceID: fmt.Sprintf("%032x", i+7),
		Listener: "public", Service: fmt.Sprintf("service-%d", i%7), Route: "GET /things/{id}", Method: "GET",
		Client: netip.MustParseAddr("192.0.2.7"), Principal: fmt.Sprintf("user-%d", i%50), Reason: "ok", Status: 200 + i%5,
		BytesIn: 10, BytesOut: int64(i), Duration: time.Duration(i) * time.Microsecond, Stages: []uint32{1, 2, 300}, Tags: []string{"a"},
	}
}

func TestQuick(t *testing.T) {
	dir := t.TempDir()
	j, err := Open(dir, Options{Zone: "shop.example", Stages: []string{"a", "b", "c"}, Size: 16 << 20})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50000 {
		if err := j.Append(sample(i)); err != nil {
			t.Fatal(i, err)
		}
	}
	if err := j.AppendSync(sample(50000)); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	rep, err := Verify(context.Background(), dir)
	t.Log(rep, err)
	l, _ := Segments(dir)
	t.Log(l)
}

func BenchmarkAppend(b *testing.B) {
	j, err := Open(b.TempDir(), Options{Zone: "shop.example", Stages: []string{"a", "b", "c"}})
	if err != nil {
		b.Fatal(err)
	}
	defer j.Close()
	r := sample(3)
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		if err := j.Append(r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendParallel(b *testing.B) {
	j, err := Open(b.TempDir(), Options{Zone: "shop.example", Stages: []string{"a", "b", "c"}})
	if err != nil {
		b.Fatal(err)
	}
	defer j.Close()
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(p *testing.PB) {
		r := sample(3)
		for p.Next() {
			if err := j.Append(r); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	r := sample(3)
	var buf []byte
	for b.Loop() {
		buf = appendRecord(buf[:0], r)
	}
}

func BenchmarkParse(b *testing.B) {
	r := sample(3)
	buf := appendBody(nil, r)
	var v View
	for b.Loop() {
		if err := v.Parse(buf); err != nil {
			b.Fatal(err)
		}
	}
}
