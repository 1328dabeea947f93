package identity

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// complaints are what a browser holds against a page: errors in its console,
// violations of the content policy, forms it finds fault with.
type complaints struct {
	mu   sync.Mutex
	list []string
}

func (c *complaints) listen(event any) {
	text := ""
	switch e := event.(type) {
	case *log.EventEntryAdded:
		// A refused form is answered with its true status, which the console notes.
		if e.Entry.Level == log.EntryLevelError && !strings.Contains(e.Entry.Text, "status of 401") {
			text = fmt.Sprint("log: ", e.Entry.Text, " ", e.Entry.URL)
		}
	case *runtime.EventConsoleAPICalled:
		text = fmt.Sprint("console: ", e.Type)
	case *runtime.EventExceptionThrown:
		text = fmt.Sprint("exception: ", e.ExceptionDetails.Text)
	case *audits.EventIssueAdded:
		text = fmt.Sprint("issue: ", e.Issue.Code)
	}
	if text != "" {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.list = append(c.list, text)
	}
}

func (c *complaints) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := c.list
	c.list = nil
	return list
}

// startBrowser starts a browser of its own for the test, with an empty profile.
func startBrowser(t *testing.T) (context.Context, *complaints) {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not in PATH: the pages were not tried in a browser")
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:len(chromedp.DefaultExecAllocatorOptions):len(chromedp.DefaultExecAllocatorOptions)],
		chromedp.ExecPath(path), chromedp.WSURLReadTimeout(2*time.Minute), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.IgnoreCertErrors,
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.Flag("force-prefers-reduced-motion", true), chromedp.WindowSize(1000, 800))
	allocated, stop := chromedp.NewExecAllocator(t.Context(), opts...)
	t.Cleanup(stop)
	found := &complaints{}
	ctx, cancel := chromedp.NewContext(allocated, chromedp.WithListener(found.listen))
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil { // the browser lives as long as this context
		t.Fatalf("start chromium: %v", err)
	}
	for _, enable := range []func() error{
		func() error { _, err := chromedp.Call(ctx, audits.Enable, struct{}{}); return err },
		func() error { _, err := chromedp.Call(ctx, log.Enable, struct{}{}); return err },
	} {
		if err := enable(); err != nil {
			t.Fatal(err)
		}
	}
	bounded, cancel := context.WithTimeout(ctx, 10*time.Minute)
	t.Cleanup(cancel)
	return bounded, found
}

// TestBrowser tries the pages in a real browser. First comes the positive
// control: the browser's complaints are heard.
func TestBrowser(t *testing.T) {
	ctx, found := startBrowser(t)
	bad := httptest.NewTLSServer(http.HandlerFunc(policyBreaker))
	defer bad.Close() // after the walk: the browser may still fetch its icon
	t.Run("complains", func(t *testing.T) { browserComplains(t, ctx, found, bad.URL) })
	t.Run("walk", func(t *testing.T) { browserWalk(t, ctx, found) })
}

// browserWalk registers, looks, logs out and in again as a person does.
func browserWalk(t *testing.T, ctx context.Context, found *complaints) {
	w := newWorld(t, openZone())
	site := httptest.NewTLSServer(w.door())
	defer site.Close()

	text := func(css string) string {
		t.Helper()
		s, err := chromedp.Run(ctx, chromedp.Text(chromedp.CSS(css)))
		if err != nil {
			t.Fatalf("text of %s: %v", css, err)
		}
		return s
	}
	do := func(steps ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		if err := chromedp.Do(ctx, steps...); err != nil {
			t.Fatal(err)
		}
	}
	submit := func(css string, steps ...chromedp.Action[chromedp.Void]) { // and wait for the page that follows
		t.Helper()
		do(steps...)
		if _, err := chromedp.RunResponse(ctx, chromedp.Click(chromedp.CSS(css))); err != nil {
			t.Fatalf("click %s: %v", css, err)
		}
	}
	at := func(path, heading string) {
		t.Helper()
		where, err := chromedp.Run(ctx, chromedp.Location())
		if err != nil || where != site.URL+path || text("h1") != heading {
			t.Fatalf("at %q (%v) under %q, want %s under %q", where, err, text("h1"), path, heading)
		}
		if list := found.take(); list != nil {
			t.Errorf("%s: the browser complains: %q", path, list)
		}
	}
	fill := func(email, password string) []chromedp.Action[chromedp.Void] {
		return []chromedp.Action[chromedp.Void]{
			chromedp.SendKeys(chromedp.ID("email"), email),
			chromedp.SendKeys(chromedp.ID("password"), password),
		}
	}

	const login = `form[action="/auth/login"] button[type=submit]`

	do(chromedp.Navigate(site.URL + "/auth/sessions")) // without a session: the login page, and the way back
	at("/auth/login?next=%2Fauth%2Fsessions", "Log in")
	submit(".beside a")
	at("/auth/register?next=%2Fauth%2Fsessions", "Create your account")
	submit(`form[action="/auth/register"] button[type=submit]`, fill("ada@shop.example", goodPassword)...)
	at("/auth/account#sessions", "Your account")
	if got := text(".email"); got != "ada@shop.example" {
		t.Errorf("the account page shows %q", got)
	}
	id := w.userID("ada@shop.example")
	out := `form[action="/auth/logout"] button`
	submit(out)
	at("/auth/login?bye", "Log in")
	if w.sessions.of(id) != 0 || text("[role=status]") != "You are logged out." {
		t.Error("logged out, but a session is left or nothing says so")
	}
	do(chromedp.Navigate(site.URL + "/auth/account"))
	at("/auth/login", "Log in")

	submit(login, fill("ada@shop.example", "not the password")...)
	at("/auth/login", "Log in")
	if got := text("[role=alert] h2"); got != "E-mail or password is wrong" {
		t.Errorf("the alert says %q", got)
	}
	submit(login, chromedp.Click(chromedp.ID("remember")), chromedp.SendKeys(chromedp.ID("password"), goodPassword))
	at("/auth/account", "Your account")
	submit(out)

	// With a second factor there is one step more, bound to this browser.
	secret := w.giveApp(id)
	submit(login, fill("ada@shop.example", goodPassword)...)
	at("/auth/login", "One more step")
	submit(`form[action="/auth/mfa/totp"] button`, chromedp.SendKeys(chromedp.ID("code"), w.wrong(secret)))
	at("/auth/mfa/totp", "One more step")
	submit(`form[action="/auth/mfa/totp"] button`, chromedp.SendKeys(chromedp.ID("code"), w.code(secret)))
	at("/auth/account", "Your account")
	w.now.advance(11 * time.Minute)
	do(chromedp.Navigate(site.URL + "/auth/factors/passkey")) // wants a fresh proof
	at("/auth/step-up?next=%2Fauth%2Ffactors%2Fpasskey", "Is it you?")
	submit(`form[action="/auth/mfa/totp"] button`, chromedp.SendKeys(chromedp.ID("code"), w.code(secret)))
	at("/auth/factors/passkey", "Add a passkey")
}

// policyBreaker answers with a page that does what its policy forbids.
func policyBreaker(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'")
	_, _ = w.Write([]byte(`<!doctype html><title>x</title><h1 style="color:red">x</h1><script>console.error(1)</script>`))
}

// browserComplains shows such a page: the listener of the walk hears of it.
func browserComplains(t *testing.T, ctx context.Context, found *complaints, bad string) {
	if err := chromedp.Do(ctx, chromedp.Navigate(bad)); err != nil {
		t.Fatal(err)
	}
	heard := strings.Join(found.take(), "\n")
	for _, want := range []string{"style", "script", string(audits.InspectorIssueCodeContentSecurityPolicyIssue)} {
		if !strings.Contains(heard, want) {
			t.Errorf("nothing about %s was heard: %s", want, heard)
		}
	}
}

func (w *world) userID(email string) string {
	w.t.Helper()
	u, err := w.id.User(w.t.Context(), email)
	if err != nil {
		w.t.Fatal(err)
	}
	return u.ID
}
