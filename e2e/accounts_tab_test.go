package e2e

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/audits"
	cdpbrowser "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"
)

// chrome is one browser for several walks, each in a tab of its own that shares
// neither cookies nor cache with the others.
type chrome struct {
	ctx    context.Context //nolint:containedctx // chromedp hands a browser around as a context
	looked map[string]bool // the pages that were looked at closely, see tab.look
}

func startChrome(t *testing.T) *chrome {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not in PATH: the pages were not tried in a browser")
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:len(chromedp.DefaultExecAllocatorOptions):len(chromedp.DefaultExecAllocatorOptions)],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.IgnoreCertErrors,
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.Flag("force-prefers-reduced-motion", true), chromedp.Flag("lang", "en-US"), chromedp.WindowSize(1000, 800), chromedp.WSURLReadTimeout(2*patience))
	allocated, stop := chromedp.NewExecAllocator(t.Context(), opts...)
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(allocated)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil { // it lives as long as this context
		t.Fatalf("start chromium: %v", err)
	}
	return &chrome{ctx: ctx, looked: map[string]bool{}}
}

// walk is how long a tab may be used for: as patience, it decides nothing.
const walk = 10 * time.Minute

// tab is a browser as one person has it, who looks closely at each page.
type tab struct {
	t      *testing.T
	chrome *chrome
	site   string          // the only origin that it may speak to
	beside []string        // but for these, to which it is led
	lang   string          // that the pages have to be in
	ctx    context.Context //nolint:containedctx // as above

	mu         sync.Mutex
	complaints []string // guarded by mu
	refused    []string // the entries of the console that a refusal has to leave; guarded by mu
}

// breaks keeps what the policy of a page forbids, before any script of the page.
const breaks = `window.broken = []; addEventListener("securitypolicyviolation", (e) => broken.push(e.violatedDirective + " " + e.blockedURI + " " + e.sample))`

func (c *chrome) tab(t *testing.T, site string) *tab {
	t.Helper()
	b := &tab{t: t, chrome: c, site: site, lang: "en"}
	ctx, cancel := chromedp.NewContext(c.ctx, chromedp.WithNewBrowserContext(), chromedp.WithListener(b.hear))
	t.Cleanup(cancel)
	b.ctx, cancel = context.WithTimeout(ctx, walk)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if list := b.heard(); len(list) > 0 {
			t.Errorf("the browser complained: %q", list)
		}
	})
	command(b, audits.Enable, struct{}{})
	command(b, log.Enable, struct{}{})
	command(b, network.Enable, network.EnableParams{})
	command(b, webauthn.Enable, webauthn.EnableParams{})
	command(b, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
	command(b, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: breaks})
	return b
}

// command sends one of the commands of the protocol.
func command[P, R any](b *tab, c cdpCommand[P, R], params P) R {
	b.t.Helper()
	r, err := chromedp.Call(b.ctx, c, params)
	if err != nil {
		b.t.Fatalf("%s: %v", c.Method, err)
	}
	return r
}

// hear keeps whatever a browser holds against a page: errors of its console,
// violations of the content policy, faults of forms, requests to other origins.
func (b *tab) hear(event any) {
	text := ""
	switch e := event.(type) {
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			text = fmt.Sprint("log: ", e.Entry.Text, " ", e.Entry.URL)
		}
	case *runtime.EventConsoleAPICalled:
		text = fmt.Sprint("console: ", e.Type)
	case *runtime.EventExceptionThrown:
		text = fmt.Sprint("exception: ", e.ExceptionDetails.Text)
	case *audits.EventIssueAdded:
		if e.Issue.Code == audits.InspectorIssueCodeBounceTrackingIssue {
			return // a provider that asks its user nothing leads back at once
		}
		text = fmt.Sprint("issue: ", e.Issue.Code)
		if d := e.Issue.Details.GenericIssueDetails; d != nil {
			if text += fmt.Sprint(" ", d.ErrorType); d.ErrorType == "NavigationEntryMarkedSkippable" {
				return // a passkey that was taken without a click led on: back does not return to it
			}
		}
	case *network.EventRequestWillBeSent:
		url := e.Request.URL
		if own := func(origin string) bool { return strings.HasPrefix(url, origin+"/") }; !own(b.site) && !slices.ContainsFunc(b.beside, own) && !strings.HasPrefix(url, "data:") {
			text = "request to " + url
		}
	}
	if text == "" {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.complaints = append(b.complaints, text)
}

// heard takes what was heard, but for the traces of refusals that were wanted.
func (b *tab) heard() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := slices.DeleteFunc(b.complaints, func(text string) bool {
		return slices.ContainsFunc(b.refused, func(of string) bool { return strings.HasPrefix(text, of) })
	})
	b.complaints = nil
	return list
}

// wanted has the console's note of a refusal be no complaint.
func (b *tab) wanted(status int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refused = append(b.refused, fmt.Sprintf("log: Failed to load resource: the server responded with a status of %d", status))
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.t.Fatalf("at %s: %v", b.where(), err)
	}
}

func (b *tab) where() string {
	at, _ := chromedp.Run(b.ctx, chromedp.Location())
	return strings.TrimPrefix(at, b.site)
}

// leads takes steps of which the last leads to another page, and wants a status.
func (b *tab) leads(status int, steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	before := b.where()
	if status >= 400 {
		b.wanted(status)
	}
	if got := b.led(steps...); got != status {
		b.t.Fatalf("from %s to %s: status %d, want %d; the page says %q", before, b.where(), got, status, b.text("main"))
	}
}

// led takes steps of which the last leads to another page, and returns its status.
func (b *tab) led(steps ...chromedp.Action[chromedp.Void]) (status int) {
	b.t.Helper()
	before := b.where()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	res, err := chromedp.RunResponse(ctx, steps...)
	if err != nil {
		b.t.Fatalf("from %s to %s: %v; the page says %q", before, b.where(), err, b.text("main"))
	}
	return int(res.Status)
}

// arrives takes steps that lead away, by pages that end at once and places beside
// the site, and waits until the tab is at an address that begins with to.
func (b *tab) arrives(status int, to string, steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if status >= 400 {
		b.wanted(status)
	}
	b.do(steps...)
	var last string
	until(b.t, "the tab came to "+to, func() bool {
		got, err := chromedp.Run(b.ctx, chromedp.Evaluate[struct {
			Whole  bool
			Status int
		}](`({whole: document.readyState === "complete", status: performance.getEntriesByType("navigation")[0].responseStatus})`))
		last = b.where()
		return err == nil && got.Whole && strings.HasPrefix(last, to) && got.Status == status || b.ctx.Err() != nil
	})
	if b.ctx.Err() != nil {
		b.t.Fatalf("at %s, want %d of %s; the page says %q", last, status, to, b.text("main"))
	}
}

// open goes to a path of the site, or to a whole address of it.
func (b *tab) open(status int, path string) {
	b.t.Helper()
	b.leads(status, chromedp.Navigate(b.site+strings.TrimPrefix(path, b.site)))
}

// submit fills fields in, by id, and clicks.
func (b *tab) submit(status int, css string, fields ...string) {
	b.t.Helper()
	b.fill(fields...)
	b.leads(status, chromedp.Click(chromedp.CSS(css)))
}

// codes is submit with a code of an app, which the page takes.
func (b *tab) codes(phone *app, css string, fields ...string) {
	b.t.Helper()
	phone.takes(func(code string) bool {
		b.fill(append([]string{"code", code}, fields...)...)
		status := b.led(chromedp.Click(chromedp.CSS(css)))
		if status != 200 && status != 401 {
			b.t.Fatalf("a code: %d; the page says %q", status, b.text("main"))
		}
		if status == 401 {
			b.wanted(status)
		}
		return status == 200
	})
}

func (b *tab) fill(fields ...string) {
	b.t.Helper()
	for i := 0; i < len(fields); i += 2 {
		eval[string](b, fmt.Sprintf("document.getElementById(%q).value = ''", fields[i]))
		b.do(chromedp.SendKeys(chromedp.ID(fields[i]), fields[i+1]))
	}
}

// unchecked has the browser send what it would hold back itself, so that the
// service has to refuse it.
func (b *tab) unchecked() {
	b.t.Helper()
	eval[int](b, "[...document.forms].forEach((f) => f.noValidate = true), 0")
}

// reaches wants a status of a path that is no page of the account service.
func (b *tab) reaches(status int, path string) {
	b.t.Helper()
	if status >= 400 {
		b.wanted(status)
	}
	if got := eval[int](b, fmt.Sprintf("fetch(%q).then((r) => r.status)", path), chromedp.EvalAwaitPromise); got != status {
		b.t.Errorf("%s in the browser: %d, want %d", path, got, status)
	}
}

// formTo is the button that sends the form to a path.
func formTo(path string) string { return fmt.Sprintf("form[action=%q] button[type=submit]", path) }

func (b *tab) text(css string) string {
	b.t.Helper()
	return eval[string](b, fmt.Sprintf("[...document.querySelectorAll(%q)].map((e) => e.innerText).join('\\n')", css))
}

func (b *tab) count(css string) int {
	b.t.Helper()
	return eval[int](b, fmt.Sprintf("document.querySelectorAll(%q).length", css))
}

func eval[T any](b *tab, js string, options ...chromedp.EvaluateOption) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](js, options...))
	if err != nil {
		b.t.Fatalf("at %s: %.80s: %v", b.where(), js, err)
	}
	return v
}

// at says where the tab has to be, under which heading, and looks at the page.
func (b *tab) at(path, heading string) {
	b.t.Helper()
	if where, h1 := b.where(), b.text("h1"); where != path || h1 != heading {
		b.t.Fatalf("at %q under %q, want %q under %q; the page says %q", where, h1, path, heading, b.text("main"))
	}
	b.look()
}

// says wants words in a part of the page.
func (b *tab) says(css, want string) {
	b.t.Helper()
	if got := b.text(css); !strings.Contains(got, want) {
		b.t.Errorf("at %s: %s says %q, want %q", b.where(), css, got, want)
	}
}

// downloads has files of the tab go to a folder, and tells the name of the first.
func (b *tab) downloads(folder string) (done <-chan string) {
	b.t.Helper()
	finished := make(chan string, 1)
	yes := true
	own := chromedp.FromContext(b.ctx).BrowserContextID
	if _, err := chromedp.CallBrowser(b.ctx, cdpbrowser.SetDownloadBehavior, cdpbrowser.SetDownloadBehaviorParams{
		Behavior: cdpbrowser.SetDownloadBehaviorBehaviorAllowAndName, BrowserContextID: own, DownloadPath: folder, EventsEnabled: &yes,
	}); err != nil {
		b.t.Fatal(err)
	}
	if err := chromedp.ListenBrowser(b.ctx, func(event any) {
		if e, ok := event.(*cdpbrowser.EventDownloadProgress); ok && e.State == cdpbrowser.DownloadProgressStateCompleted {
			select {
			case finished <- e.GUID:
			default:
			}
		}
	}); err != nil {
		b.t.Fatal(err)
	}
	return finished
}
