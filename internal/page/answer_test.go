package page

import (
	"net/url"
	"strings"
	"testing"
)

// browserAccept is what browsers send when a page is opened.
const browserAccept = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"

func TestAcceptsHTML(t *testing.T) {
	for _, c := range []struct {
		accept string
		want   bool
	}{
		{"", false}, {"*/*", false}, {"text/*", false}, {"application/json", false},
		{browserAccept, true}, {"text/html", true}, {"TEXT/HTML", true}, {"application/json, text/html", true},
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
		if got := LocalPath(good, AccountPath); got != good {
			t.Errorf("LocalPath(%q) = %q, want it as it is", good, got)
		}
	}
	for _, bad := range []string{
		"", "orders", "//evil.example", "///evil.example", `/\evil.example`, `\\evil.example`, `/orders\x`, "https://evil.example/", "javascript:alert(1)",
		"/\t/evil.example", "/\n/evil.example", "/ /x", "/é", "/\x00", "/\x7f", "/x#frag", "/%zz", "data:text/html,x", " /x", "http:/x", "/" + strings.Repeat("a", nextMax),
		LoginPath, "/auth/login?next=/auth/login", "/auth/register", "/auth/%6cogin", "/auth/logout", "/auth/step-up?x=y", "/auth/mfa",
	} {
		if got := LocalPath(bad, AccountPath); got != AccountPath {
			t.Errorf("LocalPath(%q) = %q, want %q", bad, got, AccountPath)
		}
	}
}

func FuzzLocalPath(f *testing.F) {
	for _, s := range []string{"/orders?x=1", "//evil.example", `/\evil`, "/\t/evil", "https:/x", "/%5c%5cevil"} {
		f.Add(s)
	}
	base, _ := url.Parse("https://shop.example/auth/login")
	f.Fuzz(func(t *testing.T, next string) {
		got := LocalPath(next, AccountPath)
		to, err := base.Parse(got)
		if err != nil || to.Scheme != "https" || to.Host != "shop.example" || to.User != nil {
			t.Errorf("LocalPath(%q) = %q leads to %v (%v)", next, got, to, err)
		}
		if strings.ContainsAny(got, "\\\r\n\t ") || len(got) > nextMax {
			t.Errorf("LocalPath(%q) = %q", next, got)
		}
	})
}
