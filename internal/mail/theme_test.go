package mail

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestThemeStaysInside: no link leads out of the theme's folder; within it links
// are as good as files, and what is no file holds nobody up.
func TestThemeStaysInside(t *testing.T) {
	const ours = "Subject: Hello\n\nOurs: {{.link}}\n"
	outside := t.TempDir()
	must(t, os.WriteFile(filepath.Join(outside, "secret"), []byte(ours), 0o600))
	must(t, os.Mkdir(filepath.Join(outside, "letters"), 0o700))
	must(t, os.WriteFile(filepath.Join(outside, "letters", "verify.en.txt.tmpl"), []byte(ours), 0o600))
	const file = "verify.en.txt.tmpl"
	for _, c := range []struct {
		name string
		make func(theme, letters string) error
		want string // of an error; empty: it is taken
	}{
		{"a file", func(_, letters string) error { return os.WriteFile(filepath.Join(letters, file), []byte(ours), 0o600) }, ""},
		{"a link to a file of the theme", func(theme, letters string) error {
			if err := os.WriteFile(filepath.Join(theme, "shared.txt"), []byte(ours), 0o600); err != nil {
				return err
			}
			return os.Symlink("../shared.txt", filepath.Join(letters, file))
		}, ""},
		{"a link out", func(_, letters string) error {
			return os.Symlink(filepath.Join(outside, "secret"), filepath.Join(letters, file))
		}, file},
		{"a link out that climbs", func(theme, letters string) error {
			up, err := filepath.Rel(letters, filepath.Join(outside, "secret"))
			if err != nil {
				return err
			}
			return os.Symlink(up, filepath.Join(letters, file))
		}, file},
		{"a folder that is a link out", func(_, letters string) error {
			if err := os.Remove(letters); err != nil {
				return err
			}
			return os.Symlink(filepath.Join(outside, "letters"), letters)
		}, "letters"},
		{"a FIFO", func(_, letters string) error { return syscall.Mkfifo(filepath.Join(letters, file), 0o600) }, "not a regular file"},
		{"no theme", func(theme, _ string) error { return os.RemoveAll(theme) }, "identity.theme"},
	} {
		t.Run(c.name, func(t *testing.T) {
			z := testZone()
			z.Identity.Theme = filepath.Join(t.TempDir(), "theme")
			letters := filepath.Join(z.Identity.Theme, "letters")
			must(t, os.MkdirAll(letters, 0o700))
			must(t, c.make(z.Identity.Theme, letters))
			l, err := OpenLetters(z, "")
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("error %v, want %q", err, c.want)
				}
				return
			}
			must(t, err)
			if letter, err := l.Compose(Verify, "en", goldenData(Verify)); err != nil || !strings.Contains(letter.Text, "Ours: ") {
				t.Errorf("%v, %s", err, letter.Text)
			}
		})
	}
}
