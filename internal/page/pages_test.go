package page

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"sallyport.dev/internal/problem"
)

// TestEveryPage renders every page in every language with every part of it and
// without, and looks at what came out as a browser and a reader's ear would.
func TestEveryPage(t *testing.T) {
	p := newPages(t, "")
	seen := map[string]bool{}
	for name, sample := range samples() {
		seen[sample.template()] = true
		for i, v := range variants(sample) {
			for _, language := range p.Languages() {
				for _, refusal := range []*Refusal{nil, RefusalOf(problem.New(problem.AuthLogin, nil)), RefusalOf(problem.WithDetail(problem.AccountPassword, "shorter than 15 characters"))} {
					w := show(t, p, v, language, refusal, []string{"", "ada@shop.example"}[i%2])
					if faults := look(w.Body.String(), language); faults != nil {
						t.Fatalf("%s, variant %d, in %s, refused %v: %v\n%s", name, i, language, refusal != nil, faults, w.Body)
					}
				}
			}
		}
	}
	for _, v := range views() {
		if _, refusal := v.(refused); !refusal && !seen[v.template()] {
			t.Errorf("no sample of the page %s", v.template())
		}
	}
}

// TestEveryRefusal puts every reason there is into words, in every language.
func TestEveryRefusal(t *testing.T) {
	p := newPages(t, "")
	for _, reason := range problem.All() {
		for _, language := range p.Languages() {
			for _, v := range []View{Login{}, refused{CorrelationID: "7d3f"}} {
				w := show(t, p, v, language, RefusalOf(problem.New(reason, nil)), "")
				if w.Code != reason.Status() || w.Header().Get(problem.ReasonHeader) != reason.Code() {
					t.Errorf("%v: %d with reason %q", reason, w.Code, w.Header().Get(problem.ReasonHeader))
				}
				if faults := look(w.Body.String(), language); faults != nil {
					t.Errorf("%v in %s: %v\n%s", reason, language, faults, w.Body)
				}
			}
		}
	}
}

// TestLook is the positive control of look: it finds what is wrong.
func TestLook(t *testing.T) {
	good := show(t, newPages(t, ""), samples()["login"], "en", RefusalOf(problem.New(problem.AuthLogin, nil)), "").Body.String()
	if faults := look(good, "en"); faults != nil {
		t.Fatalf("a good page: %v", faults)
	}
	for _, c := range []struct{ from, to, want string }{
		{`<label for="email">`, `<label for="mail">`, "no element mail"},
		{`<label for="email">`, `<label>`, "no label for email"},
		{`</form>`, `</div>`, "closes"},
		{`<main id="main">`, `<main id="email">`, "id email twice"},
		{`class="card"`, `style="x"`, "style"},
		{`class="card"`, `onclick="x"`, "onclick"},
		{`<h1>`, `<h3>`, "closes"},
		{`lang="en"`, `lang="de"`, "lang is"},
		{`role="alert"`, `role="alert" aria-describedby="nowhere"`, "no element nowhere"},
		{`href="/auth/recover"`, `href="https://evil.example/"`, "leads away"},
		{`<h2>`, `<h2><no value>`, "no value"},
		{`action="/auth/login"`, `action=""`, "form"},
		{` type="submit"`, ``, "button"},
		{`autocomplete="current-password"`, ``, "autocomplete"},
	} {
		if !strings.Contains(good, c.from) {
			t.Fatalf("the page holds no %q\n%s", c.from, good)
		}
		if faults := fmt.Sprint(look(strings.Replace(good, c.from, c.to, 1), "en")); !strings.Contains(faults, c.want) {
			t.Errorf("with %s: %s, want %q", c.to, faults, c.want)
		}
	}
}

// void are the elements without an end (HTML Standard section 13.1.2).
var void = []string{"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}

// look reads a page and says what is wrong with it.
func look(page, language string) (faults []string) {
	bad := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	for _, word := range []string{"<no value>", "&lt;no value", "ZgotmplZ", "%!", "{{"} {
		if strings.Contains(page, word) {
			bad("the page holds %q: no value", word)
		}
	}
	ids, labels, refers := map[string]bool{}, map[string]bool{}, []string{}
	var inputs, open []string
	var h1, focus int
	z := html.NewTokenizer(strings.NewReader(page))
	for {
		kind := z.Next()
		if kind == html.ErrorToken {
			break
		}
		tok := z.Token()
		switch kind {
		case html.EndTagToken:
			if len(open) == 0 || open[len(open)-1] != tok.Data {
				bad("</%s> closes %v", tok.Data, open)
				return faults
			}
			open = open[:len(open)-1]
		case html.StartTagToken, html.SelfClosingTagToken:
			at := attributes(tok)
			if kind == html.StartTagToken && !slices.Contains(void, tok.Data) {
				open = append(open, tok.Data)
			}
			for k, v := range at {
				if k == "style" || strings.HasPrefix(k, "on") {
					bad("<%s> has %s", tok.Data, k)
				}
				if (k == "href" || k == "src" || k == "action") && !strings.HasPrefix(v, "/") && !strings.HasPrefix(v, "#") && !strings.HasPrefix(v, "otpauth:") {
					bad("%s=%q leads away", k, v)
				}
			}
			if id := at["id"]; id != "" {
				if ids[id] {
					bad("id %s twice", id)
				}
				ids[id] = true
			}
			refers = append(refers, strings.Fields(at["aria-describedby"]+" "+at["aria-labelledby"]+" "+at["for"]+" "+at["aria-controls"]+" "+at["data-reveal"]+" "+at["data-copy"]+" "+at["data-strength"])...)
			if anchor, ok := strings.CutPrefix(at["href"], "#"); ok {
				refers = append(refers, anchor)
			}
			if _, ok := at["autofocus"]; ok {
				focus++
			}
			switch tok.Data {
			case "html":
				if at["lang"] != language {
					bad("lang is %q", at["lang"])
				}
			case "h1":
				h1++
			case "label":
				labels[at["for"]] = true
			case "input", "select":
				if at["type"] == "hidden" {
					break
				}
				inputs = append(inputs, at["id"])
				if at["autocomplete"] == "" && at["type"] != "checkbox" && tok.Data == "input" {
					bad("%s has no autocomplete", at["id"])
				}
			case "button":
				if at["type"] == "" {
					bad("a button without a type")
				}
			case "form":
				if at["method"] != "post" || at["action"] == "" {
					bad("form %v", at)
				}
			case "img":
				if _, ok := at["alt"]; !ok {
					bad("a picture without words")
				}
			}
		}
	}
	if len(open) > 0 {
		bad("left open: %v", open)
	}
	for _, id := range inputs {
		if !labels[id] {
			bad("no label for %s", id)
		}
	}
	for _, id := range refers {
		if !ids[id] {
			bad("no element %s", id)
		}
	}
	if h1 != 1 || focus > 1 {
		bad("%d headings, %d with the focus", h1, focus)
	}
	return faults
}

func attributes(tok html.Token) map[string]string {
	at := make(map[string]string, len(tok.Attr))
	for _, a := range tok.Attr {
		at[a.Key] = a.Val
	}
	return at
}

func TestHeaders(t *testing.T) {
	p := newPages(t, "")
	w := show(t, p, samples()["account"], "de", nil, "")
	for name, want := range map[string]string{
		"Content-Type": "text/html; charset=utf-8", "Content-Language": "de", "Content-Security-Policy": contentPolicy, "X-Frame-Options": "DENY",
		"Referrer-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin", problem.ReasonHeader: "",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if w.Code != http.StatusOK {
		t.Errorf("status %d", w.Code)
	}
	w = show(t, p, Login{}, "de", RefusalOf(Later(problem.LimitRate, 90e9)), "")
	if w.Code != 429 || w.Header().Get("Retry-After") != "90" || !strings.Contains(w.Body.String(), "in 90 Sekunden") {
		t.Errorf("refused: %d %v\n%s", w.Code, w.Header(), w.Body)
	}
}

// TestHostileText: what came from others is text on every page.
func TestHostileText(t *testing.T) {
	p := newPages(t, "")
	const evil = `"><script>alert(1)</script>{{.}}`
	for _, v := range []View{
		Login{Email: evil, Next: "/" + evil, Providers: []ProviderButton{{Name: evil, Title: evil}}}, Sent{Email: evil}, Consent{Title: evil, Host: evil, Email: evil, Scopes: []string{evil}},
		Account{Email: evil, Name: evil, Sessions: []Session{{ID: evil, Device: evil}}, Keys: []Key{{ID: "x", Name: evil}}, Notice: evil},
		Message{Title: evil, Text: evil, Link: "javascript:alert(1)"}, Link{Provider: evil, Title: evil},
	} {
		body := show(t, p, v, "en", RefusalOf(problem.WithDetail(problem.AccountInvalid, evil)), evil).Body.String()
		if strings.Contains(body, "<script>") || strings.Contains(body, "javascript:") {
			t.Errorf("%T: unescaped\n%s", v, body)
		}
	}
}

func TestSVG(t *testing.T) {
	f := &frame{}
	if _, err := f.SVG(qr); err != nil {
		t.Errorf("a QR code: %v", err)
	}
	for _, bad := range []string{
		"", "x", "<svg ", `<svg xmlns="http://www.w3.org/2000/svg"><script>1</script></svg>`, `<svg onload="x"></svg>`, `<svg xmlns="x"><a href="x"/></svg>`,
		`<svg xmlns="x" style="x"></svg>`, `<svg xmlns="x"><!-- x --></svg>`, `<svg xmlns="x"><path d="1"></svg>`, `<svg xmlns="x"><image href="x"/></svg>`, `<svg ` + strings.Repeat(" ", svgMax) + `></svg>`,
	} {
		if got, err := f.SVG(bad); err == nil {
			t.Errorf("SVG(%.60q) = %q, want an error", bad, got)
		}
	}
}
