package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

// encoded is a body and what is read back from it.
func encoded(t testing.TB, r *Record) (body []byte, back Record) {
	t.Helper()
	whole := appendRecord(nil, r)
	n, k := binary.Uvarint(whole)
	if k <= 0 || int(n) != len(whole)-k {
		t.Fatalf("length %d (%d bytes) before a body of %d bytes", n, k, len(whole)-k)
	}
	body = whole[k:]
	if want := appendBody(nil, r); !bytes.Equal(body, want) {
		t.Fatalf("body behind its length %x, want %x", body, want)
	}
	var v View
	if err := v.Parse(body); err != nil {
		t.Fatalf("Parse of %+v: %v", r, err)
	}
	back, err := v.Record(&Names{})
	if err != nil {
		t.Fatalf("Record of %+v: %v", r, err)
	}
	return body, back
}

func TestRecordComesBack(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Record)
	}{
		{"ordinary", func(*Record) {}},
		{"nothing set", func(r *Record) { *r = Record{Time: time.UnixMicro(0).UTC()} }},
		{"no canonical ids", func(r *Record) {
			r.CorrelationID, r.TraceID, r.Principal = strings.ToUpper(r.CorrelationID), "x", "key_abc"
		}},
		{"ids of other lengths", func(r *Record) { r.CorrelationID, r.TraceID = r.CorrelationID[:35], r.TraceID+"0" }},
		{"hyphens elsewhere", func(r *Record) { r.CorrelationID = "3f2b8c1e9-d4a-4c7b-8e21-5a6f7b8c9d0e" }},
		{"IPv6", func(r *Record) { r.Client = netip.MustParseAddr("2001:db8::7") }},
		{"no client", func(r *Record) { r.Client = netip.Addr{} }},
		{"no UTF-8", func(r *Record) { r.Method = "\xff\x00\n" }},
		{"large numbers", func(r *Record) {
			r.Status, r.BytesIn, r.BytesOut, r.Stages = maxStatus, maxNumber, maxNumber, []uint32{math.MaxUint32}
			r.Duration = math.MaxInt64 / 1000 * 1000
		}},
		{"long texts: a length of three bytes", func(r *Record) {
			r.Tags = nil
			for range maxTags {
				r.Tags = append(r.Tags, strings.Repeat("t", maxTag))
			}
			for _, s := range []*string{&r.CorrelationID, &r.TraceID, &r.Listener, &r.Service, &r.Route, &r.Method, &r.Principal, &r.Reason} {
				*s = strings.Repeat("x", maxText)
			}
		}},
		{"each kind", func(r *Record) { r.Kind = KindMark }},
	} {
		want := *record(7)
		c.change(&want)
		body, got := encoded(t, &want)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", c.name, got, want)
		}
		if len(body) > maxRecord {
			t.Errorf("%s: body of %d bytes, at most %d", c.name, len(body), maxRecord)
		}
	}
}

func TestRecordIsBounded(t *testing.T) {
	in := record(1)
	in.Kind, in.Time, in.Status, in.BytesIn, in.BytesOut, in.Duration = KindAdmin, time.Time{}, -1, -2, math.MaxInt64, -time.Hour
	in.Client = netip.MustParseAddr("::ffff:192.0.2.1")
	in.Route = strings.Repeat("é", maxText)
	in.Stages = make([]uint32, maxStages+1)
	in.Tags = make([]string, maxTags+1)
	in.Tags[0] = strings.Repeat("x", maxTag+1)
	body, got := encoded(t, in)
	if len(body) > maxRecord {
		t.Errorf("body of %d bytes, at most %d", len(body), maxRecord)
	}
	if !got.Time.Equal(time.UnixMicro(0)) || got.Status != 0 || got.BytesIn != 0 || got.BytesOut != maxNumber || got.Duration != 0 {
		t.Errorf("numbers out of bounds came back as %v %d %d %d %v", got.Time, got.Status, got.BytesIn, got.BytesOut, got.Duration)
	}
	if got.Client.String() != "192.0.2.1" || len(got.Stages) != maxStages || len(got.Tags) != maxTags {
		t.Errorf("client %v, %d stages, %d tags", got.Client, len(got.Stages), len(got.Tags))
	}
	if want := strings.Repeat("é", (maxText-3)/2) + "…"; got.Route != want {
		t.Errorf("a long text came back as %d bytes %q…, want %d bytes", len(got.Route), got.Route[:8], len(want))
	}
	if want := strings.Repeat("x", maxTag-3) + "…"; got.Tags[0] != want {
		t.Errorf("a long tag came back as %q", got.Tags[0])
	}
}

func TestEncodingDoesNotAllocate(t *testing.T) {
	r := record(3)
	b := appendRecord(nil, r)
	if n := testing.AllocsPerRun(100, func() { b = appendRecord(b[:0], r) }); n != 0 {
		t.Errorf("encoding allocates %v times, want 0", n)
	}
	var v View
	body := appendBody(nil, r)
	if n := testing.AllocsPerRun(100, func() { _ = v.Parse(body) }); n != 0 {
		t.Errorf("parsing allocates %v times, want 0", n)
	}
}

func TestParseRefuses(t *testing.T) {
	good := appendBody(nil, record(3))
	change := func(i int, b byte) []byte {
		c := bytes.Clone(good)
		c[i] = b
		return c
	}
	for _, c := range []struct {
		name string
		body []byte
	}{
		{"nothing", nil},
		{"unknown kind", change(0, byte(kindCount))},
		{"unknown flag", change(1, good[1]|0x80)},
		{"both addresses", change(1, good[1]|flagIPv4|flagIPv6)},
		{"time after the end of times", change(2+32+7, 0xff)},
		{"cut short", good[:len(good)-1]},
		{"more behind it", append(bytes.Clone(good), 0)},
	} {
		var v View
		err := v.Parse(c.body)
		if err == nil {
			_, err = v.Record(&Names{})
		}
		if !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: error %v, want ErrDamaged", c.name, err)
		}
	}
	var v View
	if err := v.Parse(good); err != nil {
		t.Errorf("positive control: %v", err)
	}
}

// Peeking at a record says the same as parsing it.
func TestPeeking(t *testing.T) {
	for _, id := range []string{correlation(5), strings.ToUpper(correlation(5)), "", "x"} {
		r := record(5)
		r.CorrelationID = id
		raw := Raw(appendBody(nil, r))
		same, other := CorrelationKey(id), CorrelationKey(id+"y")
		if !raw.Correlates(&same) || raw.Correlates(&other) {
			t.Errorf("%q: Correlates with itself %v, with another %v", id, raw.Correlates(&same), raw.Correlates(&other))
		}
		if got, want := raw.micros(), micros(r.Time); got != want {
			t.Errorf("%q: micros %d, want %d", id, got, want)
		}
	}
	for _, sub := range []string{"00000000-0000-4000-8000-00000000000a", "key_abc", "anonymous", ""} {
		r := record(5)
		r.Principal = sub
		var v View
		if err := v.Parse(appendBody(nil, r)); err != nil {
			t.Fatal(err)
		}
		same, other := PrincipalKey(sub), PrincipalKey(sub+"y")
		if !v.HasPrincipal(&same) || v.HasPrincipal(&other) {
			t.Errorf("%q: HasPrincipal of itself %v, of another %v", sub, v.HasPrincipal(&same), v.HasPrincipal(&other))
		}
	}
}

// Whatever bytes stand in a frame, parsing them neither panics nor gives what
// cannot be written again.
func FuzzRecord(f *testing.F) {
	f.Add(appendBody(nil, record(3)))
	f.Add(appendBody(nil, &Record{}))
	f.Add(appendBody(nil, &Record{Kind: KindMark, Tags: []string{MarkTorn + ":5"}, CorrelationID: "x", Client: netip.IPv6Loopback()}))
	f.Add([]byte{0, 0xff})
	f.Fuzz(func(t *testing.T, body []byte) {
		var v View
		_ = Raw(body).micros()
		k := CorrelationKey("x")
		_ = Raw(body).Correlates(&k)
		if v.Parse(body) != nil {
			return
		}
		r, err := v.Record(&Names{})
		if err != nil {
			return
		}
		if _, again := encoded(t, &r); !reflect.DeepEqual(again, r) {
			t.Errorf("written again:\ngot  %+v\nwant %+v", again, r)
		}
	})
}
