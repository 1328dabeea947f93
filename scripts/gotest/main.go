// Gotest runs `go test -json`, prints each package as it ends with the output
// of what failed, and writes the skipped tests with their reasons to a file.
//
//	go run ./scripts/gotest SKIPFILE [go test arguments]
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// event is a line of `go test -json` (go doc test2json).
type event struct {
	Action, Package, Test, Output string
	Elapsed                       float64
}

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: gotest SKIPFILE [go test arguments]")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "gotest:", err)
		os.Exit(1)
	}
}

func run(skipFile string, args []string) error {
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...) // #nosec G204 -- the arguments are the developer's own
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	var passed, failed, skipped int
	var skips strings.Builder
	lines := map[string][]string{} // output of the tests that have not ended
	s := bufio.NewScanner(out)
	s.Buffer(nil, 16<<20)
	for s.Scan() {
		var e event
		if json.Unmarshal(s.Bytes(), &e) != nil {
			fmt.Println(s.Text())
			continue
		}
		key := e.Package + " " + e.Test
		switch e.Action {
		case "output", "build-output":
			lines[key] = append(lines[key], e.Output)
		case "pass", "fail", "skip":
			if e.Test == "" {
				fmt.Printf("%-4s %s %.1fs\n", e.Action, e.Package, e.Elapsed)
			}
			switch {
			case e.Action == "fail":
				fmt.Print(strings.Join(lines[key], ""))
				if e.Test != "" {
					failed++
				}
			case e.Action == "skip" && e.Test != "":
				skipped++
				fmt.Fprintf(&skips, "  %s.%s: %s\n", e.Package, e.Test, reason(lines[key]))
			case e.Test != "":
				passed++
			}
			delete(lines, key)
		}
	}
	for key, rest := range lines {
		if strings.HasSuffix(key, " ") { // a package that did not build
			fmt.Print(strings.Join(rest, ""))
		}
	}
	if err := os.WriteFile(skipFile, []byte(skips.String()), 0o600); err != nil {
		return err
	}
	err = cmd.Wait()
	if err != nil && failed == 0 {
		failed = 1 // a build failure or a crash is one too
	}
	fmt.Printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped)
	return err
}

// reason returns what the test said when it skipped.
func reason(lines []string) string {
	for _, l := range lines {
		l = strings.TrimSpace(l)
		if l != "" && !strings.HasPrefix(l, "===") && !strings.HasPrefix(l, "---") {
			return l
		}
	}
	return "no reason given"
}
