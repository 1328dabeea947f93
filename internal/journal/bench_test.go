package journal

import (
	"bytes"
	"testing"
)

func BenchmarkAppend(b *testing.B) {
	dir := b.TempDir()
	j := open(b, dir, Options{Zone: "shop.example", disk: folder(dir)})
	r := record(3)
	b.ReportAllocs()
	for b.Loop() {
		if err := j.Append(r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendParallel(b *testing.B) {
	dir := b.TempDir()
	j := open(b, dir, Options{Zone: "shop.example", disk: folder(dir)})
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(p *testing.PB) {
		r := record(3)
		for p.Next() {
			if err := j.Append(r); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkAppendSync(b *testing.B) {
	dir := b.TempDir()
	j := open(b, dir, Options{Zone: "shop.example", disk: folder(dir)})
	b.SetParallelism(32)
	b.RunParallel(func(p *testing.PB) {
		r := record(3)
		for p.Next() {
			if err := j.AppendSync(r); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	r := record(3)
	var buf []byte
	for b.Loop() {
		buf = appendRecord(buf[:0], r)
	}
}

func BenchmarkParse(b *testing.B) {
	body := appendBody(nil, record(3))
	var v View
	for b.Loop() {
		if err := v.Parse(body); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSealBlock is the work of sealing one record: describing, packing,
// unpacking again to compare, filters.
func BenchmarkSealBlock(b *testing.B) {
	var payload []byte
	for i := range blockRecords {
		payload = appendRecord(payload, record(i))
	}
	s := newSealing(&discard{}, nil)
	for n := 0; b.Loop(); n++ {
		if n%blockRecords != 0 {
			continue
		}
		if err := s.buf.add(payload); err != nil {
			b.Fatal(err)
		}
		if err := s.block(); err != nil {
			b.Fatal(err)
		}
	}
}

// discard is a file that keeps nothing.
type discard struct{ bytes.Reader }

func (*discard) WriteAt(b []byte, _ int64) (int, error) { return len(b), nil }
func (*discard) size() (int64, error)                   { return 0, nil }
func (*discard) allocate(int64) error                   { return nil }
func (*discard) Truncate(int64) error                   { return nil }
func (*discard) Sync() error                            { return nil }
func (*discard) Close() error                           { return nil }
