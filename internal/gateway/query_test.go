package gateway

import (
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"
)

var queryCases = []struct {
	query string
	ok    bool
}{
	{"", true}, {"a=1", true}, {"a=1&b=2", true}, {"a", true}, {"a=&b", true}, {"&&", true},
	{"filter[name]=x", true}, {"q=a+b%20c", true}, {"u=https://shop.example/x?y", true}, {"u=https%3A%2F%2Fx%252Fy%3Fz", true},
	{"t=line%0D%0Aline%09tab", true}, {"q=caf%C3%A9", true}, {"a=b%3Bc", true}, {"a=%26&b=%3d", true}, {"%41=%2e", true},

	{"a=1;b=2", false}, {";", false}, // some split here, net/url drops the pair
	{"a=%", false}, {"a=%2", false}, {"a=%zz", false}, {"%", false},
	{"a=%00", false}, {"a=%1b", false}, {"a=%7F", false},
	{"a=%ff", false}, {"a=%c0%ae", false}, {"a=%C3", false}, {"a=caf\xc3\xa9", false},
	{"a=b c", false}, {"a=\t", false}, {`a="b"`, false}, {"a=<b>", false}, {"a={b}", false}, {"a=b|c", false}, {`a=\`, false}, {"a=^", false}, {"a=`", false},
	{"a#b", false}, {"a=\x00", false}, {"a=\r\nb", false},
}

func TestCheckQuery(t *testing.T) {
	for _, c := range queryCases {
		if got := checkQuery(c.query); got != c.ok {
			t.Errorf("checkQuery(%q) = %v, want %v", c.query, got, c.ok)
		}
	}
	many := strings.Repeat("a=1&", maxPairs-1) + "a=1"
	if !checkQuery(many) {
		t.Errorf("a query of %d pairs was refused", maxPairs)
	}
	if checkQuery(many + "&a=1") {
		t.Errorf("a query of %d pairs was accepted", maxPairs+1)
	}
}

// FuzzCheckQuery: what is accepted is parsed by net/url without an error and
// without losing a pair, and every value is text.
func FuzzCheckQuery(f *testing.F) {
	for _, c := range queryCases {
		f.Add(c.query)
	}
	f.Fuzz(func(t *testing.T, q string) {
		if !checkQuery(q) {
			return
		}
		values, err := url.ParseQuery(q)
		if err != nil {
			t.Fatalf("accepted %q: %v", q, err)
		}
		want, got := 0, 0
		for pair := range strings.SplitSeq(q, "&") {
			if pair != "" {
				want++
			}
		}
		for name, vs := range values {
			got += len(vs)
			for _, v := range append(vs, name) {
				if !utf8.ValidString(v) || strings.Contains(v, "\x00") {
					t.Errorf("accepted %q with the text %q", q, v)
				}
			}
		}
		if got != want {
			t.Errorf("accepted %q: %d pairs were sent, %d are read", q, want, got)
		}
		u, err := url.ParseRequestURI("/?" + q)
		if err != nil || u.RawQuery != q || u.RequestURI() != "/?"+q {
			t.Errorf("accepted %q, which net/url sends on as %q, %v", q, u.RequestURI(), err)
		}
	})
}
