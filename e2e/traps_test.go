package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"testing"
)

const trapsMap = head + `
services:
  plain:
    upstream: http://@plain@
    routes:
      GET /open: anonymous
      POST /open: anonymous
      GET /products/{id}: anonymous
      GET /files/{rest...}: anonymous
      GET /slash/{id}: {allow: anonymous, paths: encoded-slash}
      GET /dir/: anonymous
      GET /admin/{rest...}: {allow: user, roles: [admin]}
      POST /admin/{rest...}: {allow: user, roles: [admin]}
`

// trapsMux is http.ServeMux with the same routes: an independent reader of what the
// service received.
func trapsMux() *http.ServeMux {
	mux := http.NewServeMux()
	for _, p := range []string{"GET /open", "POST /open", "GET /products/{id}", "GET /files/{rest...}", "GET /slash/{id}", "GET /dir/", "GET /admin/{rest...}", "POST /admin/{rest...}"} {
		mux.HandleFunc(p, func(http.ResponseWriter, *http.Request) {})
	}
	return mux
}

// lenient reads a target as the most careless service would: decodes until
// nothing changes, takes backslashes for slashes, drops parameters, resolves dots.
func lenient(target string) string {
	p, _, _ := strings.Cut(target, "?")
	for range 5 {
		if d, err := url.PathUnescape(p); err == nil {
			p = d
		}
	}
	p = strings.NewReplacer("\\", "/", "\u2215", "/", "\u2044", "/", "\uff0f", "/", "\uff0e", ".", "\u2024", ".").Replace(p)
	segments := strings.Split(p, "/")
	for i, s := range segments {
		s, _, _ = strings.Cut(s, ";")
		segments[i] = strings.Trim(s, " .\x00\t")
		if strings.Trim(s, " \x00\t") == ".." {
			segments[i] = ".."
		}
	}
	return strings.ToLower(path.Clean("/" + strings.Join(segments, "/")))
}

// get is a request line with the usual head, for a raw connection.
func get(target string, lines ...string) string { return rawRequest("GET", target, "", lines...) }

// rawRequest writes a request; ID becomes its correlation id.
func rawRequest(method, target, body string, lines ...string) string {
	head := method + " " + target + " HTTP/1.1\r\nHost: localhost\r\nX-Correlation-Id: ID\r\nConnection: close\r\n"
	for _, l := range lines {
		head += l + "\r\n"
	}
	return head + "\r\n" + body
}

// outcome is what came of a raw request.
type outcome struct {
	answers []wireAnswer
	id      string
	in      []received
}

// first is the status of the first answer; 0 when the connection just ended.
func (o outcome) first() int {
	if len(o.answers) == 0 {
		return 0
	}
	return o.answers[0].Status
}

// raw sends raw bytes on a connection of its own. ID in them becomes a
// correlation id; what the service got under it is returned.
func (z *zoned) raw(t testing.TB, up *upstream, text string) outcome {
	t.Helper()
	id := newID()
	answers, _ := z.exchange(t, strings.ReplaceAll(text, "X-Correlation-Id: ID\r\n", "X-Correlation-Id: "+id+"\r\n"), 0)
	return outcome{answers, id, up.of(id)}
}

// refused says whether the answer is 4xx, or the connection was ended without
// one, and the service was not asked.
func (o outcome) refused() bool {
	return len(o.in) == 0 && (len(o.answers) == 0 || len(o.answers) == 1 && o.first()/100 == 4)
}

func (o outcome) String() string {
	s := fmt.Sprintf("%d answers", len(o.answers))
	for _, a := range o.answers {
		s += fmt.Sprintf(", %d %.80q", a.Status, a.Body)
	}
	for _, r := range o.in {
		s += "; the service got " + r.String()
	}
	return s
}

// confusions are ways to say "up one, then admin" that some reader follows.
var confusions = []string{
	"../", "./../", ".%2e/", "%2e./", "%2e%2e/", "%2E%2E/", "..%2f", "..%2F", "%2e%2e%2f", "..%5c", "..\\", "%2e%2e%5c", "..;/", "..;a=b/", "..%3b/", "%2e%2e;/",
	"..%00/", "..%20/", "..%09/", "..%0d%0a/", "%252e%252e/", "%252e%252e%252f", "%25252e%25252e/", "..%252f", "%%32%65%%32%65/", "%u002e%u002e/", "%c0%ae%c0%ae/", "%c0%ae%c0%ae%c0%af",
	"%e0%80%ae%e0%80%ae/", "..%c0%af", "..%e2%88%95", "%ef%bc%8e%ef%bc%8e/", "..%ef%bc%8f", "%e2%80%a4%e2%80%a4/", "..//", "//../", ".../", "....//", "x/../../", "x/%2e%2e/%2e%2e/", "/..//../", "..././", "%2e%2e", "..\t/",
}

// TestTrapPaths: whatever a path looks like, either it is refused, or the
// service received the very bytes that policy judged; nothing that a careless
// reader takes for /admin comes through without the right.
func TestTrapPaths(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, nil)
	z := startZone(t, trapsMap, map[string]string{"plain": up.address})
	admin := "Authorization: Bearer " + z.login(z.addUser("admin@shop.example", "admin"))
	if got := z.raw(t, up, get("/admin/secret", admin)); got.first() != 200 || len(got.in) != 1 || got.in[0].Target != "/admin/secret" {
		t.Fatalf("positive control: %v", got)
	}

	var targets []string
	for _, c := range confusions {
		targets = append(targets, "/files/"+c+"admin/secret", "/files/a/"+c+c+"admin/secret", "/dir/"+c+"admin/secret", "/slash/"+c+"admin/secret", "/products/"+c+"admin", "/"+c+"admin/secret", "/open/"+c+"admin/secret")
	}
	targets = append(targets, "//admin/secret", "/\\admin/secret", "/./admin/secret", "/%2fadmin/secret", "/%2Fadmin%2fsecret", "/;/admin/secret", "/admin;x/secret", "/admin%3bx/secret", "/%61dmin/secret",
		"/admin%2fsecret", "/admin%00/secret", "/admin\x00/secret", "/admin/", "/admin//secret", "/admin/.", "/admin%20/secret", "/admin./secret", "/%c1%a1dmin/secret", "http:x%2f..%2fadmin", "/ADMIN/secret", "/admin\\secret",
		"/files/%", "/files/%2", "/files/%zz", "/files/a b", "/files/\xc3\xa9", "/files/a\x7f", "/files/a\x01b", "/files/a#b", "/files/a?b#c", "/files/|", "/files/\"", "/files/<", "/files/{a}", "/files/^", "/files/`")
	ok := map[string]string{ // positive controls, and what they are judged as
		"/files/a/b.txt": "GET /files/{rest...}", "/files/..a/b": "GET /files/{rest...}", "/files/a..": "GET /files/{rest...}", "/files/%C3%A9": "GET /files/{rest...}", "/files/%c3%a9": "GET /files/{rest...}",
		"/files/a%20b": "GET /files/{rest...}", "/files/a%25b": "GET /files/{rest...}", "/files/a+b,c:d@e!$&'()*=~": "GET /files/{rest...}", "/products/1": "GET /products/{id}", "/dir/": "GET /dir/",
		"/dir/x/": "GET /dir/", "/slash/a%2Fb": "GET /slash/{id}", "/slash/a%2fb": "GET /slash/{id}", "/open": "GET /open", "/open?": "GET /open", "/open?a=1&a=2&b=%3B%2e%2e%2f&c[]=x": "GET /open",
		"/open?a": "GET /open", "/open?=": "GET /open", "/open?next=https://shop.example/?x=y": "GET /open", "/files/": "GET /files/{rest...}",
	}
	for target := range ok {
		targets = append(targets, target)
	}
	mux := trapsMux()
	var mu sync.Mutex
	through := map[string]outcome{}
	inParallel(targets, func(target string) {
		got := z.raw(t, up, get(target))
		mu.Lock()
		defer mu.Unlock()
		switch {
		case got.first() == 200 && len(got.in) == 1 && len(got.answers) == 1:
			through[target] = got
		case !got.refused():
			t.Errorf("%q: %v; want it refused, or passed as it came", target, got)
		}
	})
	records := z.byID()
	for target, got := range through {
		in := got.in[0]
		if in.Target != target {
			t.Errorf("%q: the service received %q", target, in.Target)
		}
		if bad := lenient(in.Target); strings.HasPrefix(bad, "/admin") {
			t.Errorf("%q came through without a right; a careless service reads %q", target, bad)
		}
		var pattern string
		if u, err := url.ParseRequestURI(in.Target); err == nil {
			_, pattern = mux.Handler(&http.Request{Method: "GET", URL: u, Host: "localhost"})
		}
		if rs := records[got.id]; len(rs) != 1 || rs[0].Route != pattern || rs[0].Reason != "ok" {
			t.Errorf("%q: judged as %+v, but http.ServeMux reads the bytes as %q", target, rs, pattern)
		}
	}
	for target, route := range ok {
		got, passed := through[target]
		if rs := records[got.id]; !passed || len(rs) != 1 || rs[0].Route != route {
			t.Errorf("positive control %q: did not come through as %s: %+v", target, route, rs)
		}
	}
	t.Logf("%d targets, %d came through", len(targets), len(through))
}

// TestTrapTargets: forms of a target other than the origin form, methods that
// are none of the map's, and queries that two readers read in two ways.
func TestTrapTargets(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, nil)
	z := startZone(t, trapsMap, map[string]string{"plain": up.address})
	for _, s := range []struct{ method, target string }{
		{"GET", "http://localhost/open"}, {"GET", "https://localhost/open"}, {"GET", "http://evil.example/open"}, {"GET", "http://localhost@evil.example/open"}, {"GET", "localhost/open"}, {"GET", "open"},
		{"GET", "http:open"}, {"GET", "http:x%2f..%2fopen"}, {"GET", "x:/open"}, {"GET", "*"}, {"OPTIONS", "*"}, {"GET", "?a=b"}, {"GET", "//localhost/open"}, {"GET", "///open"},
		{"CONNECT", "localhost:443"}, {"CONNECT", "/open"}, {"CONNECT", "127.0.0.1:22"}, {"CONNECT", "//open"}, {"TRACE", "/open"}, {"TRACK", "/open"}, {"PRI", "*"}, {"GET", "/open\tx"}, {"get", "/open"}, {"GET ", "/open"},
		{"OPTIONS", "/open"}, {"DELETE", "/open"}, {"DEBUG", "/open"}, {"GE\tT", "/open"}, {strings.Repeat("A", 5000), "/open"}, {"G\u00cbT", "/open"},
		{"GET", "/open?a=1;b=2"}, {"GET", "/open?a=%zz"}, {"GET", "/open?a=%"}, {"GET", "/open?a=%4"}, {"GET", "/open?a=%00"}, {"GET", "/open?a=\x00"}, {"GET", "/open?a=%01"}, {"GET", "/open?a=b#c"}, {"GET", "/open?a= b"}, {"GET", "/open?a=%ff"},
		{"GET", "/open?a=%c0%ae"}, {"GET", "/open?a=\xff"}, {"GET", "/open?a=\\"}, {"GET", "/open?a=<"}, {"GET", "/open?;"}, {"GET", "/open?" + strings.Repeat("a=1&", 1001)},
	} {
		if got := z.raw(t, up, rawRequest(s.method, s.target, "")); !got.refused() {
			t.Errorf("%.20s %.60q: %v; want 4xx", s.method, s.target, got)
		}
	}
	if got := z.raw(t, up, get("/open?"+strings.Repeat("a=1&", 900)+"b=2")); got.first() != 200 || len(got.in) != 1 || !strings.HasSuffix(got.in[0].Target, "a=1&b=2") {
		t.Errorf("positive control: 901 pairs: %v", got)
	}
	head := z.raw(t, up, rawRequest("HEAD", "/open", ""))
	if len(head.in) != 1 || head.in[0].Method != "HEAD" {
		t.Errorf("HEAD follows GET: %v", head)
	}
	wrong := z.do(call{method: "PUT", path: "/open"})
	if wrong.Status != 405 || wrong.Header.Get("Allow") != "GET, HEAD, POST" {
		t.Errorf("another method: %d with Allow %q, want 405 and the methods of this listener", wrong.Status, wrong.Header.Get("Allow"))
	}
	for _, p := range []string{"/open/", "/dir", "/products", "/products/", "/products/1/"} {
		if got := z.do(call{path: p}); got.Status != 404 || got.Header.Get("Location") != "" {
			t.Errorf("%s: %d to %q, want 404: no redirects for slashes", p, got.Status, got.Header.Get("Location"))
		}
	}
}

// inParallel calls do for each of the list, a few at a time. A do that fails its
// test ends alone.
func inParallel[T any](list []T, do func(T)) {
	room := make(chan struct{}, 8)
	var work sync.WaitGroup
	for _, v := range list {
		room <- struct{}{}
		work.Go(func() {
			defer func() { <-room }()
			do(v)
		})
	}
	work.Wait()
}
