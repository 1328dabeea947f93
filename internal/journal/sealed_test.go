package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// A sealed segment gives back what the log held, byte for byte.
func TestSealedIsTheLog(t *testing.T) {
	dir := t.TempDir()
	o := options()
	o.Size, o.SegmentSize = 16<<20, 0
	j := open(t, dir, o)
	j.keeperOnly(func() {
		for i := range 5000 {
			r := record(i)
			switch i % 7 {
			case 1:
				r.CorrelationID = fmt.Sprint("no uuid ", i)
			case 2:
				r.TraceID = ""
			case 3:
				r.CorrelationID, r.TraceID, r.Principal = "", "x", "key_abc"
			}
			if err := j.Append(r); err != nil {
				t.Fatal(err)
			}
		}
		j.write.Lock()
		defer j.write.Unlock()
		if err := j.rotate(); err != nil {
			t.Error(err)
		}
	})
	before := entries(t, dir)
	first := openFirst(t, dir)
	logs := first.payloads(t)
	waitSealed(t, j)
	closeJournal(t, j)
	sealed := openFirst(t, dir)
	if !sealed.Sealed || first.Sealed {
		t.Fatal("the first segment was not sealed")
	}
	if got := sealed.payloads(t); !bytes.Equal(got, logs) {
		t.Errorf("%d bytes of payload come back, want the same %d", len(got), len(logs))
	}
	if after := entries(t, dir); len(after) != 5000 || !reflect.DeepEqual(after, before) {
		t.Errorf("%d records come back, want the same %d", len(after), len(before))
	}
	verify(t, dir)
}

func openFirst(t *testing.T, dir string) *Segment {
	t.Helper()
	s, err := NewReader(dir).Open(segments(t, dir)[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func (s *Segment) payloads(t *testing.T) (all []byte) {
	t.Helper()
	var b Buffer
	for i := range s.Len() {
		if err := s.Read(i, &b); err != nil {
			t.Fatal(err)
		}
		if b.First != s.Block(i).First || b.Len() != s.Block(i).Records {
			t.Errorf("block %d: %d records from %d, want %+v", i, b.Len(), b.First, s.Block(i))
		}
		all = append(all, b.data...)
	}
	return all
}

// What the index says of blocks is true, and filters never deny what is there.
func TestIndex(t *testing.T) {
	dir := filled(t, 3000)
	r := NewReader(dir)
	asked, denied := 0, 0
	for _, info := range segments(t, dir) {
		s, err := r.Open(info, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if !s.Sealed {
			continue
		}
		var b Buffer
		var v View
		for i := range s.Len() {
			if err := s.Read(i, &b); err != nil {
				t.Fatal(err)
			}
			facets := map[Facet]bool{}
			for k := range b.Len() {
				if err := v.Parse(b.At(k)); err != nil {
					t.Fatal(err)
				}
				facets[Facet{string(v.Service), string(v.Reason), v.Status}] = true
				if blk := s.Block(i); v.Micros < blk.Min || v.Micros > blk.Max {
					t.Fatalf("segment %d, block %d: time %d is not in %+v", info.Number, i, v.Micros, blk)
				}
				e, err := b.Entry(k, &v, &Names{})
				if err != nil {
					t.Fatal(err)
				}
				for _, key := range []Key{CorrelationKey(e.CorrelationID), PrincipalKey(e.Principal)} {
					in, err := s.MayHold(&key)
					inBlock, err2 := s.BlockMayHold(i, &key)
					if !in || !inBlock || err != nil || err2 != nil {
						t.Fatalf("segment %d, block %d: %q is denied (%v, %v, %v, %v)", info.Number, i, key.text, in, inBlock, err, err2)
					}
				}
				other := CorrelationKey(correlation(int(e.Sequence) + 1_000_000))
				may, err := s.MayHold(&other)
				if err != nil {
					t.Fatal(err)
				}
				asked++
				if !may {
					denied++
				}
			}
			for _, f := range s.BlockFacets(i) {
				if !facets[s.Facets()[f]] {
					t.Errorf("block %d has no record of facet %+v", i, s.Facets()[f])
				}
				delete(facets, s.Facets()[f])
			}
			if len(facets) > 0 {
				t.Errorf("block %d does not name facets %v", i, facets)
			}
		}
	}
	if asked < 1000 || denied < asked*97/100 {
		t.Errorf("%d of %d unknown ids are denied, want 97 in 100 at least", denied, asked)
	}
}

func TestFilter(t *testing.T) {
	keys := map[uint64]struct{}{}
	for i := range 10_000 {
		keys[keyHash(keyCorrelation, fmt.Append(nil, i))] = struct{}{}
	}
	f := newFilter(keys)
	if want := 10_000 * filterBits / 8 / filterWords * filterLine; len(f) < want || len(f) > want+filterLine {
		t.Errorf("a filter of 10,000 keys has %d bytes, want %d", len(f), want)
	}
	holds := func(h uint64) bool { return lineHolds(f[filterAt(h, len(f)):], h) }
	for h := range keys {
		if !holds(h) {
			t.Fatalf("hash %x is denied", h)
		}
	}
	wrong := 0
	for i := range 100_000 {
		if holds(keyHash(keyPrincipal, fmt.Append(nil, i))) {
			wrong++
		}
	}
	if wrong > 1500 {
		t.Errorf("%d of 100,000 unknown keys are taken for known, want 1,500 at most", wrong)
	}
	if f := newFilter(nil); len(f) != filterLine || lineHolds(f, 7) {
		t.Errorf("the filter of nothing has %d bytes and holds something: %v", len(f), lineHolds(f, 7))
	}
}

// The parts of payloads come together again only as they were taken apart.
func TestSplitAndJoin(t *testing.T) {
	payload := appendRecord(appendRecord(nil, record(1)), &Record{CorrelationID: strings.Repeat("x", 300)})
	ids, rest, err := split(nil, nil, payload)
	if err != nil {
		t.Fatal(err)
	}
	var b Buffer
	if err := b.join(ids, rest); err != nil || !bytes.Equal(b.data, payload) || b.Len() != 2 {
		t.Errorf("joined: %v, %d records", err, b.Len())
	}
	for name, parts := range map[string][2][]byte{
		"ids are missing":  {ids[:16], rest},
		"ids are left":     {append(slices.Clone(ids), 0), rest},
		"rest is cut":      {ids, rest[:len(rest)-1]},
		"rest has a tail":  {ids, append(slices.Clone(rest), 5)},
		"an empty payload": {nil, []byte{0}},
	} {
		b.reset(nil, 0)
		if err := b.join(parts[0], parts[1]); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v, want ErrDamaged", name, err)
		}
	}
}

// sealedBytes is a small sealed segment.
func sealedBytes(t testing.TB) []byte {
	dir := filled(t, 200)
	return readFile(t, dir, sealedName(1))
}

// Hostile bytes in the place of a sealed segment neither panic nor make the
// reader hold much more than they weigh.
func FuzzSealed(f *testing.F) {
	good := sealedBytes(f)
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add([]byte(headerMagic + trailerMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		readAll(t, b)
		readAll(t, forgeSums(b)) // behind the checksums
	})
}

func readAll(t *testing.T, b []byte) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	foot, err := readFooter(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return
	}
	var buf Buffer
	for i := range foot.blocks {
		if foot.readBlock(bytes.NewReader(b), i, &buf) == nil {
			_, _ = buf.describe(&facetSet{}) // must not panic
		}
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 64<<20+200*uint64(len(b)) {
		t.Errorf("%d bytes made the reader allocate %d", len(b), used)
	}
}

// forgeSums makes the checksums of header, index and blocks fit, so that what
// lies behind them is reached.
func forgeSums(b []byte) []byte {
	b = bytes.Clone(b)
	if len(b) < len(headerMagic)+4+trailerSize {
		return b
	}
	copy(b, headerMagic)
	n := int(binary.LittleEndian.Uint32(b[len(headerMagic):])) + len(headerMagic) + 4
	if n < 0 || n+4+trailerSize > len(b) {
		return b
	}
	binary.LittleEndian.PutUint32(b[n:], crcOf(b[:n]))
	trailer := b[len(b)-trailerSize:]
	copy(trailer[16:], trailerMagic)
	offset := binary.LittleEndian.Uint64(trailer)
	if offset > uint64(len(b)-trailerSize) {
		return b
	}
	body := b[offset : len(b)-trailerSize]
	if x, err := parseIndex(body); err == nil {
		at := n + 4
		for i := range x.blocks {
			size := x.blocks[i].ids + x.blocks[i].packed
			if at+size > int(offset) {
				break
			}
			x.blocks[i].crc = crcOf(b[at : at+size])
			at += size
		}
		if again := x.append(nil); len(again) == len(body) {
			copy(body, again)
		}
	}
	binary.LittleEndian.PutUint32(trailer[8:], uint32(len(body)))
	binary.LittleEndian.PutUint32(trailer[12:], crcOf(append(bytes.Clone(body), trailer[:12]...)))
	return b
}

func crcOf(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// Hostile bytes in the place of a log likewise.
func FuzzLog(f *testing.F) {
	dir := filled(f, 30)
	good := readFile(f, dir, logName(1))
	f.Add(good)
	f.Add(good[:len(good)-3])
	f.Add([]byte(headerMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, raw, err := readHeader(bytes.NewReader(b))
		if err != nil {
			raw = nil
		}
		in := newScanner(bytes.NewReader(b), int64(len(raw)))
		var buf Buffer
		for {
			buf.reset(nil, 0)
			if err := buf.fill(in, noLimit); err != nil {
				if err != io.EOF && !errors.Is(err, errTorn) && !errors.Is(err, ErrDamaged) {
					t.Errorf("unexpected error %v", err)
				}
				return
			}
		}
	})
}
