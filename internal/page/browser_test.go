package page

import (
	"context"
	"encoding/json"
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
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"
)

// complaints are what a browser holds against a page: errors in its console,
// violations of the content policy, forms it finds fault with.
type complaints struct {
	mu    sync.Mutex
	list  []string      // guarded by mu
	heard chan struct{} // has an element when something was heard
}

func (c *complaints) listen(event any) {
	text := ""
	switch e := event.(type) {
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError {
			text = fmt.Sprint("log: ", e.Entry.Text, " ", e.Entry.URL)
		}
	case *runtime.EventConsoleAPICalled:
		text = fmt.Sprint("console: ", e.Type)
	case *runtime.EventExceptionThrown:
		text = fmt.Sprint("exception: ", e.ExceptionDetails.Text)
	case *audits.EventIssueAdded:
		text = fmt.Sprint("issue: ", e.Issue.Code)
		if d := e.Issue.Details.GenericIssueDetails; d != nil {
			if text += fmt.Sprint(" ", d.ErrorType); d.ErrorType == "NavigationEntryMarkedSkippable" {
				return // a passkey that was taken without a click led on: back does not return to it
			}
		}
	}
	if text != "" {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.list = append(c.list, text)
		select {
		case c.heard <- struct{}{}:
		default:
		}
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
		chromedp.ExecPath(path), chromedp.WSURLReadTimeout(2*time.Minute), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true))
	allocated, stop := chromedp.NewExecAllocator(t.Context(), opts...)
	t.Cleanup(stop)
	found := &complaints{heard: make(chan struct{}, 1)}
	ctx, cancel := chromedp.NewContext(allocated, chromedp.WithListener(found.listen))
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil { // the browser lives as long as this context
		t.Fatalf("start chromium: %v", err)
	}
	for _, enable := range []func() error{
		func() error { _, err := chromedp.Call(ctx, audits.Enable, struct{}{}); return err },
		func() error { _, err := chromedp.Call(ctx, log.Enable, struct{}{}); return err },
		func() error { _, err := chromedp.Call(ctx, webauthn.Enable, webauthn.EnableParams{}); return err },
	} {
		if err := enable(); err != nil {
			t.Fatal(err)
		}
	}
	bounded, cancel := context.WithTimeout(ctx, 10*time.Minute)
	t.Cleanup(cancel)
	return bounded, found
}

// site serves the samples by their names, and stands in for what passkeys and
// password meters ask of the account service.
type site struct {
	*httptest.Server
	away   *httptest.Server // a client of another origin
	posted chan Values      // the forms that passkeys sent
	scored chan string      // the passwords that were asked about
}

const challenge = "cGFzc2tleXMgYXJlIGFza2VkIHdpdGggdGhpcw"

func newSite(t *testing.T, p *Pages) *site {
	t.Helper()
	s := &site{posted: make(chan Values, 1), scored: make(chan string, 8)}
	mux := http.NewServeMux()
	for _, a := range p.Assets() {
		mux.Handle("GET "+a.Path, a.Handler)
	}
	for name, v := range samples() {
		mux.Handle("GET /sample/"+name, p.Handle(func(w http.ResponseWriter, r *http.Request) error { return p.Write(w, r, 0, v, nil) }))
	}
	finish := Shape{Required: []string{"flow"}, Optional: []string{"name", "next"}, Flags: []string{"remember"}, Raw: []string{"response"}, Max: 64 << 10}
	for path, options := range map[string]string{
		"/auth/factors/passkey": `{"publicKey":{"rp":{"id":"localhost","name":"shop"},"user":{"id":"YWRh","name":"ada","displayName":"Ada"},"challenge":"` + challenge + `",
			"pubKeyCredParams":[{"type":"public-key","alg":-7}],"authenticatorSelection":{"residentKey":"required","userVerification":"required"}}}`,
		"/auth/mfa/passkey": `{"publicKey":{"rpId":"localhost","challenge":"` + challenge + `","userVerification":"required","timeout":60000}}`,
		"/auth/passkey":     `{"publicKey":{"rpId":"localhost","challenge":"` + challenge + `","userVerification":"required","timeout":60000}}`,
	} {
		mux.Handle("POST "+path+"/begin", p.Handle(func(w http.ResponseWriter, r *http.Request) error {
			v, _, err := Decode(r, Shape{Optional: []string{"flow"}}, Shape{})
			if err != nil {
				return err
			}
			return WriteJSON(w, 200, map[string]any{"flow": "begun:" + v["flow"], "options": json.RawMessage(options)})
		}))
		mux.Handle("POST "+path, p.Handle(func(w http.ResponseWriter, r *http.Request) error {
			v, _, err := Decode(r, Shape{}, finish)
			if err != nil {
				return err
			}
			s.posted <- v
			return Redirect(w, "/sample/device-done")
		}))
	}
	mux.Handle("POST /auth/password/strength", p.Handle(func(w http.ResponseWriter, r *http.Request) error {
		v, _, err := Decode(r, Shape{Required: []string{"password"}, Optional: []string{"email"}}, Shape{})
		if err != nil {
			return err
		}
		s.scored <- v["password"]
		return WriteJSON(w, 200, map[string]int{"score": min(4, len(v["password"])/4)})
	}))
	mux.Handle("POST /auth/login", p.Handle(func(w http.ResponseWriter, r *http.Request) error {
		v, _, err := Decode(r, Shape{}, Shape{Required: []string{"email", "password"}, Optional: []string{"next"}, Flags: []string{"remember"}})
		if err != nil {
			return err
		}
		if v["password"] == "follow" {
			return Follow(w, "/oauth/x")
		}
		return Redirect(w, "/oauth/x")
	}))
	mux.HandleFunc("GET /oauth/x", func(w http.ResponseWriter, _ *http.Request) { _ = Redirect(w, s.away.URL) })
	s.away = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("<!doctype html><title>x</title><link rel=icon href=data:,><h1 id=away>Away</h1>"))
	}))
	t.Cleanup(s.away.Close)
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	s.URL = strings.Replace(s.URL, "127.0.0.1", "localhost", 1) // passkeys want a name
	return s
}

// TestBrowser shows every page to a real browser, in the widths of a small phone
// and a desk, with the policy in force. First comes the positive control: the
// browser's complaints are heard.
func TestBrowser(t *testing.T) {
	ctx, found := startBrowser(t)
	s := newSite(t, newPages(t, ""))
	bad := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Content-Security-Policy", contentPolicy)
		_, _ = w.Write([]byte(`<!doctype html><title>x</title><h1 style="color:red">x</h1><script>console.error(1)</script>`))
	}))
	defer bad.Close()
	if err := chromedp.Do(ctx, chromedp.Navigate(bad.URL)); err != nil {
		t.Fatal(err)
	}
	if heard := strings.Join(found.take(), "\n"); !strings.Contains(heard, "style") || !strings.Contains(heard, "script") {
		t.Fatalf("a page that breaks its policy: %s", heard)
	}
	for name := range samples() {
		if err := chromedp.Do(ctx, chromedp.Navigate(s.URL+"/sample/"+name)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, width := range []int64{320, 1280} {
			if err := chromedp.Do(ctx, chromedp.EmulateViewport(width, 800)); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			over, err := chromedp.Run(ctx, chromedp.Evaluate[int]("document.documentElement.scrollWidth - innerWidth"))
			if err != nil || over > 0 {
				t.Errorf("%s is %d px wider than %d (%v)", name, over, width, err)
			}
			if list := found.take(); list != nil {
				t.Errorf("%s: the browser complains: %q", name, list)
			}
		}
	}
	t.Run("strength", func(t *testing.T) { browserStrength(t, ctx, s) })
	t.Run("passkeys", func(t *testing.T) { browserPasskeys(t, ctx, s) })
	t.Run("onward", func(t *testing.T) { browserOnward(t, ctx, s, found) })
}

func browserStrength(t *testing.T, ctx context.Context, s *site) {
	if err := chromedp.Do(ctx, chromedp.Navigate(s.URL+"/sample/register"), chromedp.SendKeys(chromedp.ID("password"), "correct horse battery"),
		chromedp.WaitVisible(chromedp.CSS(".strength[data-score='4']")), chromedp.Click(chromedp.CSS("button.reveal"))); err != nil {
		t.Fatal(err)
	}
	word, err := chromedp.Run(ctx, chromedp.Text(chromedp.CSS(".strength output")))
	if err != nil || word != "Strong" {
		t.Errorf("the meter says %q (%v)", word, err)
	}
	kind, err := chromedp.Run(ctx, chromedp.Evaluate[string]("document.getElementById('password').type"))
	if err != nil || kind != "text" {
		t.Errorf("the password is shown as %q (%v)", kind, err)
	}
	if asked := len(s.scored); asked > 3 { // far fewer than keys: typing is faster than the pause
		t.Errorf("asked %d times while typing", asked)
	}
}

// browserOnward logs in on the way to a client of another origin. A redirect is
// stopped by the policy of the page with the form; Follow gets there.
func browserOnward(t *testing.T, ctx context.Context, s *site, found *complaints) {
	enter := func(password string) {
		t.Helper()
		if err := chromedp.Do(ctx, chromedp.Navigate(s.URL+"/sample/login-plain"), chromedp.SendKeys(chromedp.ID("email"), "ada@shop.example"),
			chromedp.SendKeys(chromedp.ID("password"), password), chromedp.Click(chromedp.CSS("button.main"))); err != nil {
			t.Fatal(err)
		}
	}
	if list := found.take(); list != nil {
		t.Errorf("the browser complains: %q", list)
	}
	select {
	case <-found.heard: // of before
	default:
	}
	enter("redirect")
	select {
	case <-found.heard:
	case <-ctx.Done():
		t.Fatal("the redirect was not stopped: Onward has no use")
	}
	if heard := strings.Join(found.take(), "\n"); !strings.Contains(heard, "form-action") && !strings.Contains(heard, "ContentSecurityPolicyIssue") {
		t.Errorf("complaints: %s", heard)
	}
	enter("follow")
	if err := chromedp.Do(ctx, chromedp.WaitVisible(chromedp.ID("away"))); err != nil {
		t.Errorf("the client was not reached: %v", err)
	}
}
