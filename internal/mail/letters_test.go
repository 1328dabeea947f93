package mail

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sallyport.dev/zone"
)

var update = flag.Bool("update", false, "write the golden files anew")

const testBase = "https://www.shop.example:8443"

// goldenData is data for each letter, as identity would give it.
func goldenData(kind string) map[string]string {
	all := map[string]string{
		"link": testBase + "/auth/page?token=T0ken-_&x=1", "recover": testBase + "/auth/recover",
		"at": "2026-03-01T12:34:56Z", "expires": "2026-03-02T13:30:00+01:00", "due": "2026-03-31T00:00:00Z",
		"device": "Firefox on Linux", "place": "Graz, Austria", "factor": "passkey <Ann's phone>", "name": "nightly & co",
		"provider": "Google", "left": "7", "keys": "2", "grants": "1", "ended": "3", "signing": "ed25519",
	}
	data := map[string]string{}
	for _, key := range needs()[kind] {
		name := strings.TrimSuffix(key, "?")
		data[name] = all[name]
	}
	return data
}

// TestGolden: each letter in each language, as people get it.
func TestGolden(t *testing.T) {
	l := openLetters(t, testZone())
	for _, kind := range Kinds() {
		for _, language := range Languages() {
			letter, err := l.Compose(kind, language, goldenData(kind))
			if err != nil {
				t.Errorf("%s in %s: %v", kind, language, err)
				continue
			}
			got := fmt.Sprintf("Subject: %s\n\n%s\n%s", letter.Subject, letter.Text, letter.HTML)
			file := filepath.Join("testdata", kind+"."+language+".golden")
			if *update {
				must(t, os.WriteFile(file, []byte(got), 0o600))
			}
			want, err := os.ReadFile(file)
			must(t, err)
			if got != string(want) {
				t.Errorf("%s: got\n%s\nwant\n%s", file, got, want)
			}
			checkContent(t, kind+" in "+language, letter)
		}
	}
}

var (
	addresses = regexp.MustCompile(`(?i)(?:(?:href|src|srcset|action|background)\s*=|url\()\s*"?([^"\s>)]*)`)
	elements  = regexp.MustCompile(`<([a-z0-9]+)`)
)

// checkContent: nothing from outside, nothing but the elements that a letter has.
func checkContent(t *testing.T, name string, l Letter) {
	t.Helper()
	found := addresses.FindAllStringSubmatch(l.HTML, -1)
	if len(found) < 1 {
		t.Errorf("%s: positive control: no link in the HTML", name)
	}
	for _, a := range found {
		if !strings.HasPrefix(a[1], testBase+"/") {
			t.Errorf("%s: the HTML leads to %q", name, a[1])
		}
	}
	for _, text := range strings.Fields(l.Text) {
		if strings.Contains(text, "://") && !strings.HasPrefix(text, testBase) {
			t.Errorf("%s: the text leads to %q", name, text)
		}
	}
	for _, e := range elements.FindAllStringSubmatch(l.HTML, -1) {
		if !strings.Contains(" html head meta title style body main footer h1 p a table tr th td ", " "+e[1]+" ") {
			t.Errorf("%s: element %s", name, e[1])
		}
	}
	if strings.Contains(l.HTML, "style=") || strings.Contains(l.HTML+l.Text, "<no value>") || strings.Contains(l.HTML, "ZgotmplZ") {
		t.Errorf("%s: HTML\n%s", name, l.HTML)
	}
	if !strings.Contains(l.HTML, "prefers-color-scheme: dark") || !strings.Contains(l.HTML, `<html lang="`) {
		t.Errorf("%s: no dark colours or no language", name)
	}
}

// TestFilesOfEachKind: every kind has its four files, and no file is left over.
func TestFilesOfEachKind(t *testing.T) {
	want := map[string]bool{"frame.txt.tmpl": true, "frame.html.tmpl": true}
	for _, language := range Languages() {
		for _, name := range append(Kinds(), "parts") {
			want[name+"."+language+".txt.tmpl"], want[name+"."+language+".html.tmpl"] = true, true
		}
	}
	list, err := fs.ReadDir(builtIn, "letters")
	must(t, err)
	for _, e := range list {
		if !want[e.Name()] {
			t.Errorf("letters/%s belongs to no kind", e.Name())
		}
		delete(want, e.Name())
	}
	for name := range want {
		t.Errorf("letters/%s is missing", name)
	}
	if len(Kinds()) != 16 {
		t.Errorf("%d kinds", len(Kinds()))
	}
}

// TestComposeRefuses: what is missing, no time, or leads elsewhere is an error.
func TestComposeRefuses(t *testing.T) {
	l := openLetters(t, testZone())
	for _, kind := range Kinds() {
		for key := range goldenData(kind) {
			data := goldenData(kind)
			delete(data, key)
			if _, err := l.Compose(kind, "en", data); err == nil || !strings.Contains(err.Error(), key+" is missing") {
				t.Errorf("%s without %s: %v", kind, key, err)
			}
		}
	}
	for name, change := range map[string]func(map[string]string){
		"":                func(map[string]string) {},
		"more":            func(d map[string]string) { d["other"] = "is not used" },
		"empty link":      func(d map[string]string) { d["link"] = "" },
		"other host":      func(d map[string]string) { d["link"] = "https://evil.example/" },
		"base as prefix":  func(d map[string]string) { d["link"] = testBase + ".evil.example/" },
		"port as prefix":  func(d map[string]string) { d["link"] = testBase + "0/" },
		"user":            func(d map[string]string) { d["link"] = testBase + "@evil.example/" },
		"plain":           func(d map[string]string) { d["link"] = "http://www.shop.example:8443/" },
		"script":          func(d map[string]string) { d["link"] = "javascript:alert(1)" },
		"path alone":      func(d map[string]string) { d["link"] = "/auth/verify" },
		"line in a link":  func(d map[string]string) { d["link"] = testBase + "/a\r\nb" },
		"space in a link": func(d map[string]string) { d["link"] = testBase + "/a https://evil.example/" },
		"long link":       func(d map[string]string) { d["link"] = testBase + "/" + strings.Repeat("x", maxLink) },
		"no time":         func(d map[string]string) { d["expires"] = "tomorrow" },
	} {
		data := goldenData(Verify)
		change(data)
		if _, err := l.Compose(Verify, "en", data); (err == nil) != (name == "" || name == "more") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := l.Compose("no-such", "en", nil); err == nil {
		t.Error("an unknown kind: no error")
	}
}

// TestForeignText: text that a stranger may choose stays one line, short, and text.
func TestForeignText(t *testing.T) {
	l := openLetters(t, testZone())
	data := goldenData(KeyExpiring)
	data["name"] = "a\r\nBcc: b@example.org\u2028<b onload=x>\u202e" + strings.Repeat("x", 400)
	letter, err := l.Compose(KeyExpiring, "en", data)
	must(t, err)
	letter.To = "a@example.org"
	if err := letter.check(); err != nil {
		t.Errorf("subject %q: %v", letter.Subject, err)
	}
	if strings.Contains(letter.Text, "\nBcc") || strings.Contains(letter.Text, strings.Repeat("x", 300)) || strings.Contains(letter.Text, "\u202e") {
		t.Errorf("text\n%s", letter.Text)
	}
	if strings.Contains(letter.HTML, "<b ") || !strings.Contains(letter.HTML, "&lt;b onload=x&gt;") {
		t.Errorf("HTML\n%s", letter.HTML)
	}
}

// TestWithout: what a letter may leave out, it does not speak of.
func TestWithout(t *testing.T) {
	l := openLetters(t, testZone())
	for _, c := range []struct{ kind, without, text string }{
		{PasswordChanged, "keys", "API keys ended: 2"}, {FactorAdded, "ended", "sessions have ended: 3"}, {KeyCreated, "signing", "to sign requests with: ed25519"},
	} {
		for _, there := range []bool{true, false} {
			data := goldenData(c.kind)
			if !there {
				data[c.without] = ""
			}
			letter, err := l.Compose(c.kind, "en", data)
			if err != nil || strings.Contains(letter.Text, c.text) != there {
				t.Errorf("%s with %s %v: %v\n%s", c.kind, c.without, there, err, letter.Text)
			}
		}
	}
}

// TestGermanIsPolite: letters speak as the pages do.
func TestGermanIsPolite(t *testing.T) {
	familiar := regexp.MustCompile(`(?i)\b(du|dich|dir|dein\w*)\b`)
	if !familiar.MatchString("Falls du das warst") {
		t.Fatal("positive control: du is not found")
	}
	l := openLetters(t, testZone())
	for _, kind := range Kinds() {
		letter, err := l.Compose(kind, "de", goldenData(kind))
		must(t, err)
		if found := familiar.FindString(letter.Subject + letter.Text + letter.HTML); found != "" {
			t.Errorf("%s says %q", kind, found)
		}
	}
}

func TestLanguages(t *testing.T) {
	l := openLetters(t, testZone())
	for tag, want := range map[string]string{"": "Welcome!", "en": "Welcome!", "de": "Willkommen!", "DE-at": "Willkommen!", "fr": "Welcome!", "den": "Welcome!", "../de": "Welcome!"} {
		letter, err := l.Compose(Verify, tag, goldenData(Verify))
		if err != nil || !strings.Contains(letter.HTML, want) {
			t.Errorf("%q: %v; want %s in\n%s", tag, err, want, letter.HTML)
		}
	}
}

// TestTheme: single files are replaced; one that cannot be used is named.
func TestTheme(t *testing.T) {
	for _, c := range []struct {
		name, file, text string
		want             string // in the text of the letter; of an error when bad
		bad              bool
	}{
		{"letter", "verify.en.txt.tmpl", "Subject: Hello from {{.zone}}\n\nOurs: {{.link}}\n", "Ours: " + testBase, false},
		{"with line ends of Windows", "verify.en.txt.tmpl", "Subject: Hello\r\n\r\nOurs: {{.link}}\r\n", "Ours: " + testBase, false},
		{"parts", "parts.en.txt.tmpl", `{{define "footer"}}Our footer{{end}}{{define "event"}}{{end}}{{define "guess"}}{{end}}`, "Our footer", false},
		{"frame", "frame.txt.tmpl", `Our frame {{template "letter" .}}`, "Our frame", false},
		{"another file", "README", "{{", "Confirm", false},
		{"syntax", "verify.en.txt.tmpl", "Subject: a\n\n{{.link", "verify.en.txt.tmpl", true},
		{"syntax of HTML", "exists.de.html.tmpl", "{{if}}", "exists.de.html.tmpl", true},
		{"unclosed HTML", "exists.de.html.tmpl", `<p title="{{if .link}}">{{end}}`, "exists.de.html.tmpl", true},
		{"unknown key", "verify.de.txt.tmpl", "Subject: a\n\n{{.pasword}}", "verify.de.txt.tmpl", true},
		{"unknown key of HTML", "verify.de.html.tmpl", "{{.pasword}}", "verify.de.html.tmpl", true},
		{"unknown key in subject", "verify.de.txt.tmpl", "Subject: {{.pasword}}\n\na", "verify.de.txt.tmpl", true},
		{"unknown key when empty", "new-device.en.txt.tmpl", "Subject: a\n\n{{if not .place}}{{.nowhere}}{{end}}", "new-device.en.txt.tmpl", true},
		{"unknown key in the frame", "frame.html.tmpl", `{{template "letter" .}}{{.pasword}}`, "frame.html.tmpl", true},
		{"unknown function", "verify.de.txt.tmpl", "Subject: a\n\n{{env}}", "verify.de.txt.tmpl", true},
		{"no subject", "verify.en.txt.tmpl", "Hello", "verify.en.txt.tmpl", true},
		{"two lines of subject", "verify.en.txt.tmpl", "Subject: a\nBcc: b@example.org\n\na", "verify.en.txt.tmpl", true},
		{"parts missing", "parts.en.txt.tmpl", "", "parts.en.txt.tmpl", true},
		{"unknown name", "verify.fr.txt.tmpl", "Subject: a\n\na", "verify.fr.txt.tmpl", true},
		{"not UTF-8", "verify.en.txt.tmpl", "Subject: a\n\n\xff", "verify.en.txt.tmpl", true},
		{"too large", "verify.en.txt.tmpl", "Subject: a\n\n" + strings.Repeat("x", maxTemplate), "verify.en.txt.tmpl", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			z := testZone()
			z.Identity.Theme = t.TempDir()
			must(t, os.Mkdir(filepath.Join(z.Identity.Theme, "letters"), 0o700))
			must(t, os.WriteFile(filepath.Join(z.Identity.Theme, "letters", c.file), []byte(c.text), 0o600))
			l, err := OpenLetters(z, "")
			if c.bad {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Fatalf("error %v, want one that names %s", err, c.want)
				}
				return
			}
			must(t, err)
			letter, err := l.Compose(Verify, "en", goldenData(Verify))
			if err != nil || !strings.Contains(letter.Text, c.want) {
				t.Errorf("%v; want %q in\n%s", err, c.want, letter.Text)
			}
		})
	}
	z := testZone()
	z.Identity.Theme = t.TempDir() // a theme without letters
	openLetters(t, z)
	must(t, os.MkdirAll(filepath.Join(z.Identity.Theme, "letters", "verify.en.txt.tmpl"), 0o700))
	if _, err := OpenLetters(z, ""); err == nil {
		t.Error("a folder in place of a file: no error")
	}
}

// TestBase: links lead to where the zone's pages are.
func TestBase(t *testing.T) {
	with := func(address string, hosts ...string) *zone.Zone {
		z := testZone()
		z.Listeners[0].Address, z.Listeners[0].Hosts = address, hosts
		return z
	}
	none := testZone()
	none.Identity.Listener = ""
	for _, c := range []struct {
		z          *zone.Zone
		base, want string
	}{
		{with("0.0.0.0:443", "www.shop.example", "shop.example"), "", "https://www.shop.example"},
		{with("127.0.0.1:8443", "localhost"), "", "https://localhost:8443"},
		{with("[::1]:8443", "::1"), "", "https://[::1]:8443"},
		{with("[::1]:443", "::1"), "", "https://[::1]"},
		{with("0.0.0.0:443"), "", "https://shop.example"},
		{none, "", "https://shop.example"},
		{none, "https://login.shop.example", "https://login.shop.example"},
		{none, "https://login.shop.example/", ""},
		{none, "login.shop.example", ""},
		{none, "javascript://x", ""},
	} {
		l, err := OpenLetters(c.z, c.base)
		if (err == nil) != (c.want != "") || err == nil && l.base != c.want {
			t.Errorf("base %q of %v: %+v, %v; want %q", c.base, c.z.Listeners[0], l, err, c.want)
		}
	}
}

func openLetters(t testing.TB, z *zone.Zone) *Letters {
	t.Helper()
	l, err := OpenLetters(z, "")
	must(t, err)
	return l
}
