package e2e

import (
	"flag"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

type cdpCommand[P, R any] = cdp.Command[P, R]

// faults lists what is wrong with a page for who cannot see it, and what its
// content policy forbade.
const faults = `(() => {
  const found = [...(window.broken ?? ["nobody listened for violations"])];
  const say = (what, e) => found.push(what + ": " + e.outerHTML.slice(0, 160));
  const text = (e) => e.textContent.trim();
  const named = (e) => (e.getAttribute("aria-labelledby") ?? "").split(/\s+/).some((id) => id && document.getElementById(id) && text(document.getElementById(id)));
  if (!document.title.trim()) found.push("no title");
  if (!document.documentElement.lang) found.push("no lang");
  if (!document.querySelector("meta[name=viewport]")) found.push("no viewport");
  if (document.querySelectorAll("h1").length !== 1) found.push("not one h1");
  if (document.querySelectorAll("main").length !== 1) found.push("not one main");
  const ids = new Set();
  for (const e of document.querySelectorAll("[id]")) {
    if (ids.has(e.id)) say("id twice", e);
    ids.add(e.id);
  }
  for (const e of document.querySelectorAll("input:not([type=hidden]), select, textarea"))
    if (![...e.labels].some((l) => text(l)) && !e.getAttribute("aria-label") && !named(e)) say("no label", e);
  for (const e of document.querySelectorAll("img"))
    if (!e.hasAttribute("alt")) say("no alt", e);
  for (const e of document.querySelectorAll("button, a[href], summary"))
    if (!text(e) && !e.getAttribute("aria-label") && !named(e)) say("no name", e);
  for (const e of document.querySelectorAll("svg"))
    if (!e.getAttribute("aria-label") && !e.querySelector("title") && !named(e) && !e.closest("[aria-hidden=true]")) say("no name", e);
  for (const name of ["for", "aria-describedby", "aria-labelledby", "aria-controls"])
    for (const e of document.querySelectorAll("[" + name + "]"))
      for (const id of e.getAttribute(name).split(/\s+/)) if (!ids.has(id)) say(name + " leads nowhere", e);
  for (const form of document.forms) {
    const seen = new Set();
    for (const e of form.elements) {
      if (!e.name || e.type === "checkbox" || e.type === "radio" || e.type === "submit") continue;
      if (seen.has(e.name)) say("field twice in a form", e);
      seen.add(e.name);
    }
  }
  return found;
})()`

// look is what every page has to stand: it has no faults, and the browser nothing
// to complain of. The first time that a page is met it is looked at closely.
func (b *tab) look() {
	b.t.Helper()
	where := b.where()
	if list := append(eval[[]string](b, faults), b.heard()...); len(list) > 0 {
		b.t.Errorf("%s:\n%s", where, strings.Join(list, "\n"))
	}
	if lang := eval[string](b, "document.documentElement.lang"); lang != b.lang {
		b.t.Errorf("%s is in %q, want %q", where, lang, b.lang)
	}
	path, _, _ := strings.Cut(where, "?")
	path = flowInPath.ReplaceAllString(path, "/*") // the page is the same
	name := b.lang + " " + path + " " + eval[string](b, "document.title")
	if b.chrome.looked[name] {
		return
	}
	b.chrome.looked[name] = true
	b.narrow(where, name)
	b.byKeyboard(where)
}

var flowInPath = regexp.MustCompile(`/[\w-]{43}$`)

// narrow shows the page on a phone, light and dark.
func (b *tab) narrow(where, name string) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(360, 740))
	for _, scheme := range []string{"light", "dark"} {
		command(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
		got := eval[struct {
			Over  int
			Wide  []string
			Light float64
		}](b, `(() => ({
			over: document.scrollingElement.scrollWidth - innerWidth,
			wide: [...document.querySelectorAll("main *")].filter((e) => e.checkVisibility() && e.getBoundingClientRect().right > innerWidth + 0.5).slice(0, 3).map((e) => e.outerHTML.slice(0, 160)),
			light: getComputedStyle(document.body).backgroundColor.match(/[\d.]+/g).slice(0, 3).reduce((sum, n) => sum + Number(n) / 765, 0),
		}))()`)
		if got.Over > 0 || len(got.Wide) > 0 {
			b.t.Errorf("%s, %s: %d px wider than a phone: %q", where, scheme, got.Over, got.Wide)
		}
		if dark := got.Light < 0.5; dark != (scheme == "dark") {
			b.t.Errorf("%s: the ground of %s has the lightness %.2f", where, scheme, got.Light)
		}
		b.shoot(name + " " + scheme)
	}
	command(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{})
	b.do(chromedp.EmulateViewport(1000, 800))
	b.shoot(name + " wide")
}

// shoot keeps a picture, where the run keeps what tests leave (-artifacts).
func (b *tab) shoot(name string) {
	b.t.Helper()
	if f := flag.Lookup("test.artifacts"); f == nil || f.Value.String() != "true" {
		return
	}
	picture, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.t.Fatal(err)
	}
	file := filepath.Join(b.t.ArtifactDir(), url.PathEscape(name)+".png")
	if err := os.WriteFile(file, picture, 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// stops gives a page's elements that the keyboard has to reach, in their order.
const stops = `[...document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary")].filter((e) => !e.disabled && e.tabIndex >= 0 && e.checkVisibility({visibilityProperty: true}))`

// byKeyboard walks the page with the tabulator: every link and control is reached,
// in the order of the page, and shows that it has the focus.
func (b *tab) byKeyboard(where string) {
	b.t.Helper()
	n := eval[int](b, "window.stops = "+stops+", stops.length")
	if n == 0 {
		return
	}
	here := func(i int) {
		b.t.Helper()
		got := eval[struct {
			At   int
			What string
			Seen bool
		}](b, `(() => {
			const e = document.activeElement, style = getComputedStyle(e), box = e.getBoundingClientRect();
			return {
				at: stops.indexOf(e), what: e.outerHTML.slice(0, 160),
				seen: e.matches(":focus-visible") && (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1 || style.boxShadow !== "none") &&
					box.bottom > 0 && box.top < innerHeight && box.width > 0,
			};
		})()`)
		if got.At != i {
			b.t.Fatalf("%s: the tabulator came to %d %s, want %d %s", where, got.At, got.What, i, eval[string](b, fmt.Sprintf("stops[%d].outerHTML.slice(0, 160)", i)))
		}
		if !got.Seen {
			b.t.Errorf("%s: the focus does not show on %s", where, got.What)
		}
	}
	b.do(chromedp.Evaluate[chromedp.Void]("stops[0].focus(), undefined"), chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Tab, chromedp.KeyModifiers(kb.ModifierShift)))
	here(0)
	for i := 1; i < n; i++ {
		b.do(chromedp.KeyEvent(kb.Tab))
		here(i)
	}
	b.do(chromedp.Evaluate[chromedp.Void]("scrollTo(0, 0), (document.querySelector('[autofocus]') ?? stops[0]).focus(), undefined"))
}
