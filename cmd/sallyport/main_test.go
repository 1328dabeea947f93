package main

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"sallyport.dev/internal/cli"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"sallyport": func() { os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
	})
}

// TestScripts runs the command line as a user would; each script of
// testdata/script is one story.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			// A program with the race detector sleeps for a second at its end.
			e.Setenv("GORACE", "atexit_sleep_ms=20")
			// What a txtar archive cannot hold.
			for name, text := range map[string]string{
				"bom": "\uFEFFa long enough passphrase\n", "crlf": "a long enough passphrase\r\n", "latin": "a long p\xe4ssphrase\n",
			} {
				if err := os.WriteFile(filepath.Join(e.WorkDir, name), []byte(text), 0o600); err != nil {
					return err
				}
			}
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"freeports": freePorts,
			"ready":     ready,
			"exits":     exits,
			"hold":      hold,
			"drains":    drains,
		},
	})
}

// freePorts sets variables to addresses on loopback that are free just now, and
// puts them into the files named after --.
//
//	freeports PUBLIC ADMIN -- zone.yaml
func freePorts(ts *testscript.TestScript, _ bool, args []string) {
	names, files := args, []string(nil)
	for i, a := range args {
		if a == "--" {
			names, files = args[:i], args[i+1:]
		}
	}
	var held []net.Listener
	for _, name := range names {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		ts.Check(err)
		held = append(held, l)
		ts.Setenv(name, l.Addr().String())
	}
	for _, file := range files {
		text := ts.ReadFile(file)
		for _, name := range names {
			text = strings.ReplaceAll(text, "$"+name, ts.Getenv(name))
		}
		ts.Check(os.WriteFile(ts.MkAbs(file), []byte(text), 0o600))
	}
	for _, l := range held {
		ts.Check(l.Close())
	}
}

// ready waits until `sallyport status` says that the zone of a data folder is.
func ready(ts *testscript.TestScript, _ bool, args []string) {
	deadline := time.Now().Add(time.Minute) // of a broken build; a good one takes a fraction of a second
	for {
		if ts.Exec("sallyport", append([]string{"status"}, args...)...) == nil {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("the zone did not become ready")
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// hold begins a login at the address in a variable and does not go on with it
// until the script ends. The 100 shows that a handler waits for its body.
func hold(ts *testscript.TestScript, _ bool, args []string) {
	c, err := tls.Dial("tcp", ts.Getenv(args[0]), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}) // #nosec G402 -- nothing is said to it
	ts.Check(err)
	ts.Defer(func() { _ = c.Close() })
	_, err = io.WriteString(c, "POST /auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n")
	ts.Check(err)
	line, err := bufio.NewReader(c).ReadString('\n')
	if ts.Check(err); !strings.HasPrefix(line, "HTTP/1.1 100 ") {
		ts.Fatalf("a login was answered with %q", line)
	}
}

// drains waits until `sallyport status` says that the zone of a data folder is
// not ready any more.
func drains(ts *testscript.TestScript, _ bool, args []string) {
	for {
		if code := status(ts, "sallyport", append([]string{"status"}, args...)...); code != "0" {
			if code != "1" {
				ts.Fatalf("status of a zone that drains: exit code %s, want 1", code)
			}
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// exits runs a command and compares its exit code.
//
//	exits 3 sallyport status --data nowhere
func exits(ts *testscript.TestScript, _ bool, args []string) {
	if code := status(ts, args[1], args[2:]...); code != args[0] {
		ts.Fatalf("%s: exit code %s, want %s", strings.Join(args[1:], " "), code, args[0])
	}
}

func status(ts *testscript.TestScript, command string, args ...string) string {
	err := ts.Exec(command, args...)
	if err == nil {
		return "0"
	}
	x, ok := err.(*exec.ExitError) //nolint:errorlint // Exec returns it as it is
	if !ok {
		ts.Fatalf("%v", err)
	}
	return strconv.Itoa(x.ExitCode())
}
