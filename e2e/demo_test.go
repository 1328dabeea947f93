// Package e2e tries the built programs from outside, as a new user would.
package e2e

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience bounds a step that normally takes well under a second; it decides
// nothing but how long a broken build hangs.
const patience = 2 * time.Minute

// build returns the folder of the programs.
func build(t testing.TB) string {
	t.Helper()
	dir, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// demo is a running `sallyport demo` and what it printed.
type demo struct {
	cmd  *exec.Cmd
	text string
	done chan error
}

// startDemo runs the demo, with this beside the environment, until its text is whole.
func startDemo(t testing.TB, env ...string) *demo {
	t.Helper()
	for range 5 {
		if d, stderr := tryDemo(t, env); strings.Contains(d.text, "What is not") {
			return d
		} else if !strings.Contains(stderr, "is not ready") { // it waits for half a minute
			t.Fatalf("the demo ended early:\n%s\n%s", d.text, stderr)
		}
	}
	t.Fatal("the demo did not become ready, five times")
	return nil
}

// tryDemo runs the demo until its text is whole, or it ends.
func tryDemo(t testing.TB, env []string) (d *demo, said string) {
	t.Helper()
	d = &demo{cmd: exec.Command(filepath.Join(build(t), "sallyport"), "demo"), done: make(chan error, 1)}
	d.cmd.Env = append(os.Environ(), env...)
	stdout, err := d.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr := &syncBuffer{}
	d.cmd.Stderr = stderr
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	text, ended := make(chan string, 1), make(chan struct{})
	t.Cleanup(func() {
		_ = d.cmd.Process.Kill() // fails when it has ended
		<-ended
		for _, address := range demoAddresses() { // which the next will want
			until(t, address+" is closed", func() bool { return !open(t, address) })
		}
	})
	go func() {
		var b strings.Builder
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			b.WriteString(lines.Text() + "\n")
			if strings.Contains(lines.Text(), "--status 400-499") { // the last line of the text
				break
			}
		}
		text <- b.String()
		_, _ = io.Copy(io.Discard, stdout)
		d.done <- d.cmd.Wait()
		close(ended)
	}()
	select {
	case d.text = <-text:
	case <-time.After(2 * patience):
		t.Fatalf("the demo did not come up:\n%s", stderr)
	}
	if !strings.Contains(d.text, "What is not") {
		<-ended // all that it says
	}
	return d, stderr.String()
}

var expected = regexp.MustCompile(`#.*: (\d{3})`)

// TestDemoLinesWorkAsPasted runs every line that the demo prints, in one shell,
// and compares the status with what the line promises.
func TestDemoLinesWorkAsPasted(t *testing.T) {
	for _, tool := range []string{"curl", "bash"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	needNode(t)
	attempts(t, func(t *attempt) {
		d := startDemo(t)
		began := time.Now()
		d.pasted(t)
		t.late("the script", time.Since(began), 2*time.Minute) // each of its steps has seconds, and there are forty
		d.stop(t)
	})
}

// pasted runs the lines of the demo.
func (d *demo) pasted(t testing.TB) {
	t.Helper()
	script := "shopt -s expand_aliases\n"
	var want []string // a pattern for the output of each step
	section := ""
	for line := range strings.Lines(d.text) {
		line = strings.TrimRight(line, "\n")
		if !strings.HasPrefix(line, " ") && line != "" {
			section = line
		}
		cmd := strings.TrimSpace(line)
		isShell := regexp.MustCompile(`^(try |curl |alias |login\(\)|ALICE=|ID=|/\S*sallyport logs|/\S*attack )`).MatchString(cmd)
		if !isShell {
			continue
		}
		step := ""
		switch {
		case expected.MatchString(line):
			step = `(?s)\n` + expected.FindStringSubmatch(line)[1] + `\n$`
		case strings.HasPrefix(section, "What is allowed"):
			step = `(?s)\n20\d\n$`
		case strings.Contains(cmd, "/auth/logout"):
			step = `(?s)\n204\n$`
		case strings.HasSuffix(cmd, "/auth/me"): // after the log-out
			step = `(?s)\n401\n$`
		case strings.HasPrefix(cmd, "curl -sS -k https://127.0.0.1:9003"):
			step = `^\s*curl: \(\d+\) [^\n]*\n$` // the server closes: how TLS and curl tell that is theirs
		case strings.HasPrefix(cmd, "curl -sS --unix-socket"):
			step = `^\s*customer,iban\n`
		case strings.Contains(cmd, "attack -socket"):
			step = `Every attack was refused\.\n$`
		case strings.Contains(cmd, "--correlation"):
			step = `owner\.denied`
		case strings.Contains(cmd, "--status 400-499"):
			step = `request\.path`
		}
		script += cmd + "\nprintf '\\036'\n"
		want = append(want, step)
	}
	if len(want) < 30 {
		t.Fatalf("only %d lines found in\n%s", len(want), d.text)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	shell := exec.CommandContext(ctx, "bash", "-c", script)
	out, err := shell.CombinedOutput()
	if err != nil {
		t.Fatalf("shell: %v\n%s", err, out)
	}
	steps := strings.Split(string(out), "\x1e")
	commands := strings.Split(script, "\nprintf '\\036'\n")
	for i, pattern := range want {
		if !regexp.MustCompile(pattern).MatchString(steps[i]) {
			t.Errorf("%s\n got %q\nwant %s", commands[i], steps[i], pattern)
		}
	}
}

// stop ends the demo with ctrl-C and checks that nothing is left of it.
func (d *demo) stop(t testing.TB) {
	t.Helper()
	if err := d.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-d.done:
		if err != nil {
			t.Errorf("the demo ended with %v, want a clean end", err)
		}
	case <-time.After(patience):
		t.Fatal("the demo did not end")
	}
	for _, address := range demoAddresses() {
		if open(t, address) {
			t.Errorf("%s still answers after the demo ended", address)
		}
	}
	for _, folder := range d.folders() {
		if _, err := os.Stat(folder); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the folder %s is still there: %v", folder, err)
		}
	}
}

// folders are the temporary folders of the demo, by what it printed: data and run.
func (d *demo) folders() []string {
	return []string{
		regexp.MustCompile(`map +(/\S+)/data/zone\.yaml`).FindStringSubmatch(d.text)[1],
		regexp.MustCompile(`attack -socket (/\S+)/workload\.sock`).FindStringSubmatch(d.text)[1],
	}
}

// demoAddresses are where the demo and its children listen.
func demoAddresses() []string {
	list := []string{"127.0.0.1:8443", "127.0.0.1:8444", "127.0.0.1:8440", "127.0.0.1:8441"}
	for _, address := range shopAddresses {
		list = append(list, address)
	}
	return list
}

// open says whether somebody listens on an address.
func open(t testing.TB, address string) bool {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err == nil {
		_ = c.Close()
	} else if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("%s: %v", address, err)
	}
	return err == nil
}

// TestDemoWithoutNode: where Node is missing the demo says so and leaves reviews
// out; and when the demo is killed, its children end all the same.
func TestDemoWithoutNode(t *testing.T) {
	temporary, err := os.MkdirTemp("", "sallyport-e2e-demo-") // what is killed does not tidy up
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(temporary) })
	d := startDemo(t, "PATH="+temporary, "TMPDIR="+temporary)
	if !strings.Contains(d.text, "Node is not installed here") || strings.Contains(d.text, "/reviews") {
		t.Errorf("the demo without Node says\n%s", d.text)
	}
	here, reviews := 0, shopAddresses["reviews"]
	for _, address := range demoAddresses() {
		if open(t, address) {
			here++
		}
	}
	if here != len(demoAddresses())-1 || open(t, reviews) {
		t.Errorf("%d of %d addresses answer, reviews %t: want all but reviews", here, len(demoAddresses()), open(t, reviews))
	}
	if data := d.folders()[0]; mode(t, data+"/data/zone.yaml") != 0o600 {
		t.Errorf("the map in %s has mode %o, want 0600", data, mode(t, data+"/data/zone.yaml"))
	}
	if runtime.GOOS != "linux" {
		t.Skip("only Linux ends the children of a process that was killed")
	}
	if err := d.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, address := range demoAddresses() {
		until(t, address+" is closed", func() bool { return !open(t, address) })
	}
}

func mode(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}
