package e2e

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// faulty is a page with all that the walks look for, under a policy that it breaks.
const faulty = `<!doctype html><html><title></title><p id="x"></p><p id="x" style="color:red"></p><h1>One</h1><h1>Two</h1>
<form><input name="a"><input id="labelled" name="a"><label for="labelled">A</label></form><img src="data:,"><button aria-describedby="none"></button>
<script src="https://elsewhere.example/x.js"></script><p style="width:900px">wide</p></html>`

// TestAccountsControl is the positive control of the walks: of a page that is wrong
// in every way, every way is told.
func TestAccountsControl(t *testing.T) {
	t.Parallel()
	c := startChrome(t)
	up := startUpstream(t, func(conn net.Conn, _ received) {
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\nContent-Security-Policy: default-src 'none'; img-src data:\r\n\r\n%s", len(faulty), faulty)
	})
	z := startZone(t, cookieMap, map[string]string{"plain": up.address})
	b := c.tab(t, "https://localhost:"+portOf(z.address["public"]))
	b.do(chromedp.Navigate(b.site + "/open"))
	found := strings.Join(append(eval[[]string](b, faults), b.heard()...), "\n")
	for _, want := range []string{
		"no title", "no lang", "no viewport", "not one h1", "not one main", "id twice", "no label", "no alt", "no name", "aria-describedby leads nowhere",
		"field twice in a form", "style-src", "script-src", "ContentSecurityPolicyIssue",
	} {
		if !strings.Contains(found, want) {
			t.Errorf("nothing about %q is in:\n%s", want, found)
		}
	}
	b.site = "https://elsewhere.example" // from there on every request is one to another origin
	b.do(chromedp.Navigate("https://localhost:" + portOf(z.address["public"]) + "/open"))
	if found := strings.Join(b.heard(), "\n"); !strings.Contains(found, "request to https://localhost") {
		t.Errorf("a request to another origin was not heard:\n%s", found)
	}
}
