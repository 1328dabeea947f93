package identity

import (
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestAcceptsHTML(t *testing.T) {
	for _, c := range []struct {
		accept string
		want   bool
	}{
		{"", false}, {"*/*", false}, {"text/*", false}, {"application/json", false},
		{browser, true}, {"text/html", true}, {"TEXT/HTML", true}, {"application/json, text/html", true},
		{"text/html;q=0", false}, {"text/html;q=0.5, application/json", false}, {"text/html;level=1;q=0.9, application/json;q=0.8", true},
		{"text/html;q=x", false}, {"text/html;q=-1", false}, {"text/html;q=NaN", false}, {"text/htmlx", false}, {"application/problem+json, text/html;q=0.1", false},
	} {
		if got := acceptsHTML([]string{c.accept}); got != c.want {
			t.Errorf("acceptsHTML(%q) = %v, want %v", c.accept, got, c.want)
		}
	}
	if !acceptsHTML([]string{"application/xml", "text/html"}) {
		t.Error("two header lines are one list")
	}
}

func TestLocalPath(t *testing.T) {
	for _, good := range []string{"/", "/orders", "/orders/7?x=y&z=%2F", "/a//b", "/auth/sessions", "/%2e%2e/x", "/a:b", "/x?next=https://evil.example/"} {
		if got := localPath(good); got != good {
			t.Errorf("localPath(%q) = %q, want it as it is", good, got)
		}
	}
	for _, bad := range []string{
		"", "orders", "//evil.example", "///evil.example", `/\evil.example`, `\\evil.example`, `/orders\x`, "https://evil.example/", "javascript:alert(1)",
		"/\t/evil.example", "/\n/evil.example", "/ /x", "/é", "/\x00", "/\x7f", "/x#frag", "/%zz", "data:text/html,x", " /x", "http:/x", "/" + strings.Repeat("a", nextMax),
		loginPath, "/auth/login?next=/auth/login", "/auth/register", "/auth/%6cogin", "/auth/logout",
	} {
		if got := localPath(bad); got != accountPath {
			t.Errorf("localPath(%q) = %q, want %q", bad, got, accountPath)
		}
	}
}

func FuzzLocalPath(f *testing.F) {
	for _, s := range []string{"/orders?x=1", "//evil.example", `/\evil`, "/\t/evil", "https:/x", "/%5c%5cevil"} {
		f.Add(s)
	}
	base, _ := url.Parse("https://shop.example/auth/login")
	f.Fuzz(func(t *testing.T, next string) {
		got := localPath(next)
		to, err := base.Parse(got)
		if err != nil || to.Scheme != "https" || to.Host != "shop.example" || to.User != nil {
			t.Errorf("localPath(%q) = %q leads to %v (%v)", next, got, to, err)
		}
		if strings.ContainsAny(got, "\\\r\n\t ") || len(got) > nextMax {
			t.Errorf("localPath(%q) = %q", next, got)
		}
	})
}

func TestWords(t *testing.T) {
	for agent, want := range map[string]string{
		"": "Unknown device",
		"Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0":                                                           "Firefox on Linux",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0 Safari/537.36 Edg/128.0":            "Edge on Windows",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 14_6) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.6 Safari/605.1.15":               "Safari on Mac",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 17_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.6 Mobile Safari/604.1": "Safari on iPhone",
		"Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0 Mobile Safari/537.36":                         "Chrome on Android",
		"curl/8.9.1": "curl",
		"<script>":   "Unknown browser",
	} {
		if got := device(agent); got != want {
			t.Errorf("device(%q) = %q, want %q", agent, got, want)
		}
	}
	for seconds, want := range map[int]string{0: "1 second", 1: "1 second", 2: "2 seconds", 90: "90 seconds", 91: "2 minutes", 900: "15 minutes"} {
		if got := span(seconds); got != want {
			t.Errorf("span(%d) = %q, want %q", seconds, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		-time.Second: "just now", 59 * time.Second: "just now", time.Minute: "1 minute ago", 119 * time.Minute: "1 hour ago",
		25 * time.Hour: "1 day ago", 72 * time.Hour: "3 days ago",
	} {
		if got := ago(d); got != want {
			t.Errorf("ago(%v) = %q, want %q", d, got, want)
		}
	}
}
