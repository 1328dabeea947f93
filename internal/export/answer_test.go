package export

import (
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// partial is an answer that tells of rejected items.
func partial(rejected int64, said string) []byte {
	var part []byte
	part = protowire.AppendTag(part, 1, protowire.VarintType)
	part = protowire.AppendVarint(part, uint64(rejected))
	part = protowire.AppendTag(part, 2, protowire.BytesType)
	part = protowire.AppendString(part, said)
	b := protowire.AppendTag(nil, 1, protowire.BytesType)
	return protowire.AppendBytes(b, part)
}

func TestJudge(t *testing.T) {
	t.Parallel()
	proto := http.Header{"Content-Type": {mediaProtobuf}}
	rpc := protowire.AppendString(protowire.AppendTag(protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 3), 2, protowire.BytesType), "no such field")
	for _, c := range []struct {
		name     string
		status   int
		header   http.Header
		body     []byte
		verdict  verdict
		rejected int64
		said     string
		asked    time.Duration
	}{
		{"empty", 200, nil, nil, taken, 0, "", 0},
		{"no content", 204, nil, nil, taken, 0, "", 0},
		{"accepted", 202, proto, nil, taken, 0, "", 0},
		{"partial", 200, proto, partial(3, "too old"), taken, 3, "too old", 0},
		{"a remark", 200, proto, partial(0, "soon gone"), taken, 0, "soon gone", 0},
		{"not understood", 200, proto, []byte{0xff}, taken, 0, "(an answer that is not understood)", 0},
		{"JSON", 200, http.Header{"Content-Type": {"application/json"}}, []byte("{}"), taken, 0, "(an answer that is not understood)", 0},
		{"too long", 200, proto, make([]byte, maxAnswer+1), taken, 0, "(an answer that is not understood)", 0},
		{"web page", 200, http.Header{"Content-Type": {"text/html"}}, []byte("<html>"), again, 0, "", 0},
		{"busy", 429, http.Header{"Retry-After": {"7"}}, nil, again, 0, "", 7 * time.Second},
		{"busy until", 503, http.Header{"Retry-After": {start.Add(time.Minute).Format(http.TimeFormat)}}, nil, again, 0, "", time.Minute},
		{"busy until then", 503, http.Header{"Retry-After": {start.Add(-time.Minute).Format(http.TimeFormat)}}, nil, again, 0, "", 0},
		{"busy and odd", 503, http.Header{"Retry-After": {"-1"}}, nil, again, 0, "", 0},
		{"502", 502, nil, nil, again, 0, "", 0},
		{"504", 504, nil, nil, again, 0, "", 0},
		{"400 with a status", 400, proto, rpc, refused, 0, "no such field", 0},
		{"500", 500, nil, nil, refused, 0, "", 0},
		{"413 of a proxy", 413, http.Header{"Content-Type": {"text/html"}}, []byte("<html>"), refused, 0, "", 0},
		{"redirect", 308, nil, nil, again, 0, "", 0},
		{"to a login page", 302, http.Header{"Content-Type": {"text/html"}, "Location": {"/login"}}, []byte("<html>"), again, 0, "", 0},
	} {
		got := judge(c.status, c.header, c.body, start)
		if got.verdict != c.verdict || got.rejected != c.rejected || got.said != c.said || got.asked != c.asked {
			t.Errorf("%s: %+v, want verdict %d, %d rejected, said %q, asked %v", c.name, got, c.verdict, c.rejected, c.said, c.asked)
		}
		if (got.err == nil) != (c.verdict == taken) {
			t.Errorf("%s: error %v with verdict %d", c.name, got.err, got.verdict)
		}
	}
}

func TestWait(t *testing.T) {
	t.Parallel()
	p := defaultPace()
	for _, c := range []struct {
		failed    int
		asked     time.Duration
		low, high time.Duration
	}{
		{0, 0, 500 * time.Millisecond, time.Second}, {3, 0, 4 * time.Second, 8 * time.Second},
		{5, 0, 15 * time.Second, 30 * time.Second}, {1 << 30, 0, 15 * time.Second, 30 * time.Second},
		{0, time.Minute, time.Minute, 61 * time.Second}, {0, 1 << 30 * time.Second, 5 * time.Minute, 301 * time.Second},
	} {
		for range 100 {
			if got := p.wait(c.failed, c.asked); got < c.low || got > c.high {
				t.Errorf("after %d failures, asked %v: %v, want %v to %v", c.failed, c.asked, got, c.low, c.high)
			}
		}
	}
}

// The answer comes from outside: whatever it is, it is read or refused, its
// text is bounded and whole, and what we write we read.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte{})
	f.Add(partial(1, "one"))
	f.Add(partial(-1, strings.Repeat("ä", 500)))
	f.Add(append(partial(5, "a"), partial(6, "b")...))
	f.Add([]byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Add([]byte{0x0a, 0x02, 0x08, 0x80})
	f.Add([]byte{0x12, 0x00, 0x0b, 0x0c})
	f.Fuzz(func(t *testing.T, b []byte) {
		rejected, said, err := parseAnswer(b)
		if err != nil && (rejected != 0 || said != "") {
			t.Errorf("%x: an error with %d and %q", b, rejected, said)
		}
		if len(said) > maxSaid+len("…") || !utf8.ValidString(said) {
			t.Errorf("%x: said %q", b, said)
		}
		if err != nil {
			return
		}
		again, same, err := parseAnswer(partial(rejected, said))
		if err != nil || again != rejected || same != said && len(said) <= maxSaid {
			t.Errorf("%x: %d %q came back as %d %q, %v", b, rejected, said, again, same, err)
		}
	})
}
