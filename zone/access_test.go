package zone

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// golden runs each archive of a folder and compares with its last file, want.
func golden(t *testing.T, pattern string, run func(t *testing.T, files map[string][]byte) string) {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			files := map[string][]byte{}
			var rest []txtar.File
			for _, f := range archive.Files {
				files[f.Name] = f.Data
				if f.Name != "want" {
					rest = append(rest, f)
				}
			}
			got := run(t, files)
			if *update {
				archive.Files = append(rest, txtar.File{Name: "want", Data: []byte(got)})
				if err := os.WriteFile(name, txtar.Format(archive), 0o600); err != nil {
					t.Fatal(err)
				}
			} else if want := string(files["want"]); got != want {
				t.Errorf("%s\ngot\n%s\nwant\n%s", archive.Comment, got, want)
			}
		})
	}
}

func mustParse(t *testing.T, text string) *Zone {
	t.Helper()
	z, err := Parse("map", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func TestDiff(t *testing.T) {
	golden(t, "testdata/diff/*.txt", func(t *testing.T, files map[string][]byte) string {
		before, after := mustParse(t, string(files["before.yaml"])), mustParse(t, string(files["after.yaml"]))
		for _, z := range []*Zone{before, after} {
			if changes := Diff(z, z); changes != nil {
				t.Errorf("a map differs from itself: %v", changes)
			}
		}
		var b strings.Builder
		forth, back := Diff(before, after), Diff(after, before)
		for _, c := range forth {
			b.WriteString(c.String() + "\n")
		}
		if count(forth, Gain) != count(back, Lose) || count(forth, Lose) != count(back, Gain) || count(forth, Alter) != count(back, Alter) {
			t.Errorf("there and back are not mirror images:\n%v\n%v", forth, back)
		}
		return b.String()
	})
}

func count(changes []Change, dir Direction) (n int) {
	for _, c := range changes {
		if c.Direction == dir {
			n++
		}
	}
	return n
}

func TestAccessIsSorted(t *testing.T) {
	rows := mustParse(t, string(everything(t))).Access()
	if len(rows) != 8 {
		t.Fatalf("%d rows, want 8", len(rows))
	}
	for i, row := range rows[1:] {
		before := rows[i]
		if before.Listener+before.Path+before.Method > row.Listener+row.Path+row.Method {
			t.Errorf("%s %s %s stands before %s %s %s", before.Listener, before.Method, before.Path, row.Listener, row.Method, row.Path)
		}
	}
}

func TestFromOpenAPI(t *testing.T) {
	golden(t, "testdata/openapi/*.txt", func(t *testing.T, files map[string][]byte) string {
		doc := files["openapi.yaml"]
		if doc == nil {
			doc = files["openapi.json"]
		}
		text, err := FromOpenAPI(doc, "pets.example")
		if err != nil {
			return "error: " + err.Error() + "\n"
		}
		z := mustParse(t, string(text))
		_, routes, _ := strings.Cut(string(text), "\nservices:\n")
		return routes + "-- " + report(z, nil)
	})
}

func TestStarter(t *testing.T) {
	z := mustParse(t, string(Starter("shop.example")))
	if z.Name != "shop.example" || len(z.Services) != 1 || !z.Services[0].Upstreams[0].Local() {
		t.Errorf("starter: %+v, want shop.example with a service on loopback", z)
	}
	for _, n := range z.Notices {
		if n.Effect != Warning {
			t.Errorf("starter: %v: %s", n.Pos, n.Text)
		}
	}
	for _, bad := range []string{"", "Shop", "a b", "x\ny: z", "10.0.0.1"} {
		if _, err := Parse("map", Starter(bad)); err == nil {
			t.Errorf("a zone named %q: no error", bad)
		}
	}
	doc := []byte(strings.Repeat(" ", maxOpenAPI) + "{}")
	if _, err := FromOpenAPI(doc, "shop.example"); err == nil || !strings.Contains(err.Error(), "4 MiB") {
		t.Errorf("a document that is too large: %v", err)
	}
}
