package journal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestOneWriter(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, options())
	if k, err := Open(dir, options()); err == nil {
		_ = k.Close()
		t.Error("a second writer was let in")
	}
	closeJournal(t, j)
	closeJournal(t, open(t, dir, options()))
}

func TestOptionsAreChecked(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Options)
	}{
		{"small", func(o *Options) { o.Size = leastSize - 1 }},
		{"segments as large as the journal", func(o *Options) { o.SegmentSize = o.Size }},
		{"negative segment", func(o *Options) { o.SegmentSize = -1 }},
		{"negative time", func(o *Options) { o.Retain = -1 }},
		{"many stages", func(o *Options) { o.Stages = make([]string, maxStages+1) }},
		{"long stage", func(o *Options) { o.Stages = []string{strings.Repeat("x", maxText+1)} }},
		{"long zone", func(o *Options) { o.Zone = strings.Repeat("x", maxText+1) }},
	} {
		o := options()
		c.change(&o)
		if j, err := Open(t.TempDir(), o); err == nil {
			_ = j.Close()
			t.Errorf("%s: accepted", c.name)
		}
	}
}

// tagsOf are the tags of all marks.
func tagsOf(list []*Entry) (tags []string) {
	for _, e := range list {
		if e.Kind == KindMark {
			tags = append(tags, e.Tags...)
		}
	}
	return tags
}

// whole are the records that are no marks.
func whole(list []*Entry) (n int) {
	for _, e := range list {
		if e.Kind != KindMark {
			n++
		}
	}
	return n
}

// The last frame is torn at every byte. Each time the journal opens, keeps the
// torn bytes aside, says so, and goes on; the frames before are untouched.
func TestTornTails(t *testing.T) {
	dir := t.TempDir()
	o := options()
	o.SyncEvery = 1 << 40 // the head stays behind, as after a loss of power
	j := open(t, dir, o)
	write(t, j, 0, 4)
	before := int(j.live.size)
	write(t, j, 4, 5)
	killed := copyDir(t, dir) // as a killed writer leaves it
	closeJournal(t, j)
	log := readFile(t, killed, logName(1))
	if n := len(entries(t, killed)); n != 5 {
		t.Fatalf("positive control: %d records, want 5", n)
	}
	for size := before; size < len(log); size++ {
		torn := copyDir(t, killed)
		writeFile(t, torn, logName(1), log[:size])
		var text bytes.Buffer
		o := options()
		o.Log = slog.New(slog.NewTextHandler(&text, nil))
		k := open(t, torn, o)
		write(t, k, 5, 6)
		closeJournal(t, k)
		verify(t, torn)
		list := entries(t, torn)
		wantTags, wantKept := []string{fmt.Sprintf("%s:%d", MarkTorn, size-before)}, log[before:size]
		if size == before {
			wantTags, wantKept = nil, nil
		}
		if whole(list) != 5 || !slices.Equal(tagsOf(list), wantTags) {
			t.Fatalf("cut at %d: %d records and marks %q, want 5 and %q", size, whole(list), tagsOf(list), wantTags)
		}
		kept, err := os.ReadFile(filepath.Join(torn, tornName(1, int64(before))))
		if !bytes.Equal(kept, wantKept) || (err == nil) != (wantKept != nil) {
			t.Fatalf("cut at %d: %d bytes kept aside (%v), want %d", size, len(kept), err, len(wantKept))
		}
		if said := strings.Contains(text.String(), "torn bytes were cut"); said != (wantKept != nil) {
			t.Fatalf("cut at %d: the log says so: %v", size, said)
		}
	}
}

// Garbage of any kind behind the last frame is cut like a torn frame.
func TestGarbageTails(t *testing.T) {
	dir := filled(t, 20)
	forged := func() []byte { // a frame that is whole, and does not follow
		frame := append(make([]byte, frameHead), appendRecord(nil, record(9))...)
		frame, _ = sealFrame(frame, newHasher(), &Chain{1})
		return frame
	}
	for name, tail := range map[string][]byte{
		"zeros":                    make([]byte, 5000),
		"ones":                     bytes.Repeat([]byte{0xff}, 5000),
		"a huge length":            binary.LittleEndian.AppendUint32(nil, maxPayload+1),
		"a frame out of the chain": forged(),
	} {
		spoilt := copyDir(t, dir)
		writeFile(t, spoilt, logName(1), append(readFile(t, spoilt, logName(1)), tail...))
		if len(findings(t, spoilt)) == 0 {
			t.Errorf("%s: Verify finds nothing before it is cut", name)
		}
		k := open(t, spoilt, options())
		write(t, k, 20, 21)
		closeJournal(t, k)
		verify(t, spoilt)
		if n := whole(entries(t, spoilt)); n != 21 {
			t.Errorf("%s: %d records, want 21", name, n)
		}
	}
}

// Damage in what was synced is told from a torn tail: it is noted as such, its
// bytes are kept, its sequence numbers are not used again, and Verify goes on
// telling of it.
func TestDamagedLiveSegment(t *testing.T) {
	dir := filled(t, 50)
	log := readFile(t, dir, logName(1))
	log[len(log)/2] ^= 1
	writeFile(t, dir, logName(1), log)
	k := open(t, dir, options())
	write(t, k, 50, 60)
	closeJournal(t, k)
	list := entries(t, dir)
	tags := tagsOf(list)
	if len(tags) != 1 || !strings.HasPrefix(tags[0], MarkDamaged+":") {
		t.Errorf("marks %q, want one of %s", tags, MarkDamaged)
	}
	if last := list[len(list)-1]; last.Sequence != 60 || last.BytesIn != 59 {
		t.Errorf("the last record is %d at %d, want 59 at 60 (50 records, the mark, 9 records before it)", last.BytesIn, last.Sequence)
	}
	if n := whole(list); n < 20 || n > 50 {
		t.Errorf("%d records are left", n)
	}
	if torn, _ := filepath.Glob(filepath.Join(dir, "*"+tornSuffix)); len(torn) != 1 {
		t.Errorf("kept aside: %q, want one file", torn)
	}
	if len(findings(t, dir)) == 0 {
		t.Error("Verify finds nothing")
	}
}

// Segments that vanish from the end are noticed when the journal is opened.
func TestLostSegments(t *testing.T) {
	dir := filled(t, 500)
	list := segments(t, dir)
	for _, s := range list[len(list)-2:] {
		if err := os.Remove(filepath.Join(dir, s.name())); err != nil {
			t.Fatal(err)
		}
	}
	k := open(t, dir, options())
	write(t, k, 500, 501)
	closeJournal(t, k)
	all := entries(t, dir)
	if last := all[len(all)-1]; last.Sequence != 501 || !slices.Equal(tagsOf(all), []string{MarkDamaged}) {
		t.Errorf("last sequence %d, marks %q; want 501 and one of %s", last.Sequence, tagsOf(all), MarkDamaged)
	}
	if len(findings(t, dir)) == 0 {
		t.Error("Verify finds nothing")
	}
}

// Segments that vanish before a live one that is torn: their numbers stay free,
// and what is left is kept under its own.
func TestLostSegmentsBeforeATornOne(t *testing.T) {
	dir := filled(t, 500)
	list := segments(t, dir)
	live := list[len(list)-1]
	middle := list[2]
	b := readFile(t, dir, live.name())
	for _, s := range list[3:] {
		if err := os.Remove(filepath.Join(dir, s.name())); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(dir, middle.name())); err != nil {
		t.Fatal(err)
	}
	writeFile(t, dir, logName(middle.Number), b[:len(b)-3]) // a log where none was
	k := open(t, dir, options())
	write(t, k, 500, 510)
	closeJournal(t, k)
	if len(findings(t, dir)) == 0 {
		t.Error("Verify finds nothing")
	}
	all := entries(t, dir)
	if last := all[len(all)-1]; last.Sequence < 510 || last.Header.Segment != live.Number+1 {
		t.Errorf("the last record is %d in segment %d, want 510 at least in %d", last.Sequence, last.Header.Segment, live.Number+1)
	}
	for _, s := range segments(t, dir) {
		if s.Number > middle.Number && s.Number <= live.Number {
			t.Errorf("segment %d was made anew", s.Number)
		}
	}
}

// What a crash leaves between two steps is put in order.
func TestOpenTidiesUp(t *testing.T) {
	dir := filled(t, 500)
	live := segments(t, dir)[len(segments(t, dir))-1]
	first := readFile(t, dir, sealedName(1))
	writeFile(t, dir, logName(1), []byte("not removed after sealing"))
	writeFile(t, dir, sealedName(2)+tempSuffix, first[:100])
	writeFile(t, dir, logName(live.Number+1)+tempSuffix, []byte("not renamed"))
	writeFile(t, dir, tornName(0, 7), []byte("below the floor"))
	writeFile(t, dir, "notes.txt", []byte("not ours"))
	k := open(t, dir, options())
	write(t, k, 500, 501)
	closeJournal(t, k)
	verify(t, dir)
	for name, want := range map[string]bool{
		logName(1): false, sealedName(2) + tempSuffix: false, logName(live.Number+1) + tempSuffix: false,
		tornName(0, 7): false, "notes.txt": true, sealedName(1): true,
	} {
		if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v", name, err == nil, want)
		}
	}
	if n := whole(entries(t, dir)); n != 501 {
		t.Errorf("%d records, want 501", n)
	}
}

// A segment is of one zone and one list of stages: others begin a new one.
func TestNewHeaderNewSegment(t *testing.T) {
	dir := filled(t, 10)
	o := options()
	closeJournal(t, open(t, dir, o))
	if n := len(segments(t, dir)); n != 1 {
		t.Errorf("opened again: %d segments, want 1", n)
	}
	o.Stages = []string{"other"}
	k := open(t, dir, o)
	write(t, k, 10, 11)
	closeJournal(t, k)
	verify(t, dir)
	list := entries(t, dir)
	if got := list[10].Header.StageName(0); got != "other" || list[9].Header.StageName(0) != "accept" {
		t.Errorf("stage 0 is %q then %q", list[9].Header.StageName(0), got)
	}
	if got := list[10].Header.StageName(5); got != "stage_5" {
		t.Errorf("a stage without a name is %q", got)
	}
}

// A journal opens on a full disk: what it needs is there from before. A torn end
// goes, with or without room to keep it aside; damage does not.
func TestOpenOnAFullDisk(t *testing.T) {
	for _, c := range []struct {
		name   string
		torn   int
		damage bool
		opens  bool
	}{
		{"whole", 0, false, true},
		{"torn", 30, false, true},
		{"damaged", 30, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			j := open(t, dir, options())
			write(t, j, 0, 100)
			closeJournal(t, j)
			b := readFile(t, dir, logName(1))
			if c.damage {
				b = b[:len(b)-c.torn] // of what was synced
			} else {
				b = append(b, b[len(b)-c.torn:]...)
			}
			writeFile(t, dir, logName(1), b)
			d := newFaulty(dir)
			d.room = 0
			for _, name := range []string{headFile, floorFile, logName(1)} {
				d.names[name] = &node{allocated: int64(len(readFile(t, dir, name)))}
			}
			o := options()
			o.disk = d
			k, err := Open(dir, o)
			if (err == nil) != c.opens {
				t.Fatalf("Open = %v, want success: %v", err, c.opens)
			}
			if err != nil {
				return
			}
			d.set(func() { d.room = -1 })
			k.probe()
			write(t, k, 100, 110)
			closeJournal(t, k)
			verify(t, dir)
			n := 0
			for _, e := range entries(t, dir) {
				if e.Kind != KindMark {
					n++
				}
			}
			if n != 110 {
				t.Errorf("%d records, want 110", n)
			}
		})
	}
}
