package page

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/problem"
)

// textsOf reads a language's file as it is.
func textsOf(t *testing.T, language string) map[string]any {
	t.Helper()
	b, err := messages.ReadFile("messages/" + language + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var texts map[string]any
	if err := json.Unmarshal(b, &texts); err != nil {
		t.Fatal(err)
	}
	return texts
}

// usedKeys are the keys that templates and code ask for, by their own words or
// made of a prefix and a name of a closed list.
func usedKeys(t *testing.T) map[string]bool {
	t.Helper()
	used := map[string]bool{}
	inTemplate := regexp.MustCompile(`\.[TN] "([a-z0-9._-]+)"`)
	inCode := regexp.MustCompile(`"([a-z_-]+(?:\.[a-z0-9_-]+)*)"`)
	names, err := fs.Glob(web, "web/*.html")
	if err != nil || len(names) < 20 {
		t.Fatalf("templates: %v, %v", names, err)
	}
	for _, name := range names {
		b, err := web.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range inTemplate.FindAllSubmatch(b, -1) {
			used[string(m[1])] = true
		}
	}
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) < 10 {
		t.Fatalf("code: %v, %v", files, err)
	}
	all := textsOf(t, "en")
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range inCode.FindAllSubmatch(b, -1) {
			if key := string(m[1]); all[key] != nil { // most texts in quotes are no keys
				used[key] = true
			}
		}
	}
	for name, k := range kinds {
		used["label."+name] = true
		if k.Hint {
			used["hint."+name] = true
		}
	}
	for _, v := range samples() {
		f := &frame{Page: v}
		if _, free := v.(Message); !free {
			used[f.title()] = true
		}
		switch v.(type) {
		case Sent:
			used["sent."+f.Kind()] = true
		case Verify:
			used["verify."+f.Kind()], used["verify."+f.Kind()+".submit"] = true, true
		}
	}
	for _, v := range []View{MFA{StepUp: true}, DeviceDone{}, Password{Current: true, Expired: true}} {
		used[(&frame{Page: v}).title()] = true
	}
	for _, key := range details {
		used["detail."+key] = true
	}
	for _, field := range blamed {
		used["refusal.field."+field] = true
	}
	for month := range 12 {
		used[fmt.Sprintf("month.%d", month+1)] = true
	}
	return used
}

// free are the families of keys that others choose from, or that are not there
// for every name.
var free = regexp.MustCompile(`^(notice|scope|factor)\.|^refusal\.[a-z]+(\.[a-z_]+)?(\.text)?$|^refusal\.field\.current\.text$|^hint\.new-password$`)

func TestEveryTextIsUsedAndThere(t *testing.T) {
	english, used := textsOf(t, "en"), usedKeys(t)
	for key := range used {
		if english[key] == nil {
			t.Errorf("no text for %q", key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(english)) {
		if !used[key] && !free.MatchString(key) {
			t.Errorf("the text %q is used nowhere", key)
		}
	}
	reasons := map[string]bool{}
	for _, r := range problem.All() {
		family, _, _ := strings.Cut(r.Code(), ".")
		reasons["refusal."+r.Code()], reasons["refusal."+family] = true, true
		if english["refusal."+r.Code()] == nil && english["refusal."+family] == nil {
			t.Errorf("no text for the reason %v", r)
		}
	}
	for key := range english {
		if strings.HasPrefix(key, "refusal.") && !strings.HasPrefix(key, "refusal.field.") && !used[key] && !reasons[strings.TrimSuffix(key, ".text")] {
			t.Errorf("the text %q is of no reason", key)
		}
	}
}

func TestEveryLanguageIsWhole(t *testing.T) {
	english := textsOf(t, "en")
	for _, language := range newPages(t, "").Languages() {
		texts := textsOf(t, language)
		for key, text := range english {
			other, ok := texts[key]
			if !ok {
				t.Errorf("%s: no text for %q", language, key)
			} else if fmt.Sprint(mentions(text)) != fmt.Sprint(mentions(other)) {
				t.Errorf("%s: %q mentions %v, want %v", language, key, mentions(other), mentions(text))
			}
		}
		for key := range texts {
			if english[key] == nil {
				t.Errorf("%s: %q is a text that English does not have", language, key)
			}
		}
	}
}

func mentions(text any) []string {
	var list []string
	for _, m := range mention.FindAllStringSubmatch(fmt.Sprint(text), -1) {
		list = append(list, m[1])
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func TestLanguageOfAnAnswer(t *testing.T) {
	p := newPages(t, "")
	for _, c := range []struct{ account, accept, want string }{
		{"", "", "en"}, {"", "de", "de"}, {"", "de-AT, en;q=0.5", "de"}, {"", "fr, de;q=0.8, en;q=0.9", "en"}, {"", "ja", "en"}, {"", "*", "en"},
		{"de", "en", "de"}, {"en", "de", "en"}, {"", "!!", "en"}, {"!!", "de", "de"}, {"ja", "de", "de"}, {"", strings.Repeat("de,", 100), "en"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		if c.accept != "" {
			r.Header.Set("Accept-Language", c.accept)
		}
		r = r.WithContext(WithLanguage(r.Context(), c.account))
		if got := p.Language(r); got != c.want {
			t.Errorf("account %q, browser %.20q: %q, want %q", c.account, c.accept, got, c.want)
		}
	}
	r := httptest.NewRequest("GET", "/", nil)
	if got := fmt.Sprint(p.Locales(r, "de")); got != "[{ As my browser says false} {en English false} {de Deutsch true}]" {
		t.Errorf("languages to choose from: %s", got)
	}
}

func TestWordsOfTime(t *testing.T) {
	p := newPages(t, "")
	for _, c := range []struct {
		past             time.Duration
		english, deutsch string
	}{
		{-time.Second, "just now", "gerade eben"}, {59 * time.Second, "just now", "gerade eben"},
		{time.Minute, "1 minute ago", "vor 1 Minute"}, {119 * time.Minute, "1 hour ago", "vor 1 Stunde"},
		{25 * time.Hour, "1 day ago", "vor 1 Tag"}, {72 * time.Hour, "3 days ago", "vor 3 Tagen"}, {24 * 40 * time.Hour, "7 September 2026", "7. September 2026"},
	} {
		for i, want := range []string{c.english, c.deutsch} {
			f := &frame{pages: p, tag: p.words.tags[i], now: now}
			if got, err := f.Ago(now.Add(-c.past)); err != nil || got.Words != want || got.At != Stamp(now.Add(-c.past)) {
				t.Errorf("Ago(%v) = %+v, %v, want %q", c.past, got, err, want)
			}
		}
	}
	f := &frame{pages: p, tag: p.words.tags[0], now: now}
	for seconds, want := range map[int]string{0: "1 second", 1: "1 second", 2: "2 seconds", 90: "90 seconds", 91: "2 minutes", 900: "15 minutes", 5400: "90 minutes", 5401: "2 hours"} {
		if got, err := f.span(seconds); err != nil || got != want {
			t.Errorf("span(%d) = %q, %v, want %q", seconds, got, err, want)
		}
	}
}
