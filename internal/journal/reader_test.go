package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"testing"
)

// A cursor that keeps up sees every record once and in order, while the writer
// writes, rotates and seals beside it.
func TestCursorFollowsTheWriter(t *testing.T) {
	const n = 6000
	dir := t.TempDir()
	o := options()
	o.Size = 16 << 20
	o.SegmentSize = 64 << 10
	j := open(t, dir, o)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range n {
			if err := j.Append(record(i)); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	c := NewReader(dir).Cursor(0)
	defer c.Close()
	next := 0
	for next < n && !t.Failed() {
		for _, e := range drain(t, c) {
			if int(e.BytesIn) != next || e.Sequence != uint64(next) {
				t.Fatalf("record %d at %d, want %d", e.BytesIn, e.Sequence, next)
			}
			next++
		}
	}
	<-done
	waitSealed(t, j)
	closeJournal(t, j)
	if got := len(drain(t, c)); got != 0 || c.Position() != n {
		t.Errorf("at the end: %d more records, position %d", got, c.Position())
	}
}

// A cursor begins in the middle of a segment, a block and a frame, and stops
// where it is told to.
func TestCursorBeginsAndStops(t *testing.T) {
	dir := t.TempDir()
	o := options()
	o.Size, o.SegmentSize = 64<<20, 1<<20
	j := open(t, dir, o)
	write(t, j, 0, 8000)
	j.rotateIfDue(true) // unless the keeper was there already
	waitSealed(t, j)
	write(t, j, 8000, 9000)
	closeJournal(t, j)
	list := segments(t, dir)
	if !list[0].Sealed || list[len(list)-1].Sealed {
		t.Fatalf("segments %+v, want sealed ones and a live one", list)
	}
	for _, from := range []uint64{0, 1, 2047, 2048, 2049, 5000, 8990, 8999, 9000} {
		c := NewReader(dir).Cursor(from)
		got := drain(t, c)
		if len(got) != 9000-int(from) || len(got) > 0 && got[0].Sequence != from {
			t.Errorf("from %d: %d records", from, len(got))
		}
		_ = c.Close()
	}
	sealed := NewReader(dir).Cursor(100)
	defer sealed.Close()
	var first Buffer
	for _, until := range []uint64{110, 120} {
		if err := sealed.Next(&first, until); err != nil || first.First != until-10 || first.Len() != 10 {
			t.Errorf("sealed, until %d: %v, %d records from %d", until, err, first.Len(), first.First)
		}
	}
	c := NewReader(dir).Cursor(8980)
	defer c.Close()
	var b Buffer
	if err := c.Next(&b, 8990); err != nil || b.First != 8980 || b.Len() != 10 {
		t.Errorf("until 8990: %v, %d records from %d", err, b.Len(), b.First)
	}
	if err := c.Next(&b, 8990); err != io.EOF {
		t.Errorf("at 8990: %v, want EOF", err)
	}
	if err := c.Next(&b, math.MaxUint64); err != nil || b.First != 8990 || b.Len() != 10 {
		t.Errorf("then: %v, %d records from %d", err, b.Len(), b.First)
	}
}

// What was freed is passed over: the cursor shows where it goes on.
func TestCursorBehindRetention(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, options())
	write(t, j, 0, 10)
	c := NewReader(dir).Cursor(5)
	defer c.Close()
	var b Buffer
	if err := c.Next(&b, 8); err != nil || b.First != 5 || b.Len() != 3 {
		t.Fatalf("%v, %d records from %d", err, b.Len(), b.First)
	}
	for i := 10; i < 16_010; i += 100 {
		write(t, j, i, i+100)
	}
	waitSealed(t, j)
	closeJournal(t, j)
	floor := verify(t, dir).Begin.Sequence
	got := drain(t, c)
	if first := got[0].Sequence; first != 8 {
		t.Errorf("the segment that was open goes on at %d, want 8", first)
	}
	late := NewReader(dir).Cursor(5)
	defer late.Close()
	if got := drain(t, late); got[0].Sequence != floor || len(got) != 16_010-int(floor) {
		t.Errorf("a late cursor begins at %d with %d records, want %d", got[0].Sequence, len(got), floor)
	}
}

// A damaged block or segment is told and passed over.
func TestCursorPassesOverDamage(t *testing.T) {
	dir := filled(t, 600)
	b := readFile(t, dir, sealedName(2))
	b[len(b)/3] ^= 1
	writeFile(t, dir, sealedName(2), b)
	writeFile(t, dir, sealedName(4), []byte("no segment"))
	c := NewReader(dir).Cursor(0)
	defer c.Close()
	var buf Buffer
	told, records := 0, 0
	for {
		err := c.Next(&buf, math.MaxUint64)
		if err == io.EOF {
			break
		}
		if errors.Is(err, ErrDamaged) {
			told++
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		records += buf.Len()
	}
	if told != 2 || records < 350 || records > 450 {
		t.Errorf("damage told %d times, %d records of 600; want 2 and those of all segments but two", told, records)
	}
}

func TestReaderOfNothing(t *testing.T) {
	r := NewReader(filepath.Join(t.TempDir(), "none"))
	list, err := r.Segments()
	if len(list) != 0 || err != nil {
		t.Errorf("Segments = %v, %v; want none", list, err)
	}
	if end, err := r.End(); end != 0 || err != nil {
		t.Errorf("End = %d, %v; want 0", end, err)
	}
	var b Buffer
	if err := r.Cursor(0).Next(&b, 1); err != io.EOF {
		t.Errorf("Next = %v, want EOF", err)
	}
}

// A listed segment that was sealed since is opened sealed; one that was freed is gone.
func TestOpenAfterTheListing(t *testing.T) {
	dir := filled(t, 300)
	r := NewReader(dir)
	s, err := r.Open(Info{Number: 1}, nil)
	if err != nil || !s.Sealed {
		t.Fatalf("Open of a log that was sealed: %v", err)
	}
	_ = s.Close()
	if _, err := r.Open(Info{Number: 99}, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Open of a segment that was freed: %v, want not exist", err)
	}
	if end, err := r.End(); end != 300 || err != nil {
		t.Errorf("End = %d, %v; want 300", end, err)
	}
}

// The live segment has no filters: it is asked while it is read.
func TestLiveSegmentIsAsked(t *testing.T) {
	dir := t.TempDir()
	o := options()
	o.Size, o.SegmentSize = 64<<20, 4<<20
	j := open(t, dir, o)
	write(t, j, 0, 5000)
	closeJournal(t, j)
	key := CorrelationKey(correlation(3000))
	s, err := NewReader(dir).Open(segments(t, dir)[0], &key)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var may []int
	for i := range s.Len() {
		if ok, err := s.BlockMayHold(i, &key); err != nil {
			t.Fatal(err)
		} else if ok {
			may = append(may, i)
		}
	}
	if s.Len() < 3 || len(may) != 1 || may[0] != 1 {
		t.Errorf("blocks %v of %d may hold record 3000, want the second only", may, s.Len())
	}
	var b Buffer
	if err := s.Read(1, &b); err != nil || b.First != 2048 || b.Len() != 2048 {
		t.Errorf("Read of block 1: %v, %d records from %d", err, b.Len(), b.First)
	}
	other := PrincipalKey("x")
	if ok, _ := s.BlockMayHold(0, &other); !ok {
		t.Error("a key that was not asked for is denied")
	}
}

func TestSegmentNames(t *testing.T) {
	for _, c := range []struct {
		name string
		n    uint64
		ok   bool
	}{
		{"00000001.log", 1, true}, {"123456789.log", 123456789, true}, {"00000000.log", 0, false},
		{"1.log", 0, false}, {"00000001.seg", 0, false}, {"00000001.log.tmp", 0, false},
		{"0000000x.log", 0, false}, {"+0000001.log", 0, false}, {"000000001.log", 0, false}, {".log", 0, false},
	} {
		if n, ok := segmentNumber(c.name, logSuffix); ok != c.ok || ok && n != c.n {
			t.Errorf("segmentNumber(%q) = %d, %v; want %d, %v", c.name, n, ok, c.n, c.ok)
		}
	}
	if n, at, ok := tornNumber(tornName(7, 99)); n != 7 || at != 99 || !ok {
		t.Errorf("tornNumber of tornName(7, 99) = %d, %d, %v", n, at, ok)
	}
	if _, _, ok := tornNumber("00000007-99"); ok {
		t.Error("tornNumber of no torn file: ok")
	}
}

// A closed segment that is not sealed has no torn end: what cannot be read in it
// is damage, which a cursor tells before it goes on behind it.
func TestCursorTellsOfDamagedLogs(t *testing.T) {
	for _, c := range []struct {
		name   string
		spoil  func([]byte) []byte
		closed bool
		told   int
	}{
		{"a closed log is whole", func(b []byte) []byte { return b }, true, 0},
		{"a flipped bit in a closed log", func(b []byte) []byte { b[len(b)/2] ^= 1; return b }, true, 1},
		{"a closed log is cut", func(b []byte) []byte { return b[:len(b)-7] }, true, 1},
		{"a frame of a closed log holds no records", withoutRecords, true, 1},
		{"a torn end of the live one", func(b []byte) []byte { return b[:len(b)-7] }, false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			j := open(t, dir, options())
			j.keeperOnly(func() {
				write(t, j, 0, 300)
				if c.closed {
					j.rotateIfDue(true)
					j.write.Lock()
					defer j.write.Unlock()
					if err := j.rotate(); err != nil {
						t.Error(err)
					}
				}
			})
			write(t, j, 300, 310)
			closeJournal(t, j)
			name := logName(1)
			writeFile(t, dir, name, c.spoil(readFile(t, dir, name)))
			cur := NewReader(dir).Cursor(0)
			defer cur.Close()
			var b Buffer
			var v View
			told, last := 0, -1
			for {
				err := cur.Next(&b, math.MaxUint64)
				if err == io.EOF {
					break
				}
				if errors.Is(err, ErrDamaged) {
					if told++; told > 10 {
						t.Fatal("the same damage is told for ever")
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				for i := range b.Len() {
					if err := v.Parse(b.At(i)); err != nil {
						t.Fatal(err)
					}
					last = int(v.BytesIn)
					if uint64(last) != b.First+uint64(i) {
						t.Fatalf("record %d is given the place %d", last, b.First+uint64(i))
					}
				}
			}
			if told != c.told {
				t.Errorf("damage is told %d times, want %d", told, c.told)
			}
			if c.closed && last != 309 {
				t.Errorf("the last record is %d, want 309", last)
			}
		})
	}
}

// withoutRecords makes a frame in the middle of a log one that is whole, and holds no records.
func withoutRecords(b []byte) []byte {
	_, raw, _ := readHeader(bytes.NewReader(b))
	in := newScanner(bytes.NewReader(b), int64(len(raw)))
	for in.off < int64(len(b)/2) {
		if _, _, err := in.next(); err != nil {
			return nil
		}
	}
	from := in.off
	_, _, _ = in.next()
	frame := bytes.Clone(b[from:in.off])
	for i := frameHead; i < len(frame)-frameTail; i++ {
		frame[i] = 0xff
	}
	binary.LittleEndian.PutUint32(frame[4:], frameCRC(frame))
	copy(b[from:], frame)
	return b
}
