package page

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sallyport.dev/zone"
)

// theme writes the files of a theme, name and content in turn.
func theme(t *testing.T, files ...string) string {
	t.Helper()
	folder := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		name := filepath.Join(folder, files[i])
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(files[i+1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

func TestTheme(t *testing.T) {
	p := newPages(t, theme(t,
		"theme.css", ":root { --accent: rebeccapurple }",
		"icon.svg", `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"><path d="M0 0h1v1z"/></svg>`,
		"templates/logged-out.html", `{{define "content"}}<h1>{{.T "theme.bye"}} {{.Page.Title}}</h1>{{end}}`,
		"messages/en.json", `{"title.login": "Come in", "theme.bye": "Bye"}`,
		"messages/fr.json", `{"title.login": "Connexion", "ago.days": {"one": "il y a {{.N}} jour", "many": "il y a {{.N}} de jours", "other": "il y a {{.N}} jours"}}`,
		"README.md", "ours", ".gitignore", "x", "letters/verify.en.txt", "x",
	))
	if got := strings.Join(p.Languages(), " "); got != "en de fr" {
		t.Errorf("languages %q", got)
	}
	for language, want := range map[string]string{"en": "<h1>Come in</h1>", "fr": "<h1>Connexion</h1>", "de": "<h1>Anmelden</h1>"} {
		body := show(t, p, Login{}, language, nil, "").Body.String()
		if !strings.Contains(body, want) || !strings.Contains(body, `lang="`+language+`"`) {
			t.Errorf("login in %s: no %q\n%s", language, want, body)
		}
	}
	if body := show(t, p, Login{}, "fr", nil, "").Body.String(); !strings.Contains(body, "Stay logged in") {
		t.Errorf("what French lacks is not English:\n%s", body)
	}
	for _, language := range []string{"en", "fr"} { // fr takes it from en
		if body := show(t, p, LoggedOut{Title: "<b>"}, language, nil, "").Body.String(); !strings.Contains(body, "<h1>Bye &lt;b&gt;</h1>") {
			t.Errorf("the template of the theme, in %s:\n%s", language, body)
		}
	}
	for _, a := range p.Assets() {
		w := httptest.NewRecorder()
		a.Handler.ServeHTTP(w, httptest.NewRequest("GET", a.Path, nil))
		want := map[string]string{"/auth/style.css": "--accent: rebeccapurple", "/auth/icon.svg": "M0 0h1v1z", "/auth/form.js": "data-reveal", "/auth/passkey.js": "mediation"}[a.Path]
		if want == "" || !strings.Contains(w.Body.String(), want) || w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: no %q, headers %v", a.Path, want, w.Header())
		}
		if a.Path == "/auth/style.css" && !strings.Contains(w.Body.String(), ".card {") {
			t.Error("theme.css took the place of the style")
		}
		if w.Header().Get("Cache-Control") != "no-cache" {
			t.Errorf("%s: %s, want no-cache", a.Path, w.Header().Get("Cache-Control"))
		}
		w = httptest.NewRecorder()
		a.Handler.ServeHTTP(w, httptest.NewRequest("GET", p.address(strings.TrimPrefix(a.Path, "/auth/")), nil))
		if !strings.Contains(w.Header().Get("Cache-Control"), "immutable") {
			t.Errorf("%s by its hash: %s", a.Path, w.Header().Get("Cache-Control"))
		}
	}
	p = newPages(t, theme(t, "style.css", "body { color: red }"))
	if got := string(p.assets[0].content); strings.Contains(got, ".card") || !strings.Contains(got, "color: red") {
		t.Errorf("style.css of a theme: %.100q", got)
	}
}

func TestBrokenTheme(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	file := filepath.Join(theme(t, "file", "x"), "file")
	out := theme(t, "theme.css", "x")
	if err := os.Remove(filepath.Join(out, "theme.css")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/hostname", filepath.Join(out, "theme.css")); err != nil {
		t.Fatal(err)
	}
	fifo := theme(t)
	if err := syscall.Mkfifo(filepath.Join(fifo, "theme.css"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, folder, want string }{
		{"a FIFO", fifo, "theme.css: not a regular file"},
		{"missing", missing, "missing"},
		{"a file", file, "file"},
		{"a link out", out, "theme.css"},
		{"unknown file", theme(t, "styles.css", ""), "styles.css: a theme holds"},
		{"folder as a file", theme(t, "style.css/x", ""), "style.css: not a regular file"},
		{"large style", theme(t, "style.css", strings.Repeat("x", themeStyleMax+1)), "larger than"},
		{"large template", theme(t, "templates/login.html", strings.Repeat("x", themeTemplateMax+1)), "templates: login.html: larger than"},
		{"icon of another kind", theme(t, "icon.svg", "<html></html>"), "icon.svg: not an SVG"},
		{"broken icon", theme(t, "icon.svg", "<svg>"), "icon.svg"},
		{"unknown template", theme(t, "templates/signin.html", ""), "no page has the template signin.html"},
		{"template that does not parse", theme(t, "templates/login.html", `{{define "content"}}{{if}}{{end}}`), "templates/login.html"},
		{"template with an unknown field", theme(t, "templates/login.html", `{{define "content"}}{{.Page.Pass}}{{end}}`), "page login"},
		{"template with an unknown key", theme(t, "templates/login.html", `{{define "content"}}{{.T "title.nothing"}}{{end}}`), "title.nothing"},
		{"template that cannot be escaped", theme(t, "templates/login.html", `{{define "content"}}<a href="{{if .Page.Email}}x?{{else}}y" {{end}}>{{end}}`), "page login"},
		{"parts without a part", theme(t, "templates/parts.html", `{{define "summary"}}{{end}}`), "page "},
		{"messages of no language", theme(t, "messages/englisch.json", `{}`), "not a language tag"},
		{"odd tag", theme(t, "messages/DE.json", `{}`), "not a language tag"},
		{"messages of another form", theme(t, "messages/fr.yaml", `{}`), "want LANGUAGE.json"},
		{"messages that are not JSON", theme(t, "messages/fr.json", `{`), "messages/fr.json"},
		{"unknown key", theme(t, "messages/fr.json", `{"title.signin": "x"}`), "title.signin: there is no text of this key"},
		{"unknown mention", theme(t, "messages/fr.json", `{"title.login": "{{.Password}}"}`), "{{.Password}} is not known"},
		{"an action", theme(t, "messages/fr.json", `{"title.login": "{{range .}}{{end}}"}`), "nothing else in braces"},
		{"unknown form", theme(t, "messages/fr.json", `{"ago.days": {"other": "x", "some": "y"}}`), `"some" is no plural form`},
		{"no form other", theme(t, "messages/fr.json", `{"ago.days": {"one": "x"}}`), "no form `other`"},
		{"a number", theme(t, "messages/fr.json", `{"title.login": 1}`), "want a text"},
	} {
		z := &zone.Zone{Name: "shop"}
		z.Identity.Theme = c.folder
		if _, err := New(Config{Zone: z}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	if _, err := New(Config{}); err == nil {
		t.Error("without a zone: no error")
	}
}
