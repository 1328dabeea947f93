package gateway

import (
	"net/url"
	"path"
	"strings"
	"testing"
	"unicode/utf8"
)

// pathCases are the spellings of research and of the advisories it names, each
// with what becomes of it.
var pathCases = []struct {
	path string
	ok   bool
}{
	// What ordinary clients send.
	{"/", true},
	{"/a", true},
	{"/a/", true},
	{"/a/b-c_d.e~f", true},
	{"/a/...b/.hidden/x..y/c.", true},
	{"/sub!$&'()*+,=:@delims", true},
	{"/caf%C3%A9/%E6%97%A5%E6%9C%AC", true},
	{"/caf%c3%a9", true}, // lower-case hexadecimal digits
	{"/a%20b/%40me/50%25", true},
	{"/a%3Fb%23c/%22q%22/%5Bx%5D/%7Bid%7D/%7C%5E%60%3C%3E", true},
	{"/a%2Cb%3Ac%2Bd%21", true}, // reserved characters, encoded by cautious clients
	{"/100%25zz", true},
	{"/%E7%AC%AC%EF%BC%91%EF%BC%8Etxt", true}, // a fullwidth dot within a name

	// Not a path.
	{"", false}, {"a", false}, {"*", false}, {"http://x/", false}, {"http:x%2f..%2fadmin", false},

	// Dot segments, in every spelling.
	{"/.", false}, {"/..", false}, {"/./a", false}, {"/a/../b", false}, {"/a/..", false}, {"/a/.", false}, {"/a/./", false},
	{"/%2e%2e/a", false}, {"/%2E./a", false}, {"/.%2e/a", false}, {"/a/%2e", false}, {"/...", false}, {"/a/..%20/b", false},
	{"/a/%20/b", false}, {"/a/%EF%BC%8E%EF%BC%8E/b", false}, {"/a/%E2%80%A4%E2%80%A4/b", false}, {"/a/%E2%80%A5/b", false},
	{"/a/%C2%A0/b", false}, {"/a/%EF%B8%B0/b", false}, {"/a/%EF%B8%99/b", false}, {"/a/..%E2%80%83/b", false}, {"/a/%E2%80%AF/b", false}, {"/a/%E2%81%9F/b", false},
	{"/a/%EF%B8%B0b", true}, {"/a/x%E2%80%83y", true}, // within a name they are harmless

	// Empty segments.
	{"//", false}, {"//a", false}, {"/a//b", false}, {"/a//", false},

	// Separators that are none, or to some.
	{`/a\b`, false}, {"/a%5Cb", false}, {"/a%5cb", false}, {"/a;b", false}, {"/a;x=1/b", false}, {"/..;/b", false}, {"/a%3Bb", false}, {"/a%3bb", false},
	{"/a%EF%BC%8Fb", false}, {"/a%E2%81%84b", false}, {"/a%E2%88%95b", false}, {"/a%EF%BC%BCb", false}, {"/a%C2%A5b", false},

	// Control characters.
	{"/a\x00b", false}, {"/a%00b", false}, {"/a%0ab", false}, {"/a%0D%0Ab", false}, {"/a%7Fb", false}, {"/a\tb", false}, {"/a b", false}, {"/a%C2%85b", false},

	// Encodings: broken, needless, double.
	{"/a%", false}, {"/a%2", false}, {"/a%zz", false}, {"/%u002e%u002e/a", false}, {"/%41dmin", false}, {"/%61", false}, {"/%7Euser", false}, {"/%2D", false},
	{"/%252e%252e/a", false}, {"/a%252fb", false}, {"/a%25%32%66b", false}, {"/a%2541", false}, {"/a%25u002f", false}, {"/a%25252e", false},

	// Not UTF-8: overlong forms, surrogates, stray and missing continuation bytes, beyond Unicode; and raw non-ASCII.
	{"/%c0%ae%c0%ae/a", false}, {"/%c0%af", false}, {"/%e0%80%af", false}, {"/%f0%80%80%af", false}, {"/%ED%A0%80", false}, {"/%80", false}, {"/%C3", false},
	{"/%C3A", false}, {"/%C3/%A9", false}, {"/%F4%90%80%80", false}, {"/%FF", false}, {"/caf\xc3\xa9", false}, {"/caf\xe9", false},

	// Raw characters that have no place in a path.
	{"/a?b", false}, {"/a#b", false}, {"/{id}", false}, {"/a|b", false}, {"/a^b", false}, {"/a`b", false}, {`/a"b`, false}, {"/<a>", false}, {"/[x]", false}, {"/\xff", false},
}

func TestCheckPath(t *testing.T) {
	for _, c := range pathCases {
		slash, ok := checkPath(c.path)
		if ok != c.ok || slash {
			t.Errorf("checkPath(%q) = slash %v, ok %v; want false, %v", c.path, slash, ok, c.ok)
		}
	}
}

func TestCheckPathEncodedSlash(t *testing.T) {
	for _, c := range []struct {
		path      string
		slash, ok bool
	}{
		{"/a%2Fb", true, true}, {"/a%2fb/c", true, true}, {"/a%2F", true, true},
		{"/a/b", false, true}, // the twin without
		{"/a%2F..%2Fb", true, false}, {"/a%2f%2e%2e%2fb", true, false}, {"/%2Fa", true, false}, {"/a%2F%2Fb", true, false}, {"/a/%2Fb", true, false},
		{"/a%2F/b", true, false}, {"/..%2Fb", true, false}, {"/a%2F.", true, false},
	} {
		slash, ok := checkPath(c.path)
		if ok != c.ok || ok && slash != c.slash {
			t.Errorf("checkPath(%q) = slash %v, ok %v; want %v, %v", c.path, slash, ok, c.slash, c.ok)
		}
	}
}

// FuzzCheckPath holds the rule to its promise: what it accepts is read alike by
// whoever decodes and cleans it, once or twice.
func FuzzCheckPath(f *testing.F) {
	for _, c := range pathCases {
		f.Add(c.path)
	}
	f.Add("/a%2F..%2Fb")
	f.Add("/a%2Fb%25/c")
	f.Fuzz(func(t *testing.T, p string) {
		slash, ok := checkPath(p)
		if !ok {
			return
		}
		u, err := url.ParseRequestURI(p)
		if err != nil || u.Opaque != "" || u.Host != "" || u.RawQuery != "" {
			t.Fatalf("accepted %q, which net/url reads as %#v, %v", p, u, err)
		}
		if got := u.EscapedPath(); got != p {
			t.Errorf("accepted %q, which net/url sends on as %q", p, got)
		}
		once, err := url.PathUnescape(p)
		if err != nil {
			t.Fatalf("accepted %q: %v", p, err)
		}
		if clean := path.Clean(once); clean != once && clean+"/" != once {
			t.Errorf("accepted %q: it decodes to %q and means %q", p, once, clean)
		}
		if slash != strings.Contains(strings.ToUpper(p), "%2F") {
			t.Errorf("checkPath(%q) says %v of an encoded slash", p, slash)
		}
		if twice, err := url.PathUnescape(once); err == nil && twice != once {
			t.Errorf("accepted %q: a second decoding makes %q of %q", p, twice, once)
		}
		if !utf8.ValidString(once) || strings.ContainsAny(once, "\x00\\;") {
			t.Errorf("accepted %q: it decodes to %q", p, once)
		}
		for i := range len(p) {
			if p[i] <= ' ' || p[i] >= 0x7f {
				t.Errorf("accepted %q with the raw byte %#x", p, p[i])
			}
		}
	})
}
