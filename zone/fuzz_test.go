package zone

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// FuzzParse: no input makes the parser panic; every error and notice has a
// place and an error has a text; a map that parses has one revision, an access
// table, no difference from itself, a slice for each service, and routes that
// the matcher takes.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*/*.txt")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, one := range archive.Files {
			f.Add(one.Data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		z, err := Parse("map", data)
		if err != nil {
			var wrong *Errors
			if !errors.As(err, &wrong) || len(wrong.List) == 0 {
				t.Fatalf("error %v, want *Errors with at least one", err)
			}
			for _, e := range wrong.List {
				if !placed(e.Pos) || e.Text == "" {
					t.Errorf("error without place or text: %+v", e)
				}
			}
			return
		}
		again, err := Parse("other", data)
		if err != nil || again.Revision != z.Revision {
			t.Errorf("parsed again: %v, revisions %s and %s", err, z.Revision, again.Revision)
		}
		for _, n := range z.Notices {
			if !placed(n.Pos) || n.Text == "" || n.Path == "" {
				t.Errorf("notice without place, path or text: %+v", n)
			}
		}
		if changes := Diff(z, again); changes != nil {
			t.Errorf("a map differs from itself: %v", changes)
		}
		routes := map[string][]*Route{}
		for _, s := range z.Services {
			if _, ok := z.Slice(s.Name); !ok {
				t.Errorf("no slice of %s", s.Name)
			}
			for _, rt := range s.Routes {
				for _, name := range meetingsOf(rt) {
					routes[name] = append(routes[name], rt)
				}
			}
		}
		for name, list := range routes {
			if _, err := NewMatcher(list); err != nil {
				t.Errorf("the matcher of %s refuses what the map takes: %v", name, err)
			}
		}
		if rows := z.Access(); len(routes) > 0 && len(rows) == 0 {
			t.Error("routes and no access table")
		}
	})
}

// placed says whether an editor can jump to a place. Defaults that have a
// notice of their own do not exist: a notice is about what is written.
func placed(p Pos) bool { return p.File != "" && p.Line > 0 && p.Column > 0 }

// FuzzFromOpenAPI: no document makes it panic, and what it writes parses.
func FuzzFromOpenAPI(f *testing.F) {
	files, err := filepath.Glob("testdata/openapi/*.txt")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(archive.Files[0].Data)
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		text, err := FromOpenAPI(doc, "shop.example")
		if err != nil {
			return
		}
		if _, err := Parse("map", text); err != nil {
			t.Errorf("%v\n%s", err, text)
		}
	})
}

// TestLoadIsParse makes sure that a map of one file is the same map both ways.
func TestLoadIsParse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zone.yaml")
	text := Starter("shop.example")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	loaded, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if parsed := mustParse(t, string(text)); parsed.Revision != loaded.Revision {
		t.Errorf("loaded %s, parsed %s, want one revision", loaded.Revision, parsed.Revision)
	}
}
