package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sallyport.dev/zone"
)

// TestReadSecret: a file is taken without the white space around its text, and
// refused when it is not one, is open to others or holds nothing. No refusal
// shows what is in it.
func TestReadSecret(t *testing.T) {
	const secret = "postgres://u:pl4nted@h/d"
	for _, c := range []struct {
		name, text string
		mode       os.FileMode
		want       string // of the error; empty: the secret
	}{
		{"a line", secret + "\n", 0o600, ""},
		{"for reading alone", secret, 0o400, ""},
		{"a line of Windows", secret + "\r\n", 0o600, ""},
		{"open to the group", secret, 0o640, "chmod 600"},
		{"open to all", secret, 0o604, "chmod 600"},
		{"empty", "", 0o600, "is empty"},
		{"blank", " \r\n\t", 0o600, "is empty"},
		{"large", secret + strings.Repeat(" ", maxSecret), 0o600, "is larger"},
	} {
		path := filepath.Join(t.TempDir(), "url")
		if err := os.WriteFile(path, []byte(c.text), c.mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, c.mode); err != nil { // whatever the umask is
			t.Fatal(err)
		}
		checkSecret(t, c.name, &zone.Secret{File: path}, secret, c.want)
	}

	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	checkSecret(t, "a pipe", &zone.Secret{File: pipe}, secret, "not a regular file")
	checkSecret(t, "a folder", &zone.Secret{File: dir}, secret, "not a regular file")
	checkSecret(t, "none", &zone.Secret{File: filepath.Join(dir, "none")}, secret, "no such file")

	t.Setenv("SALLYPORT_TEST_URL", " "+secret+"\n")
	checkSecret(t, "the environment", &zone.Secret{Env: "SALLYPORT_TEST_URL"}, secret, "")
	t.Setenv("SALLYPORT_TEST_URL", " ")
	checkSecret(t, "the environment, blank", &zone.Secret{Env: "SALLYPORT_TEST_URL"}, secret, "is empty")
}

func checkSecret(t *testing.T, name string, at *zone.Secret, secret, want string) {
	t.Helper()
	got, err := readSecret(at)
	switch {
	case want == "" && (err != nil || got != secret):
		t.Errorf("%s: %q, %v", name, got, err)
	case want != "" && (err == nil || got != "" || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "pl4nted")):
		t.Errorf("%s: %q, %v; want an error with %q", name, got, err, want)
	}
}
