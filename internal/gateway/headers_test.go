package gateway

import (
	"net/http"
	"strings"
	"testing"
)

// spellings are ways to write a name that some service folds into it, of which
// net/http lets each reach a handler.
func spellings(name string) []string {
	return []string{
		name, strings.ToLower(name), strings.ToUpper(name),
		http.CanonicalHeaderKey(name),
		strings.ReplaceAll(name, "-", "_"), strings.ReplaceAll(name, "-", "."),
		strings.ToUpper(strings.ReplaceAll(name, "-", "_")),
	}
}

func TestPassesInward(t *testing.T) {
	dropped := []string{
		// inside vocabulary
		"Txn-Token", "X-User-Id", "X-User-Roles", "X-User-Scopes", "X-User-Anything", "X-Client-Id", "X-Caller",
		"Sallyport-Client", "Sallyport-Request", "Sallyport-Reason", "Sallyport-Whatever-Comes-Later-And-Is-Very-Long-Indeed",
		"X-Correlation-Id",
		// hop by hop
		"Connection", "Keep-Alive", "Proxy", "Proxy-Connection", "Proxy-Authorization", "Proxy-Authenticate", "Te", "Trailer",
		"Transfer-Encoding", "Upgrade", "HTTP2-Settings",
		// rebuilt or answered here
		"Host", "Content-Length", "Expect",
		// credentials
		"Authorization", "X-API-Key",
		// unchecked proofs
		"Signature", "Signature-Input", "Signature-Agent", "Content-Digest",
		// where the request came from
		"Forwarded", "X-Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Prefix", "X-Forwarded-Client-Cert-Of-The-Whole-Chain",
		"X-Real-Ip", "X-Client-Ip", "True-Client-IP", "CF-Connecting-IP", "X-Cluster-Client-Ip", "Via",
		// targets and methods other than those judged
		"X-Original-URL", "X-Original-Uri", "X-Rewrite-URL", "X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override",
		// traces
		"Traceparent", "Tracestate", "Baggage",
		"", "Ünicode", "X User-Id", "X-User-Id ",
	}
	for _, name := range dropped {
		for _, s := range spellings(name) {
			if passesInward(s) {
				t.Errorf("passesInward(%q) = true, want false", s)
			}
		}
	}
	for _, name := range []string{
		"Accept", "Accept-Encoding", "Accept-Language", "Content-Type", "Content-Encoding", "Cookie", "If-None-Match",
		"Origin", "Range", "Referer", "User-Agent", "X-Requested-With", "X-Request-Id", "X-Users", "X-User", "Sallyports",
		"Idempotency-Key", "Accept-Signature", "Forwarded-To", "Last-Event-Id",
		"X-Application-With-A-Name-That-Is-Longer-Than-Any-Of-The-Tables",
	} {
		for _, s := range []string{name, strings.ToLower(name), strings.ToUpper(name)} {
			if !passesInward(s) {
				t.Errorf("passesInward(%q) = false, want true", s)
			}
		}
	}
}

func TestPassesOutward(t *testing.T) {
	for _, name := range []string{
		"Txn-Token", "X-User-Id", "X-Client-Id", "X-Caller", "Sallyport-Reason", "Sallyport-Client", "X-Correlation-Id",
		"Connection", "Keep-Alive", "Proxy-Authenticate", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Content-Length",
		"Server", "X-Powered-By", "X-AspNet-Version", "X-AspNetMvc-Version", "Via", "Alt-Svc", "Traceparent",
		"Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Access-Control-Max-Age",
	} {
		for _, s := range []string{name, strings.ToLower(name), strings.ToUpper(name)} {
			if passesOutward(s) {
				t.Errorf("passesOutward(%q) = true, want false", s)
			}
		}
	}
	for _, name := range []string{
		"Content-Type", "Content-Encoding", "Cache-Control", "Etag", "Location", "Set-Cookie", "Vary", "Www-Authenticate",
		"Retry-After", "Strict-Transport-Security", "Content-Security-Policy", "X-Custom", "X_Custom", "Date", "Server-Timing",
	} {
		if !passesOutward(name) {
			t.Errorf("passesOutward(%q) = false, want true", name)
		}
	}
}

func TestNominations(t *testing.T) {
	if got := nominations(http.Header{"Connection": {"Keep-Alive", "close", ""}}); got != nil {
		t.Errorf("nominations of the connection's own options = %q, want nil", got)
	}
	if got := nominations(http.Header{"Connection": {"close, X-A"}}); got == nil {
		t.Error("nominations of close, X-A = nil, want it")
	}
}

func TestCookiesInward(t *testing.T) {
	for _, c := range []struct{ field, want string }{
		{"a=1", "a=1"},
		{"a=1;b=2 ;  c=\"x y\"", "a=1;b=2 ;  c=\"x y\""}, // untouched to the byte
		{"__Host-session=sps_x", ""},
		{"__Host-session=sps_x; a=1", "a=1"},
		{"a=1; __Host-session=sps_x", "a=1"},
		{"a=1; __Host-session=sps_x; b=\"2\"", "a=1; b=\"2\""},
		{"a=1;__Host-session=x;__Host-session=y;b=2", "a=1; b=2"},
		{"__Host-session =x; a=1", "a=1"},
		{" \t__Host-session\t= x; a=1", "a=1"},
		{"__Host-session; a=1", "a=1"},
		{"a=\"; __Host-session=x; \"", "a=\"; \""},
		{"__Host-sessions=1", "__Host-sessions=1"},
		{"x__Host-session=1", "x__Host-session=1"},
		{"__host-session=1", "__host-session=1"}, // names have case: this is not ours, and we never read it
		{"a=__Host-session=1", "a=__Host-session=1"},
		{"__Host-flow=x; a=1; __Host-device=y", "a=1"},
		{"a=1;__Host-cart=2;b=3", "a=1;__Host-cart=2;b=3"},
		{"", ""},
	} {
		if got := cookiesInward(c.field); got != c.want {
			t.Errorf("cookiesInward(%q) = %q, want %q", c.field, got, c.want)
		}
	}
}

// TestCookiesLocal: routes of our own are shown all but the session.
func TestCookiesLocal(t *testing.T) {
	if got := cookiesLocal("__Host-flow=x; __Host-session=y; __Host-device=z"); got != "__Host-flow=x; __Host-device=z" {
		t.Errorf("%q", got)
	}
}

func TestWithoutOurs(t *testing.T) {
	for _, c := range []struct {
		field string
		sets  bool
	}{
		{"__Host-session=x; Path=/; Secure", true},
		{"__host-SESSION=x", true}, // some browsers ignore case in the prefix
		{" __Host-session =x", true},
		{"=__Host-session=x; Path=/", true},
		{"__Host-session", true},
		{"__Host-flow=x; Path=/; Secure", true},
		{"=__host-device=x", true},
		{"a=1; __Host-session=x", false}, // an attribute that no browser knows
		{"__Host-sessions=x", false},
		{"__Host-other=x; Path=/; Secure", false},
		{"", false},
	} {
		if got := setsOurCookie(c.field); got != c.sets {
			t.Errorf("setsOurCookie(%q) = %v, want %v", c.field, got, c.sets)
		}
	}
	in := []string{"a=1", "__Host-session=x", "b=2"}
	if got := withoutOurs(in); len(got) != 2 || got[0] != "a=1" || got[1] != "b=2" {
		t.Errorf("withoutOurs(%q) = %q", in, got)
	}
	if got := withoutOurs([]string{"__Host-session=x"}); got != nil {
		t.Errorf("nothing left: %q, want nil", got)
	}
	if got := withoutOurs(in[:1]); &got[0] != &in[0] {
		t.Error("nothing to remove: got a copy")
	}
}

// FuzzCookiesInward: whatever a service makes of what is left, it finds no
// session in it, and it finds every other cookie.
func FuzzCookiesInward(f *testing.F) {
	for _, s := range []string{"a=1; __Host-session=x", "__Host-session=x;;b", "a=\"__Host-session=1;\"", "=;__Host-session"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, field string) {
		read := func(s string) (ours, others []string) {
			for _, c := range (&http.Request{Header: http.Header{"Cookie": {s}}}).Cookies() {
				if c.Name == sessionCookie {
					ours = append(ours, c.Value)
				} else {
					others = append(others, c.Name+"="+c.Value)
				}
			}
			return ours, others
		}
		out := cookiesInward(field)
		_, want := read(field)
		ours, got := read(out)
		if len(ours) > 0 {
			t.Errorf("cookiesInward(%q) = %q: still holds the session", field, out)
		}
		if strings.Join(got, "\x00") != strings.Join(want, "\x00") {
			t.Errorf("cookiesInward(%q) = %q: others %q, want %q", field, out, got, want)
		}
	})
}
