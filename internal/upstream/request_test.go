package upstream

import (
	"slices"
	"strings"
	"testing"
)

// headOf writes the head and returns its lines, the first apart and the fields sorted.
func headOf(t *testing.T, r *Request) (first string, fields []string) {
	t.Helper()
	b, err := r.AppendHead(nil)
	if err != nil {
		t.Fatalf("AppendHead(%+v): %v", r, err)
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

func TestTargetIsByteForByte(t *testing.T) {
	for _, c := range []struct {
		path, query string
		hasQuery    bool
		want        string
	}{
		{"/", "", false, "/"},
		{"/", "", true, "/?"},
		{"/a/b", "x=1&y=2", true, "/a/b?x=1&y=2"},
		{"/a/", "", false, "/a/"},
		{"/a%20b", "", false, "/a%20b"},
		{"/a%2Fb", "", false, "/a%2Fb"},
		{"/%C3%A4", "q=%c3%a4", true, "/%C3%A4?q=%c3%a4"},
		{"/a:b@c!$&'()*+,=", "", false, "/a:b@c!$&'()*+,="},
		{"/a[1]", "a[]=1&b={}|^`\"<>", true, "/a[1]?a[]=1&b={}|^`\"<>"},
		{"/a", "?", true, "/a??"},
		{"/a", "b=//c/../d", true, "/a?b=//c/../d"},
		{"/http:x%2f..%2fadmin", "", false, "/http:x%2f..%2fadmin"},
	} {
		o := someRequest("GET", c.path)
		o.Query, o.HasQuery = c.query, c.hasQuery
		if first, _ := headOf(t, o); first != "GET "+c.want+" HTTP/1.1" {
			t.Errorf("path %q query %q (%v): %q, want target %q", c.path, c.query, c.hasQuery, first, c.want)
		}
	}
}

func TestTargetIsRefused(t *testing.T) {
	for _, c := range []struct{ path, query string }{
		{"", ""}, {"*", ""}, {"a", ""}, {"//a", ""}, {"http:x%2f..%2fadmin", ""}, {"http://other/", ""},
		{"/a b", ""}, {"/a\r\nX-User-Id: 1", ""}, {"/a\x00", ""}, {"/a\x7f", ""}, {"/ä", ""}, {"/a\\b", ""}, {"/a?b", ""}, {"/a#b", ""},
		{"/%", ""}, {"/%2", ""}, {"/%zz", ""}, {"/a%2gb", ""},
		{"/a", "x=1 HTTP/1.1\r\nX-User-Id: 1"}, {"/a", "x y"}, {"/a", "x#y"}, {"/a", "\x00"}, {"/a", "ä"},
	} {
		o := someRequest("GET", c.path)
		o.Query, o.HasQuery = c.query, c.query != ""
		if b, err := o.AppendHead(nil); err == nil {
			t.Errorf("path %q query %q: wrote %q, want an error", c.path, c.query, b)
		}
	}
}

func TestFieldsThatWouldSplit(t *testing.T) {
	for _, v := range []string{"a\r\nX-User-Id: root", "a\nb", "a\rb", "a\x00b", "a\x7fb"} {
		if b, err := AppendField(nil, "X-Custom", v); err == nil || len(b) > 0 {
			t.Errorf("value %q: wrote %q, want an error", v, b)
		}
		r := someRequest("GET", "/")
		r.Host = v
		if b, err := r.AppendHead(nil); err == nil {
			t.Errorf("host %q: wrote %q, want an error", v, b)
		}
	}
	if b, err := AppendField([]byte("A: b\r\n"), "X-Custom", "x\ty"); err != nil || string(b) != "A: b\r\nX-Custom: x\ty\r\n" {
		t.Errorf("positive control: %q, %v", b, err)
	}
}

func TestFraming(t *testing.T) {
	for _, c := range []struct {
		method string
		length int64
		want   string
	}{
		{"GET", 0, ""}, {"HEAD", 0, ""}, {"DELETE", 0, ""}, {"OPTIONS", 0, ""},
		{"POST", 0, "Content-Length: 0"}, {"PUT", 0, "Content-Length: 0"}, {"PATCH", 0, "Content-Length: 0"},
		{"POST", 7, "Content-Length: 7"}, {"GET", 7, "Content-Length: 7"},
		{"POST", -1, "Transfer-Encoding: chunked"}, {"DELETE", -1, "Transfer-Encoding: chunked"},
	} {
		r := someRequest(c.method, "/")
		if r.Length = c.length; c.length != 0 {
			r.Body = &testBody{}
		}
		_, got := headOf(t, r)
		want := []string{"Host: shop.example", "X-Custom: value"}
		if c.want != "" {
			want = append(want, c.want)
		}
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s with %d bytes:\n got %q\nwant %q", c.method, c.length, got, want)
		}
	}
}

func TestNominated(t *testing.T) {
	for _, c := range []struct {
		connection []string
		name       string
		want       bool
	}{
		{[]string{"close"}, "X-Custom", false},
		{[]string{"keep-alive, X-Custom"}, "X-Custom", true},
		{[]string{"keep-alive", "\tx-custom "}, "X-Custom", true},
		{[]string{"keep-alive,,x-custom,"}, "X-Custom", true},
		{[]string{"X-Customs"}, "X-Custom", false},
		{nil, "X-Custom", false},
	} {
		if got := Nominated(c.connection, c.name); got != c.want {
			t.Errorf("Nominated(%q, %q) = %v, want %v", c.connection, c.name, got, c.want)
		}
	}
}
