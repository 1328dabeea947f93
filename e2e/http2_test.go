package e2e

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// h2 is a connection on which a test writes frames itself.
type h2 struct {
	net.Conn
	framer *http2.Framer
	hpack  *hpack.Encoder
	buf    bytes.Buffer // of hpack
	next   uint32       // stream
	pause  time.Duration
}

func (z *zoned) dialH2(t testing.TB) *h2 {
	t.Helper()
	c, err := z.in(t).dialTLS("public", func(cfg *tls.Config) { cfg.NextProtos = []string{"h2"} })
	if err != nil {
		t.Fatal(err)
	}
	h := &h2{Conn: c, framer: http2.NewFramer(c, c), next: 1}
	h.hpack = hpack.NewEncoder(&h.buf)
	h.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := h.framer.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	return h
}

type field struct{ name, value string }

// block encodes a field section.
func (h *h2) block(fields []field) []byte {
	h.buf.Reset()
	for _, f := range fields {
		_ = h.hpack.WriteField(hpack.HeaderField{Name: f.name, Value: f.value}) // a buffer takes all
	}
	return bytes.Clone(h.buf.Bytes())
}

// ask opens a stream and returns what came of it: the status, or how the stream
// or the connection ended.
func (h *h2) ask(fields []field, body string) (status, body2 string) {
	id := h.next
	h.next += 2
	err := h.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: h.block(fields), EndHeaders: true, EndStream: body == ""})
	if err == nil && body != "" {
		time.Sleep(h.pause) // whoever does not wait for the body has the time to show it
		err = h.framer.WriteData(id, true, []byte(body))
	}
	if err != nil {
		return "closed", ""
	}
	return h.await(id)
}

// await reads frames until a stream ends.
func (h *h2) await(id uint32) (status, body string) {
	for {
		f, err := h.framer.ReadFrame()
		if err != nil {
			return "closed", body
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			if f.StreamID == id {
				status = f.PseudoValue("status")
			}
		case *http2.DataFrame:
			body += string(f.Data())
		case *http2.RSTStreamFrame:
			if f.StreamID == id {
				return "reset", body
			}
		case *http2.GoAwayFrame:
			if f.LastStreamID < id {
				return "goaway", body
			}
		case *http2.SettingsFrame:
			if !f.IsAck() {
				_ = h.framer.WriteSettingsAck() // a dead connection fails the next read
			}
		}
		if e, ok := f.(interface{ StreamEnded() bool }); ok && e.StreamEnded() && f.Header().StreamID == id {
			return status, body
		}
	}
}

// usual is a good request's head.
func usual(method, path, id string, more ...field) []field {
	return append([]field{{":method", method}, {":scheme", "https"}, {":authority", "localhost"}, {":path", path}, {"x-correlation-id", id}}, more...)
}

// TestHTTP2Messages: malformed and deceptive messages of HTTP/2 are refused, or
// the service received what was judged.
func TestHTTP2Messages(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, nil)
	z := startZone(t, trapsMap, map[string]string{"plain": up.address})
	const word = "forged"
	without := func(name, id string) (list []field) {
		for _, f := range usual("GET", "/open", id) {
			if f.name != name {
				list = append(list, f)
			}
		}
		return list
	}
	set := func(name, value, id string) []field { return append([]field{{name, value}}, without(name, id)...) }
	for _, s := range []struct {
		name   string
		fields func(id string) []field
		body   string
		passes bool // else it must be refused
	}{
		{"good", func(id string) []field { return usual("GET", "/open", id) }, "", true},
		{"good with body", func(id string) []field { return usual("POST", "/open", id, field{"content-length", "5"}) }, "hello", true},
		{"good with Host", func(id string) []field { return usual("GET", "/open", id, field{"host", "localhost"}) }, "", true},
		{"inside names", func(id string) []field {
			return usual("GET", "/open", id, field{"txn-token", word}, field{"x-user-id", word}, field{"sallyport-client", word}, field{"x-caller", word})
		}, "", true},
		{"cookies apart", func(id string) []field {
			return usual("GET", "/open", id, field{"cookie", "a=1"}, field{"cookie", "b=2"})
		}, "", true},
		{"te: trailers", func(id string) []field { return usual("GET", "/open", id, field{"te", "trailers"}) }, "", true},
		{"another Host", func(id string) []field { return usual("GET", "/open", id, field{"host", "evil.example"}) }, "", false},
		{"two Hosts", func(id string) []field {
			return usual("GET", "/open", id, field{"host", "localhost"}, field{"host", "evil.example"})
		}, "", false},
		{"upper case name", func(id string) []field { return usual("GET", "/open", id, field{"X-Upper", "a"}) }, "", false},
		{"underscore", func(id string) []field { return usual("GET", "/open", id, field{"x_user_id", word}) }, "", false},
		{"dot", func(id string) []field { return usual("GET", "/open", id, field{"x.user.id", word}) }, "", false},
		{"empty name", func(id string) []field { return usual("GET", "/open", id, field{"", word}) }, "", false},
		{"name with space", func(id string) []field { return usual("GET", "/open", id, field{"x-user-id ", word}) }, "", false},
		{"name with colon", func(id string) []field { return usual("GET", "/open", id, field{"x-user-id: a", word}) }, "", false},
		{"name with line end", func(id string) []field { return usual("GET", "/open", id, field{"x\r\nx-user-id", word}) }, "", false},
		{"value with line end", func(id string) []field { return usual("GET", "/open", id, field{"x", "a\r\nX-User-Id: " + word}) }, "", false},
		{"value with LF", func(id string) []field { return usual("GET", "/open", id, field{"x", "a\nX-User-Id: " + word}) }, "", false},
		{"value with NUL", func(id string) []field { return usual("GET", "/open", id, field{"x", "a\x00b"}) }, "", false},
		{"connection", func(id string) []field { return usual("GET", "/open", id, field{"connection", "txn-token"}) }, "", false},
		{"keep-alive", func(id string) []field { return usual("GET", "/open", id, field{"keep-alive", "1"}) }, "", false},
		{"transfer-encoding", func(id string) []field { return usual("POST", "/open", id, field{"transfer-encoding", "chunked"}) }, "0\r\n\r\n" + smuggled, false},
		{"upgrade", func(id string) []field { return usual("GET", "/open", id, field{"upgrade", "h2c"}) }, "", false},
		{"te: gzip", func(id string) []field { return usual("GET", "/open", id, field{"te", "gzip"}) }, "", false},
		{"length too short", func(id string) []field { return usual("POST", "/open", id, field{"content-length", "0"}) }, smuggled, false},
		{"length too long", func(id string) []field { return usual("POST", "/open", id, field{"content-length", "500"}) }, "hello", false},
		{"two lengths", func(id string) []field {
			return usual("POST", "/open", id, field{"content-length", "5"}, field{"content-length", "0"})
		}, "hello", false},
		{"length with sign", func(id string) []field { return usual("POST", "/open", id, field{"content-length", "+5"}) }, "hello", false},
		{"no :path", func(id string) []field { return without(":path", id) }, "", false},
		{"no :method", func(id string) []field { return without(":method", id) }, "", false},
		{"no :scheme", func(id string) []field { return without(":scheme", id) }, "", false},
		{"no :authority", func(id string) []field { return without(":authority", id) }, "", false},
		{":path twice", func(id string) []field { return append([]field{{":path", "/open"}}, usual("GET", "/admin/x", id)...) }, "", false},
		{":path behind fields", func(id string) []field { return append(without(":path", id), field{":path", "/open"}) }, "", false},
		{"unknown pseudo field", func(id string) []field { return append([]field{{":x", "a"}}, usual("GET", "/open", id)...) }, "", false},
		{":status", func(id string) []field { return append([]field{{":status", "200"}}, usual("GET", "/open", id)...) }, "", false},
		{":path empty", func(id string) []field { return set(":path", "", id) }, "", false},
		{":path *", func(id string) []field { return set(":path", "*", id) }, "", false},
		{":path without slash", func(id string) []field { return set(":path", "open", id) }, "", false},
		{":path absolute", func(id string) []field { return set(":path", "https://evil.example/open", id) }, "", false},
		{":path opaque", func(id string) []field { return set(":path", "http:x%2f..%2fadmin", id) }, "", false},
		{":path with space", func(id string) []field { return set(":path", "/open HTTP/1.1", id) }, "", false},
		{":path with line end", func(id string) []field {
			return set(":path", "/open HTTP/1.1\r\nX-User-Id: "+word+"\r\nX: y", id)
		}, "", false},
		{":path //", func(id string) []field { return set(":path", "//open", id) }, "", false},
		{":path dots", func(id string) []field { return set(":path", "/files/../admin/x", id) }, "", false},
		{":path fragment", func(id string) []field { return set(":path", "/open#x", id) }, "", false},
		{":method with space", func(id string) []field { return set(":method", "GET /admin HTTP/1.1\r\nX: y", id) }, "", false},
		{":method CONNECT", func(id string) []field {
			return []field{{":method", "CONNECT"}, {":authority", "localhost:443"}, {"x-correlation-id", id}}
		}, "", false},
		{"extended CONNECT", func(id string) []field {
			return append([]field{{":protocol", "websocket"}}, set(":method", "CONNECT", id)...)
		}, "", false},
		{":authority of another", func(id string) []field { return set(":authority", "evil.example", id) }, "", false},
		{":authority with userinfo", func(id string) []field { return set(":authority", "evil.example@localhost", id) }, "", false},
		{":authority with path", func(id string) []field { return set(":authority", "localhost/admin", id) }, "", false},
		{":authority with line end", func(id string) []field { return set(":authority", "localhost\r\nX-User-Id: "+word, id) }, "", false},
		{"large section", func(id string) []field { return usual("GET", "/open", id, field{"x", strings.Repeat("a", 60<<10)}) }, "", false},
		{"many fields", func(id string) []field {
			list := usual("GET", "/open", id)
			for i := range 300 {
				list = append(list, field{fmt.Sprint("x-", i), "a"})
			}
			return list
		}, "", false},
	} {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			id := newID()
			c := z.dialH2(t)
			c.framer.AllowIllegalWrites = true
			if !s.passes {
				c.pause = 50 * time.Millisecond
			}
			status, _ := c.ask(s.fields(id), s.body)
			for tries := 0; s.passes && status == "closed" && tries < 10; tries++ { // the server waits 2 s for the first frame
				id, c = newID(), z.dialH2(t)
				c.framer.AllowIllegalWrites = true
				status, _ = c.ask(s.fields(id), s.body)
			}
			var in []received
			for _, r := range up.all() {
				if strings.Contains(r.Raw, id) {
					in = append(in, r)
				}
			}
			for _, r := range in {
				if strings.Contains(r.Raw, word) || r.Err != nil && s.passes {
					t.Errorf("the service got %s", r)
				}
			}
			switch {
			case s.passes && (status != "200" || len(in) != 1 || in[0].Body != s.body):
				t.Errorf("%s, the service got %v; want it through", status, in)
			case !s.passes && (status == "200" || !strings.HasPrefix(status, "4") && len(status) == 3):
				t.Errorf("%s; want 4xx, a reset or the end of the connection", status)
			case !s.passes && len(in) > 0 && in[0].Err == nil:
				t.Errorf("%s, and the service got %v", status, in)
			}
		})
	}
}
