package logs

import (
	"bytes"
	"encoding/json"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"sallyport.dev/internal/journal"
)

func entry(change func(*journal.Record)) *journal.Entry {
	e := &journal.Entry{
		Record: journal.Record{
			Time:          time.Date(2026, 3, 14, 16, 9, 26, 535898123, time.FixedZone("", 3600)),
			CorrelationID: correlation(1), TraceID: strings.Repeat("ab", 16),
			Listener: "public", Service: "orders", Route: "GET /orders/{id}", Method: "GET",
			Client: netip.MustParseAddr("192.0.2.7"), Principal: "00000000-0000-4000-8000-000000000001",
			Reason: "ok", Status: 200, BytesIn: 1, BytesOut: 2, Duration: 1234567 * time.Nanosecond,
			Stages: []uint32{5, 6}, Tags: []string{"a", "b"},
		},
		Sequence: 42,
		Header:   &journal.Header{Zone: "shop.example", Stages: stages},
	}
	if change != nil {
		change(&e.Record)
	}
	return e
}

func TestJSON(t *testing.T) {
	const want = `{"time":"2026-03-14T15:09:26.535898Z","kind":"request","correlation_id":"3f2b8c1e-9d4a-4c7b-8e21-000000000001",` +
		`"trace_id":"abababababababababababababababab","zone":"shop.example","listener":"public","service":"orders","route":"GET /orders/{id}",` +
		`"method":"GET","client":"192.0.2.7","principal":"00000000-0000-4000-8000-000000000001","reason":"ok","status":200,"bytes_in":1,` +
		`"bytes_out":2,"duration_us":1234,"stages":{"accept":5,"route":6},"tags":["a","b"],"sequence":42}`
	if got := string(AppendJSON(nil, entry(nil))); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// The names that acceptance checks call are there even when nothing is known.
func TestJSONNamesAreAlwaysThere(t *testing.T) {
	empty := &journal.Entry{Header: &journal.Header{}}
	for _, e := range []*journal.Entry{entry(nil), empty} {
		var got map[string]any
		if err := json.Unmarshal(AppendJSON(nil, e), &got); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"time", "correlation_id", "trace_id", "listener", "service", "route", "method", "client", "principal", "reason", "status", "duration_us"} {
			if _, ok := got[name]; !ok {
				t.Errorf("%s is missing in %v", name, got)
			}
		}
	}
}

// hostile are texts that would mislead a reader of the log.
var hostile = []string{
	"two\nlines", "\r\x1b[2Jcleared", "\x1b]0;title\x07", "nul\x00", "delete\x7f", "next\u0085line", "csi\u009b2J",
	"line\u2028separator", "para\u2029graph", "right\u202eto left", "iso\u2066late", "mark\u200f", "joiner\u200d", "bom\ufeff",
	"tag\U000e0041", "private\ue000", "nbsp\u00a0here", "invalid\xff\xfe", "half\xe2\x82", `quote"`, `back\slash`, "<script>&", "é世界😀", "",
	"a b", "200 ok GET", "surrogate\xed\xa0\x80",
	"filler\u3164\uffa0\u115f", "blank\u2800", "selector\ufe0f\U000e0101", "joiner\u034f",
}

// No text breaks its line, steers a terminal or changes the direction of text,
// and JSON gives back what was recorded.
func TestHostileTexts(t *testing.T) {
	for _, s := range hostile {
		checkHostile(t, s)
	}
}

func checkHostile(t *testing.T, s string) {
	t.Helper()
	e := entry(func(r *journal.Record) {
		r.CorrelationID, r.TraceID, r.Listener, r.Service, r.Route, r.Method = s, s, s, s, s, s
		r.Principal, r.Reason, r.Tags = s, s, []string{s}
	})
	line := AppendJSON(nil, e)
	var got struct {
		CorrelationID string   `json:"correlation_id"`
		Route         string   `json:"route"`
		Tags          []string `json:"tags"`
	}
	if err := json.Unmarshal(line, &got); err != nil {
		t.Fatalf("%q: %s: %v", s, line, err)
	}
	var lib string // what encoding/json makes of bytes that are no UTF-8
	b, _ := json.Marshal(s)
	_ = json.Unmarshal(b, &lib)
	if got.CorrelationID != lib || got.Route != lib || !slices.Equal(got.Tags, []string{lib}) {
		t.Errorf("%q is read from JSON as %q, want %q", s, got.Route, lib)
	}
	text := AppendText(nil, e)
	for _, out := range [][]byte{line, text} {
		if i := bytes.IndexFunc(out, func(r rune) bool {
			return !unicode.IsPrint(r) || r == unicode.ReplacementChar || strings.ContainsRune("\u3164\uffa0\u115f\u2800\ufe0f\U000e0101\u034f", r)
		}); i >= 0 {
			t.Errorf("%q: byte %d of %q does not show as itself", s, i, out)
		}
	}
}

func FuzzRender(f *testing.F) {
	for _, s := range hostile {
		f.Add(s)
	}
	f.Fuzz(checkHostile)
}

func TestText(t *testing.T) {
	for _, c := range []struct {
		change func(*journal.Record)
		want   []string // words
	}{
		{nil, []string{"2026-03-14", "15:09:26.535", "200", "ok", "public", "orders", "GET", "/orders/{id}",
			"00000000-0000-4000-8000-000000000001", "192.0.2.7", "1.234567ms", correlation(1), "tag=a", "tag=b"}},
		{func(r *journal.Record) {
			*r = journal.Record{Kind: journal.KindMark, Time: r.Time, Method: "BREW", Tags: []string{"a b"}}
		}, []string{"2026-03-14", "15:09:26.535", "0", "-", "-", "-", "BREW", "-", "-", "0s", "-", "kind=mark", `tag="a`, `b"`}},
	} {
		got := strings.Fields(string(AppendText(nil, entry(c.change))))
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("got  %q\nwant %q", got, c.want)
		}
	}
}

func TestJSONNumbers(t *testing.T) {
	e := entry(func(r *journal.Record) {
		r.BytesOut, r.Duration, r.Stages = math.MaxInt64, math.MaxInt64, []uint32{1, 2, 3, 4}
	})
	var got struct {
		BytesOut int64             `json:"bytes_out"`
		Stages   map[string]uint32 `json:"stages"`
	}
	if err := json.Unmarshal(AppendJSON(nil, e), &got); err != nil || got.BytesOut != math.MaxInt64 || got.Stages["stage_3"] != 4 {
		t.Errorf("got %+v, %v", got, err)
	}
}
