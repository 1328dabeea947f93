package zone

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestEveryErrorIsGolden finds each text that the package can refuse a map with
// in its sources, and looks for it in the golden files. The texts that no
// golden file can hold (files that are too long) are in TestBounds.
func TestEveryErrorIsGolden(t *testing.T) {
	var golden strings.Builder
	for _, file := range archives(t) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		golden.Write(data)
	}
	for _, b := range bounds() {
		golden.WriteString(b.want + "\n")
	}
	golden.WriteString(tooManyFiles + "\n")
	texts := errorTexts(t)
	if len(texts) < 80 {
		t.Fatalf("only %d texts found: the search is broken", len(texts))
	}
	for _, text := range texts {
		if strings.Contains(text.form.String(), "the file cannot be read as YAML") {
			continue // a panic of the YAML library: none is known
		}
		if !text.form.MatchString(golden.String()) {
			t.Errorf("%s: no golden file shows the error %s", text.at, text.form)
		}
	}
}

type errorText struct {
	at   token.Position
	form *regexp.Regexp
}

// errorTexts collects the texts of r.fail, r.failf and wrong.
func errorTexts(t *testing.T) []errorText {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var texts []errorText
	fset := token.NewFileSet()
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") || file == "openapi.go" {
			continue
		}
		parsed, err := parser.ParseFile(fset, file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			argument := map[string]int{"fail": 1, "failf": 2, "wrong": 1}
			name := ""
			switch f := call.Fun.(type) {
			case *ast.Ident:
				name = f.Name
			case *ast.SelectorExpr:
				name = f.Sel.Name
			}
			if i, ok := argument[name]; ok && len(call.Args) > i {
				if form := formOf(call.Args[i]); strings.Trim(form, ".*") != "" {
					texts = append(texts, errorText{fset.Position(call.Pos()), regexp.MustCompile("(?m)" + form + ".*; ")})
				}
			}
			return true
		})
	}
	return texts
}

var verb = regexp.MustCompile(`%[sqd]`)

// formOf turns an expression of text into a regular expression.
func formOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(e.Value)
		if err != nil {
			return ".*"
		}
		return verb.ReplaceAllString(regexp.QuoteMeta(text), ".*")
	case *ast.BinaryExpr:
		return formOf(e.X) + formOf(e.Y)
	case *ast.CallExpr:
		if f, ok := e.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "Sprintf" {
			return formOf(e.Args[0])
		}
	}
	return ".*"
}

// bound is a map that is refused for its size.
type bound struct {
	name string
	data string
	want string // how its first error starts
}

func bounds() []bound {
	return []bound{
		{"size", strings.Repeat(" ", maxFile+1), "map:1:1: the file is larger than 1 MiB; spread the services over several files with include"},
		{"tokens", "zone: shop.example\nexport: [" + strings.Repeat("a,", maxTokens) + "]\n", "map:2:100004: the file is too long; spread the services over several files with include"},
		{"brackets", "zone: " + strings.Repeat("[", 50), "map:1:39: too deeply nested; a map has at most 10 levels"},
		{"dashes", strings.Repeat("- ", 50), "map:1:65: too deeply nested; a map has at most 10 levels"},
		{"indentation", "a:\n" + strings.Repeat(" ", 300) + "b: c\n", "map:2:301: too deeply nested; a map has at most 10 levels"},
		{"services", "zone: shop.example\nservices:\n" + numbered("  s%d: {upstream: unix:/s%d}\n", maxServices+1),
			"map:2003:3: more than 2000 services; spread the services over several zones"},
		{"listeners", "zone: shop.example\nlisteners:\n" + numbered("  l%d: {address: '127.0.0.1:1%d'}\n", maxListeners+1),
			"map:103:3: more than 100 listeners; spread the services over several zones"},
		{"routes", "zone: shop.example\nservices:\n  a:\n    upstream: unix:/a\n    routes:\n" + numbered("      GET /%d: user\n", maxRoutes+1),
			"map:10006:7: more than 10000 routes; spread the services over several zones"},
		{"calls", "zone: shop.example\nservices:\n  a:\n    upstream: unix:/a\n    calls:\n      b:\n" + numbered("      - GET /%d\n", maxCalls+1),
			"map:10007:9: more than 10000 calls; spread the services over several zones"},
		{"text", "zone: shop.example\nservices:\n  " + strings.Repeat("a", maxText+1) + ":\n" + numbered("    k%d: 1\n", 20_000),
			"map:3:3: a text of more than 1000 bytes; write less"},
		{"path", "zone: shop.example\nservices: {a: {upstream: http://127.0.0.1:1, routes: {GET /" + strings.Repeat("a", 500) + ": user}}}\n",
			"map:2:55: a path is too long; write at most 500 characters"},
	}
}

// numbered repeats a line, its numbers filled in.
func numbered(line string, n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.ReplaceAll(line, "%d", strconv.Itoa(i)))
	}
	return b.String()
}

func TestBounds(t *testing.T) {
	for _, b := range bounds() {
		t.Run(b.name, func(t *testing.T) {
			_, err := Parse("map", []byte(b.data))
			if err == nil || !strings.HasPrefix(err.Error(), b.want) {
				t.Errorf("error %.200v\nwant %s", err, b.want)
			}
		})
	}
}

func TestIncludesAreBounded(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("zone.yaml", "zone: shop.example\ninclude: s*.yaml\n")
	for i := range maxFiles {
		write("s"+strconv.Itoa(i)+".yaml", "services: {}\n")
	}
	if _, err := Load(filepath.Join(dir, "zone.yaml")); err != nil {
		t.Errorf("%d included files: %v, want none refused", maxFiles, err)
	}
	write("s100.yaml", "services: {}\n")
	_, err := Load(filepath.Join(dir, "zone.yaml"))
	if want := "zone.yaml:2:10: " + tooManyFiles; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%d included files: %v, want %s", maxFiles+1, err, want)
	}
	write("s100.yaml", "services: {}"+strings.Repeat(" ", maxFile))
	if _, err = Load(filepath.Join(dir, "s100.yaml")); err == nil || !strings.Contains(err.Error(), "s100.yaml:1:1: the file is larger than 1 MiB") {
		t.Errorf("a map of more than 1 MiB: %v, want it refused", err)
	}
	if _, err = Load(filepath.Join(dir, "none.yaml")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a map that is not there: %v, want fs.ErrNotExist", err)
	}
	if _, err = Load(dir); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder as map: %v, want it refused", err)
	}
}

// tooManyFiles is how the error of the hundred and first included file reads.
const tooManyFiles = "include: more than 100 files; join some of them"

func TestErrorsAreBounded(t *testing.T) {
	_, err := Parse("map", []byte("zone: shop.example\nservices:\n"+strings.Repeat("  A: {}\n", 2000)))
	wrong, ok := err.(*Errors)
	if !ok {
		t.Fatalf("error %v, want *Errors", err)
	}
	if len(wrong.List) > maxErrors || wrong.More < 1000 || !strings.Contains(wrong.Error(), "more errors") {
		t.Errorf("%d errors and %d more, want at most %d and the rest counted", len(wrong.List), wrong.More, maxErrors)
	}
}

func TestErrorsUnwrap(t *testing.T) {
	_, err := Parse("map", []byte("zon: a\n"))
	one, ok := errors.AsType[Error](err)
	if want := (Error{Pos{"map", 1, 1}, `unknown key "zon" in map`, "did you mean zone?"}); !ok || !errors.Is(err, want) {
		t.Errorf("the first error %+v, want one of the list to be %+v", one, want)
	}
	if got := (Error{Text: "text"}).Error(); got != "-: text" {
		t.Errorf("an error without place and mend prints %q", got)
	}
}

func TestSuggest(t *testing.T) {
	known := []string{"allow", "roles", "mfa", "max_age", "limit"}
	for _, c := range []struct{ got, want string }{
		{"alow", "did you mean allow?"},
		{"lalow", "did you mean allow?"},
		{"mf", "did you mean mfa?"},
		{"maxage", "did you mean max_age?"},
		{"limti", "did you mean limit?"},
		{"timeout", "known: allow, limit, max_age, mfa, roles"},
		{"x", "known: allow, limit, max_age, mfa, roles"},
	} {
		if got := suggest(c.got, known); got != c.want {
			t.Errorf("suggest(%q) = %q, want %q", c.got, got, c.want)
		}
	}
	if got := suggest("x", nil); got != "" {
		t.Errorf("suggest of nothing = %q, want nothing", got)
	}
}

func TestEdits(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"a", "", 1}, {"", "ab", 2}, {"abc", "abc", 0}, {"abc", "acb", 1}, {"kitten", "sitting", 3},
		{"ab", "ba", 1}, {strings.Repeat("a", 65), "a", 99},
	} {
		if got := edits(c.a, c.b); got != c.want {
			t.Errorf("edits(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
		if got := edits(c.b, c.a); got != c.want {
			t.Errorf("edits(%q, %q) = %d, want %d", c.b, c.a, got, c.want)
		}
	}
}
