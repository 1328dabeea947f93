package cli

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sallyport.dev/internal/problem"
)

// fakeZone answers on an admin socket as h does, and returns its data folder.
func fakeZone(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cli") // t.TempDir has a path that may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "admin.sock"))
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h} // #nosec G112 -- a test
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	return dir
}

// run runs a command line.
func run(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = Main(args, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

func answering(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func refusing(r problem.Reason, detail string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { problem.Write(w, r, detail, "") }
}

// TestExitCodes: 0 done, 1 the answer is no, 2 used wrongly, 3 could not run.
func TestExitCodes(t *testing.T) {
	ready, disable := []string{"status"}, []string{"user", "disable", "ada@shop.example"}
	for _, c := range []struct {
		name   string
		zone   http.HandlerFunc
		args   []string
		want   int
		stderr string
	}{
		{"ready", answering(200, `{"ready":true}`), ready, 0, ""},
		{"not ready", answering(200, `{"ready":false,"not_ready":["store"]}`), ready, 1, ""},
		{"runs and cannot say", refusing(problem.JournalFull, ""), ready, 1, "not ready: Not available"},
		{"answers something else", answering(200, `<html>`), ready, 3, "admin socket"},
		{"answers nothing", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, ready, 3, "EOF"},
		{"done", answering(204, ""), disable, 0, ""},
		{"no", refusing(problem.AccountUnknown, "no user has this"), disable, 1, "sallyport: no user has this\n"},
		{"cannot", refusing(problem.AuthUnavailable, ""), disable, 3, "Authentication is not available"},
		{"answers in a way of its own", answering(500, "oops"), disable, 3, "500"},
		{"leads elsewhere", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/elsewhere" {
				w.WriteHeader(204) // done to something else
				return
			}
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, disable, 3, "307"},
	} {
		t.Run(c.name, func(t *testing.T) {
			data := fakeZone(t, c.zone)
			code, _, stderr := run(append(c.args, "--data", data)...)
			if code != c.want || !strings.Contains(stderr, c.stderr) || (c.stderr == "") != (stderr == "") {
				t.Errorf("exit code %d, %q; want %d and %q", code, stderr, c.want, c.stderr)
			}
		})
	}
	for _, c := range []struct {
		args []string
		want int
	}{
		{[]string{"--help"}, 0}, {[]string{"user", "--help"}, 0}, {[]string{"serve", "--help"}, 0}, {[]string{"version"}, 0},
		{nil, 2}, {[]string{"user"}, 2}, {[]string{"usr"}, 2}, {[]string{"status", "--nonsense"}, 2}, {[]string{"status", "extra"}, 2},
		{[]string{"status", "--format", "xml"}, 2}, {[]string{"serve", "zone.yaml", "--log-level", "loud"}, 2},
		{[]string{"status", "--data", filepath.Join(t.TempDir(), "none")}, 3},
	} {
		if code, stdout, stderr := run(c.args...); code != c.want || code == 2 && (stdout != "" || stderr == "") {
			t.Errorf("%q: exit code %d, stdout %q, stderr %q; want %d", c.args, code, stdout, stderr, c.want)
		}
	}
}

// TestPathsOfNames: a name reaches the zone as it was written, as one segment.
func TestPathsOfNames(t *testing.T) {
	var asked string
	data := fakeZone(t, func(w http.ResponseWriter, r *http.Request) {
		asked = r.Method + " " + r.URL.EscapedPath()
		w.WriteHeader(204)
	})
	for _, c := range []struct {
		args string
		want string // empty: it is used wrongly and asks nothing
	}{
		{"user remove a+b@shop.example", "DELETE /v1/users/a+b@shop.example"},
		{"user remove a%2Fb@shop.example", "DELETE /v1/users/a%252Fb@shop.example"},
		{"user remove a/../b?c#d@shop.example", "DELETE /v1/users/a%2F..%2Fb%3Fc%23d@shop.example"},
		{"user remove ..", ""},
		{"user remove .", ""},
		{"user remove ", ""},
		{"user enable ..", ""},
		{"role grant .. admin", ""},
		{"session revoke ada", "DELETE /v1/users/ada/sessions"},
		{"session revoke ada s1", "DELETE /v1/users/ada/sessions/s1"},
		{"session revoke ada ..", ""}, // would be the user
		{"session revoke ada .", ""},  // would be all sessions
		{"session revoke ada ", ""},   // likewise
		{"session list ..", ""},
		{"key revoke partner", "DELETE /v1/keys/partner"},
		{"key revoke ../users/ada", "DELETE /v1/keys/..%2Fusers%2Fada"},
		{"key revoke ..", ""},
		{"key rotate ..", ""},
	} {
		asked = ""
		code, _, stderr := run(append(strings.Split(c.args, " "), "--data", data)...)
		if asked != c.want || (c.want == "") != (code == 2) {
			t.Errorf("%q: asked %q, exit code %d (%s); want %q", c.args, asked, code, stderr, c.want)
		}
	}
}

// TestLists: a list is asked for page by page, and is one JSON array.
func TestLists(t *testing.T) {
	data := fakeZone(t, func(w http.ResponseWriter, r *http.Request) {
		list, after := strings.TrimPrefix(r.URL.Path, "/v1/"), r.URL.Query().Get("after")
		next := map[string]string{"": "one", "one": "two", "two": ""}[after]
		fmt.Fprintf(w, `{%q:[{"id":"after-%s"}],"next":%q}`, list, after, next)
	})
	for _, list := range []string{"user", "key"} {
		code, stdout, stderr := run(list, "list", "--format", "json", "--data", data)
		if code != 0 || strings.Count(stdout, "\n") != 1 || !strings.HasPrefix(stdout, `[{"id":"after-"`) ||
			!strings.Contains(stdout, `{"id":"after-one"`) || !strings.Contains(stdout, `{"id":"after-two"`) {
			t.Errorf("%s list: exit code %d, %q, %s", list, code, stdout, stderr)
		}
	}
}

func TestPasswordIn(t *testing.T) {
	for _, c := range []struct{ file, want, wrong string }{
		{"correct horse", "correct horse", ""},
		{"correct horse\n", "correct horse", ""},
		{"correct horse\r\n", "correct horse", ""},
		{"\uFEFFcorrect horse\r\n", "correct horse", ""},
		{" spaces stay \n", " spaces stay ", ""},
		{"pässwörd", "pässwörd", ""},
		{"", "", "empty"},
		{"\n", "", "empty"},
		{"\uFEFF\n", "", "empty"},
		{"correct horse\n\n", "", "more than one line"},
		{"correct\nhorse\n", "", "more than one line"},
		{"correct\thorse", "", "control character"},
		{"correct\x00horse", "", "control character"},
		{"p\xe4ssword", "", "UTF-8"},
		{"p\uFFFDssword", "", "UTF-8"},
		{"\xff\xfec\x00o\x00r\x00r\x00", "", "UTF-8"}, // UTF-16
		{strings.Repeat("a", maxPasswordFile+1), "", "too large"},
	} {
		got, err := passwordIn([]byte(c.file))
		if got != c.want || (err == nil) != (c.wrong == "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
			t.Errorf("%.20q: %q, %v; want %q, %q", c.file, got, err, c.want, c.wrong)
		}
	}
}

// TestHelpShowsDefaults: a default that is not said has to be looked for.
func TestHelpShowsDefaults(t *testing.T) {
	for verb, want := range map[string]string{"serve zone.yaml": "Default: ./data", "key create": "Default: 365d", "key rotate": "Default: 24h"} {
		_, stdout, _ := run(append(strings.Fields(verb), "--help")...)
		if text := strings.Join(strings.Fields(stdout), " "); !strings.Contains(text, want) {
			t.Errorf("%s --help does not say %q:\n%s", verb, want, stdout)
		}
	}
}

// TestPasted: a path is one word in a shell, whatever is in it.
func TestPasted(t *testing.T) {
	for path, want := range map[string]string{
		"/tmp/data":       "/tmp/data",
		"/tmp/my data":    `/tmp/my\ data`,
		"/tmp/$HOME/`x`":  "/tmp/\\$HOME/\\`x\\`",
		"/tmp/(a)&b;c|d*": `/tmp/\(a\)\&b\;c\|d\*`,
	} {
		if got := pasted(path); got != want {
			t.Errorf("pasted(%q) = %s, want %s", path, got, want)
		}
	}
}

func TestPrefixWriter(t *testing.T) {
	var out bytes.Buffer
	p := &prefixWriter{w: &out, prefix: "[a] "}
	for _, part := range []string{"one\ntw", "o\n", "three\nfour\nfive\nsix\nrest"} {
		if n, err := p.Write([]byte(part)); n != len(part) || err != nil {
			t.Errorf("Write(%q) = %d, %v", part, n, err)
		}
	}
	if want := "[a] one\n[a] two\n[a] three\n[a] four\n[a] five\n[a] six\n"; out.String() != want {
		t.Errorf("wrote %q, want %q", out.String(), want)
	}
	if want := "[a] two\n[a] three\n[a] four\n[a] five\n[a] six"; p.last() != want {
		t.Errorf("last %q, want %q", p.last(), want)
	}
}
