package e2e

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browser is a real one, with an empty profile, and what it complains of.
type browser struct {
	t   *testing.T
	ctx context.Context //nolint:containedctx // chromedp hands a browser around as a context

	mu         sync.Mutex
	complaints []string // guarded by mu
}

// hear keeps errors of the console, violations of the content policy and faults
// that the browser finds with pages and forms.
func (b *browser) hear(event any) {
	text := ""
	switch e := event.(type) {
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError && !strings.Contains(e.Entry.Text, "status of 401") { // a refused form has its true status
			text = fmt.Sprint("log: ", e.Entry.Text, " ", e.Entry.URL)
		}
	case *runtime.EventConsoleAPICalled:
		text = fmt.Sprint("console: ", e.Type)
	case *runtime.EventExceptionThrown:
		text = fmt.Sprint("exception: ", e.ExceptionDetails.Text)
	case *audits.EventIssueAdded:
		text = fmt.Sprint("issue: ", e.Issue.Code)
	}
	if text == "" {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.complaints = append(b.complaints, text)
}

func (b *browser) heard() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := b.complaints
	b.complaints = nil
	return list
}

func startBrowser(t *testing.T) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not in PATH: the pages were not tried in a browser")
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:len(chromedp.DefaultExecAllocatorOptions):len(chromedp.DefaultExecAllocatorOptions)],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.IgnoreCertErrors, // ca.pem is in no store of its own
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true), chromedp.WindowSize(1000, 800))
	allocated, stop := chromedp.NewExecAllocator(t.Context(), opts...)
	t.Cleanup(stop)
	b := &browser{t: t}
	ctx, cancel := chromedp.NewContext(allocated, chromedp.WithListener(b.hear))
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil { // it lives as long as this context
		t.Fatalf("start chromium: %v", err)
	}
	if _, err := chromedp.Call(ctx, audits.Enable, struct{}{}); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(ctx, log.Enable, struct{}{}); err != nil {
		t.Fatal(err)
	}
	b.ctx, cancel = context.WithTimeout(ctx, patience)
	t.Cleanup(cancel)
	return b
}

func (b *browser) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

// submit takes some steps, clicks, and waits for the page that follows.
func (b *browser) submit(css string, steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	b.do(steps...)
	if _, err := chromedp.RunResponse(b.ctx, chromedp.Click(chromedp.CSS(css))); err != nil {
		b.t.Fatalf("click %s: %v", css, err)
	}
}

func (b *browser) text(css string) string {
	b.t.Helper()
	s, err := chromedp.Run(b.ctx, chromedp.Text(chromedp.CSS(css)))
	if err != nil {
		b.t.Fatalf("text of %s: %v", css, err)
	}
	return s
}

// at says where the browser has to be, and that it has nothing to complain of.
func (b *browser) at(url string) {
	b.t.Helper()
	where, err := chromedp.Run(b.ctx, chromedp.Location())
	if err != nil || where != url {
		b.t.Fatalf("at %q (%v), want %q", where, err, url)
	}
	if list := b.heard(); list != nil {
		b.t.Errorf("%s: the browser complains: %q", url, list)
	}
}

// TestPages walks the account service's pages on the real binary: log in, the
// account, its sessions, log out.
func TestPages(t *testing.T) {
	t.Parallel()
	b := startBrowser(t)
	z := startZone(t, cookieMap, map[string]string{"plain": startUpstream(t, nil).address})
	alice := z.addUser("alice@shop.example")
	site := "https://localhost:" + portOf(z.address["public"])
	fill := func(password string) []chromedp.Action[chromedp.Void] {
		return []chromedp.Action[chromedp.Void]{chromedp.SendKeys(chromedp.ID("email"), alice.Email), chromedp.SendKeys(chromedp.ID("password"), password)}
	}

	b.do(chromedp.Navigate(site + "/auth/sessions")) // nobody yet: the login page, and the way back
	b.at(site + "/auth/login?next=%2Fauth%2Fsessions")
	b.submit("button", fill("not the passphrase")...)
	b.at(site + "/auth/login")
	if got := b.text("[role=alert]"); !strings.Contains(got, "wrong") {
		t.Errorf("the alert says %q", got)
	}
	b.do(chromedp.Navigate(site + "/auth/login?next=/auth/sessions"))
	b.submit("button", fill(alice.Password)...)
	b.at(site + "/auth/sessions")
	elsewhere := z.login(alice)
	b.do(chromedp.Navigate(site + "/auth/me"))
	b.at(site + "/auth/me")
	if got := b.text("main"); !strings.Contains(got, alice.Email) {
		t.Errorf("the account page shows %q", got)
	}
	b.submit(`form[action="/auth/sessions/revoke-others"] button`)
	b.at(site + "/auth/me")
	if got := z.do(call{path: "/mine", bearer: elsewhere}); got.Status != 401 {
		t.Errorf("the session elsewhere: %d, want 401", got.Status)
	}
	b.submit(`form[action="/auth/logout"] button`)
	b.at(site + "/auth/login?bye")
	b.do(chromedp.Navigate(site + "/auth/me"))
	b.at(site + "/auth/login")
	var list []record
	for _, r := range z.records("--user", alice.ID, "--service", "identity", "--limit", "0") {
		if r.Method == "POST" {
			list = append(list, r)
		}
	}
	if len(list) != 2 || list[0].Route != "POST /auth/sessions/revoke-others" || list[1].Route != "POST /auth/logout" {
		t.Errorf("the records of what alice did: %+v", list)
	}
}

// TestBrowserComplains is the positive control of TestPages: a page that breaks
// its policy is heard of.
func TestBrowserComplains(t *testing.T) {
	t.Parallel()
	b := startBrowser(t)
	up := startUpstream(t, policyBreaker)
	z := startZone(t, cookieMap, map[string]string{"plain": up.address})
	b.do(chromedp.Navigate("https://localhost:" + portOf(z.address["public"]) + "/open"))
	heard := strings.Join(b.heard(), "\n")
	for _, want := range []string{"style", "script", string(audits.InspectorIssueCodeContentSecurityPolicyIssue)} {
		if !strings.Contains(heard, want) {
			t.Errorf("nothing about %s was heard: %s", want, heard)
		}
	}
}
