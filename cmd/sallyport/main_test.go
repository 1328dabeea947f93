package main

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
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
			"freeports":   freePorts,
			"ready":       ready,
			"exits":       exits,
			"patiently":   patiently,
			"interrupted": interrupted,
		},
	})
}

// ports counts the ports that this process has asked for.
var ports atomic.Uint32

// nextPort is one that no other call has got, here or, most likely, in a process beside.
func nextPort() int { return int(20_000 + (uint32(os.Getpid())*97+ports.Add(1))%12_000) } // #nosec G115 -- small

// freePorts sets variables to addresses on loopback that are free just now, and
// puts them into the files named after --. They lie below the ports that systems
// give to connections and for port 0, so that nobody else is given them meanwhile.
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
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(nextPort())))
		for errors.Is(err, syscall.EADDRINUSE) {
			l, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(nextPort())))
		}
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
	deadline := time.Now().Add(2 * time.Minute) // of a broken build; a good one takes a fraction of a second
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

var late = regexp.MustCompile("no answer in|deadline exceeded|timeout")

// patiently runs a command that must succeed, and again where it says that
// something did not answer in its time: a machine may be slow.
//
//	patiently sallyport status --data data
func patiently(ts *testscript.TestScript, _ bool, args []string) {
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		err := ts.Exec(args[0], args[1:]...)
		if time.Since(began) > 2*time.Minute || !late.MatchString(ts.ReadFile("stdout")+ts.ReadFile("stderr")) {
			ts.Check(err)
			return
		}
	}
}

// drained bounds how long a body that stands still keeps a zone from its end, with
// room to see it; the zone bounds it by five seconds.
const drained = 2 * time.Second

// interrupted starts a zone, holds a request, and has it end twice: the first
// signal makes it not ready, and the second ends it with an error. Where the
// second came so late that the first may have been obeyed, it begins again.
//
//	interrupted PUBLIC zone.yaml --data data
func interrupted(ts *testscript.TestScript, _ bool, args []string) {
	for began := time.Now(); ; {
		code, took, err := interruptTwice(ts, args[0], args[1], args[2:])
		if code == "1" && err != nil {
			return
		}
		if took < drained || time.Since(began) > 5*time.Minute {
			ts.Fatalf("status of a zone that drains: exit code %s, want 1; end after a second signal %v later: %v, want an error", code, took, err)
		}
	}
}

// interruptTwice returns the exit code of `status` after the first signal, how long
// after it the second was sent, and how the zone ended.
func interruptTwice(ts *testscript.TestScript, public, file string, args []string) (code string, took time.Duration, err error) {
	zone := exec.Command("sallyport", append([]string{"serve", file}, args...)...) // #nosec G204 -- this test itself
	zone.Dir = ts.MkAbs(".")
	zone.Env = append(os.Environ(), "HOME="+ts.Getenv("HOME"), "GORACE="+ts.Getenv("GORACE"))
	ts.Check(zone.Start())
	ended := make(chan error, 1)
	go func() { ended <- zone.Wait() }()
	defer func() { _ = zone.Process.Kill() }() // when a step below was not taken
	ready(ts, false, args)
	c := hold(ts, public)
	defer func() { _ = c.Close() }()
	first := time.Now()
	ts.Check(zone.Process.Signal(os.Interrupt))
	for code = "0"; code == "0"; time.Sleep(10 * time.Millisecond) {
		code = status(ts, "sallyport", append([]string{"status"}, args...)...)
	}
	_ = zone.Process.Signal(os.Interrupt) // it may be gone
	took = time.Since(first)
	return code, took, <-ended
}

// hold begins a login at the address in a variable and does not go on with it. The
// 100 shows that a handler waits for its body.
func hold(ts *testscript.TestScript, public string) net.Conn {
	c, err := tls.Dial("tcp", ts.Getenv(public), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}) // #nosec G402 -- nothing is said to it
	ts.Check(err)
	_, err = io.WriteString(c, "POST /auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n")
	ts.Check(err)
	line, err := bufio.NewReader(c).ReadString('\n')
	if ts.Check(err); !strings.HasPrefix(line, "HTTP/1.1 100 ") {
		ts.Fatalf("a login was answered with %q", line)
	}
	return c
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
