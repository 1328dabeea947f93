package zone

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestMaps reads each archive of testdata/maps: a map with its files (zone.yaml
// is loaded), or several maps of one file each (all are parsed). The last file,
// want, is what comes of them: the errors, or the notices and the access table.
func TestMaps(t *testing.T) {
	for _, file := range archives(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			last := len(archive.Files) - 1
			var want string
			if archive.Files[last].Name == "want" {
				want = string(archive.Files[last].Data)
				archive.Files = archive.Files[:last]
			}
			got := outcome(t, archive)
			if bad := strings.HasPrefix(filepath.Base(file), "bad_"); bad == strings.Contains(got, "\naccess\n") {
				t.Errorf("a file named bad_ holds errors only, another none:\n%s", got)
			}
			if strings.Contains(got, "hunter2") {
				t.Errorf("a secret is printed:\n%s", got)
			}
			if *update {
				archive.Files = append(archive.Files, txtar.File{Name: "want", Data: []byte(got)})
				if err := os.WriteFile(file, txtar.Format(archive), 0o600); err != nil {
					t.Fatal(err)
				}
			} else if got != want {
				t.Errorf("%s\ngot\n%s\nwant\n%s", archive.Comment, got, want)
			}
		})
	}
}

func archives(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/maps/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	return files
}

// outcome tells what comes of the maps of an archive.
func outcome(t *testing.T, archive *txtar.Archive) string {
	t.Helper()
	dir := t.TempDir()
	var several strings.Builder
	for _, f := range archive.Files {
		path := filepath.Join(dir, filepath.FromSlash(f.Name))
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f.Data, 0o600); err != nil {
			t.Fatal(err)
		}
		data := f.Data
		if strings.HasSuffix(f.Name, ".quoted") {
			text, err := strconv.Unquote(strings.TrimSpace(string(f.Data)))
			if err != nil {
				t.Fatalf("%s: %v", f.Name, err)
			}
			data = []byte(text)
		}
		several.WriteString(report(Parse(f.Name, data)))
	}
	path := filepath.Join(dir, "zone.yaml")
	if _, err := os.Stat(path); err != nil {
		return several.String()
	}
	return strings.ReplaceAll(report(Load(path)), dir+string(filepath.Separator), "")
}

// report is what `check` would tell of a map.
func report(z *Zone, err error) string {
	if err != nil {
		var wrong *Errors
		if !errors.As(err, &wrong) {
			return "not *Errors: " + err.Error() + "\n"
		}
		return wrong.Error() + "\n"
	}
	var b strings.Builder
	b.WriteString("notices\n")
	for _, n := range z.Notices {
		fmt.Fprintf(&b, "  %s: %s: %s: %s\n", n.Pos, n.Effect, n.Path, n.Text)
	}
	b.WriteString("listeners\n")
	for _, l := range z.Listeners {
		fmt.Fprintf(&b, "  %s %s hosts %s\n", l.Name, l.Address, strings.Join(l.Hosts, " "))
	}
	fmt.Fprintf(&b, "  admin %s\n  control %s\n  identity on %s\n", z.Admin, z.Control, z.Identity.Listener)
	if len(z.Identity.Providers) > 0 {
		b.WriteString("providers\n")
	}
	for _, p := range z.Identity.Providers {
		fmt.Fprintf(&b, "  %s: %s\n", p.Name, p)
	}
	b.WriteString("access\n")
	for _, row := range z.Access() {
		fmt.Fprintf(&b, "  %s | %s %s | %s | %s | %s\n", row.Listener, row.Method, row.Path, row.Service, row.Who, row.Limit)
	}
	return b.String()
}
