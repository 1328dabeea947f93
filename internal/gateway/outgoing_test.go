package gateway

import (
	"bufio"
	"bytes"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/upstream"
)

const testCorrelation = "7d3f2c1e-8a4b-4c5d-9e6f-0a1b2c3d4e5f"

// someOutgoing is a request that is in order.
func someOutgoing(method, path string) *outgoing {
	o := &outgoing{
		Request: upstream.Request{Method: method, Path: path, Host: "shop.example", Client: netip.MustParseAddr("203.0.113.7")},
		inside:  "inside.token.value", correlation: testCorrelation,
		trace:  obs.Trace{ID: [16]byte{1, 2, 3}, Span: [8]byte{4, 5, 6}},
		client: `"203.0.113.7";listener=public`,
	}
	o.Fields = o
	return o
}

// headOf writes the head and returns its lines, the first apart and the fields sorted.
func headOf(t *testing.T, o *outgoing) (first string, fields []string) {
	t.Helper()
	b, err := o.AppendHead(nil)
	if err != nil {
		t.Fatalf("AppendHead(%+v): %v", o, err)
	}
	head, found := strings.CutSuffix(string(b), "\r\n")
	if !found || strings.Contains(head, "\r\n\r\n") {
		t.Fatalf("head %q ends early or not at all", b)
	}
	lines := strings.Split(head, "\r\n")
	fields = lines[1:]
	slices.Sort(fields)
	return lines[0], fields
}

// ours are the fields that every request carries.
var ours = []string{
	"Host: shop.example",
	`Sallyport-Client: "203.0.113.7";listener=public`,
	"Traceparent: 00-01020300000000000000000000000000-0405060000000000-01",
	"Txn-Token: inside.token.value",
	"X-Correlation-Id: " + testCorrelation,
}

func TestFieldsInward(t *testing.T) {
	for _, c := range []struct {
		name     string
		received http.Header
		want     []string // beside ours
	}{
		{"nothing is invented", nil, nil},
		{"ordinary fields pass as they came", http.Header{
			"Accept": {"a/b", "c/d"}, "User-Agent": {"x  y\tz"}, "X-Empty": {""}, "X-Latin": {"caf\xe9"},
		}, []string{"Accept: a/b", "Accept: c/d", "User-Agent: x  y\tz", "X-Empty: ", "X-Latin: caf\xe9"}},
		{"inside names are dropped", http.Header{
			"Txn-Token": {"forged"}, "txn-token": {"forged"}, "X-User-Id": {"root"}, "X-USER-ROLES": {"admin"}, "X_user_id": {"root"},
			"X.user.id": {"root"}, "X-Correlation-Id": {"other"}, "Sallyport-Client": {`"10.0.0.1";listener=internal`}, "Accept": {"*/*"},
		}, []string{"Accept: */*"}},
		{"credentials are dropped", http.Header{
			"Authorization": {"Bearer sps_x"}, "X-Api-Key": {"spk_x"}, "Cookie": {"__Host-session=sps_x; theme=dark", "__Host-session=y"},
		}, []string{"Cookie: theme=dark"}},
		{"Connection and what it names are dropped", http.Header{
			"Connection": {"keep-alive, X-Internal"}, "X-Internal": {"1"}, "Keep-Alive": {"timeout=5"}, "X-Other": {"1"},
		}, []string{"X-Other: 1"}},
		{"Connection cannot name our own", http.Header{
			"Connection": {"X-Correlation-Id, Txn-Token, Traceparent, Sallyport-Client, Host"},
		}, nil},
		{"upgrades and codings are dropped", http.Header{
			"Connection": {"Upgrade, HTTP2-Settings"}, "Upgrade": {"h2c"}, "Http2-Settings": {"AAMAAABkAARAAAAAAAIAAAAA"},
			"Transfer-Encoding": {"chunked"}, "Te": {"trailers"}, "Trailer": {"X-T"}, "Expect": {"100-continue"}, "Content-Length": {"5"},
		}, nil},
	} {
		o := someOutgoing("GET", "/")
		o.received = c.received
		_, got := headOf(t, o)
		want := append(slices.Clone(ours), c.want...)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: received %q\n got %q\nwant %q", c.name, c.received, got, want)
		}
	}
}

func TestFieldsThatWouldSplit(t *testing.T) {
	for _, v := range []string{"a\r\nX-User-Id: root", "a\nb", "a\rb", "a\x00b", "a\x7fb"} {
		for _, change := range []func(*outgoing){
			func(o *outgoing) { o.received = http.Header{"X-Custom": {v}} },
			func(o *outgoing) { o.received = http.Header{"Cookie": {v}} },
			func(o *outgoing) { o.Host = v },
			func(o *outgoing) { o.inside = v },
			func(o *outgoing) { o.plain = &policy.Principal{Kind: policy.User, Subject: v} },
			func(o *outgoing) { o.plain = &policy.Principal{Kind: policy.User, Roles: []string{"a", v}} },
		} {
			o := someOutgoing("GET", "/")
			change(o)
			if b, err := o.AppendHead(nil); err == nil {
				t.Errorf("value %q: wrote %q, want an error", v, b)
			}
		}
	}
}

func TestPlainHeaders(t *testing.T) {
	for _, c := range []struct {
		name string
		p    *policy.Principal
		want []string
	}{
		{"not declared", nil, nil},
		{"anonymous is nobody", &policy.Principal{Kind: policy.Anonymous, Subject: policy.AnonymousSubject}, nil},
		{"a user", &policy.Principal{Kind: policy.User, Subject: "u1", Roles: []string{"admin", "support"}},
			[]string{"X-User-Id: u1", "X-User-Roles: admin,support"}},
		{"a key", &policy.Principal{Kind: policy.Key, Subject: "key_k1", Scopes: []string{"orders.read", "orders.write"}, Client: "k1"},
			[]string{"X-Client-Id: k1", "X-User-Id: key_k1", "X-User-Scopes: orders.read,orders.write"}},
	} {
		o := someOutgoing("GET", "/")
		o.plain = c.p
		o.received = http.Header{"X-User-Id": {"root"}, "X-Client-Id": {"root"}} // forged, whatever is declared
		_, got := headOf(t, o)
		want := append(slices.Clone(ours), c.want...)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s:\n got %q\nwant %q", c.name, got, want)
		}
	}
}

// FuzzAppendHead: whatever a client sends, what is written is one request that
// net/http reads back as the one that was judged, or nothing.
func FuzzAppendHead(f *testing.F) {
	f.Add("/a/b", "x=1", "X-Custom", "value", "close, X-Custom", "a=1; __Host-session=x")
	f.Add("/a\r\nGET /b", "", "X-User-Id", "root\r\n\r\nGET /admin HTTP/1.1", "", "")
	f.Add("/%", "0", "", "", "", "0")
	f.Add("//evil", "a b", "Transfer_Encoding", "chunked", "Txn-Token", "=;")
	f.Fuzz(func(t *testing.T, path, query, name, value, connection, cookie string) {
		o := someOutgoing("GET", path)
		o.Query, o.HasQuery = query, query != ""
		o.received = http.Header{name: {value}, "Connection": {connection}, "Cookie": {cookie}, "X-User-Id": {"root"}}
		b, err := o.AppendHead(nil)
		if err != nil {
			return
		}
		r := bufio.NewReader(bytes.NewReader(append(b, "\r\n"...)))
		got, err := http.ReadRequest(r)
		if err != nil {
			t.Fatalf("net/http does not read %q: %v", b, err)
		}
		target := path
		if o.HasQuery {
			target += "?" + query
		}
		if got.RequestURI != target || got.Host != "shop.example" || got.Method != "GET" {
			t.Errorf("%q is read as %s %s of %s", b, got.Method, got.RequestURI, got.Host)
		}
		if got.ContentLength != 0 || got.TransferEncoding != nil || r.Buffered() != 0 {
			t.Errorf("%q is read with a body", b)
		}
		if tokens := got.Header["Txn-Token"]; len(tokens) != 1 || tokens[0] != "inside.token.value" || got.Header["X-User-Id"] != nil || got.Header["Connection"] != nil {
			t.Errorf("%q is read with fields %q", b, got.Header)
		}
	})
}

func BenchmarkAppendHead(b *testing.B) {
	o := someOutgoing("GET", "/products/4711")
	o.inside = strings.Repeat("t", 600)
	o.received = http.Header{
		"Accept": {"application/json"}, "Accept-Encoding": {"gzip"}, "User-Agent": {"Mozilla/5.0 (X11; Linux x86_64)"},
		"Authorization": {"Bearer sps_" + strings.Repeat("x", 43)}, "Cookie": {"theme=dark; lang=de"}, "Content-Type": {"application/json"},
	}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if buf, err = o.AppendHead(buf[:0]); err != nil {
			b.Fatal(err)
		}
	}
}
