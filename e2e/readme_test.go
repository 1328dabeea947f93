package e2e

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var fence = regexp.MustCompile("(?s)```(\\w*)\n(.*?)```")

// TestReadme runs the README's smallest map by the README's own commands.
func TestReadme(t *testing.T) {
	for _, tool := range []string{"curl", "bash"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(string(readme), "## The smallest map")
	if !found {
		t.Fatal("the README has no smallest map")
	}
	blocks := fence.FindAllStringSubmatch(after, 3)
	if len(blocks) != 3 || blocks[0][1] != "yaml" || blocks[1][1] != "sh" || blocks[2][1] != "sh" {
		t.Fatalf("want a map and two blocks of commands, got %q", blocks)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "zone.yaml"), []byte(blocks[0][2]), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(build(t), filepath.Join(dir, "bin")); err != nil {
		t.Fatal(err)
	}

	// The first block: make build is done; check answers; serve stays.
	var serve []string
	for line := range strings.Lines(blocks[1][2]) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), "#")
		switch {
		case strings.HasPrefix(line, "bin/sallyport check"):
			if out, err := shell(t, dir, line); err != nil || !strings.Contains(out, "GET /products/{id}") {
				t.Errorf("%s: %v\n%s", line, err, out)
			}
		case strings.HasPrefix(line, "bin/sallyport serve"):
			serve = strings.Fields(line)
		}
	}
	if serve == nil {
		t.Fatal("the README does not serve its map")
	}
	zone := exec.Command(filepath.Join(dir, serve[0]), serve[1:]...)
	zone.Dir = dir
	var stderr strings.Builder
	zone.Stderr = &stderr
	if err := zone.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = zone.Process.Signal(os.Interrupt)
		_ = zone.Wait()
	})
	for start := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if _, err := shell(t, dir, "bin/sallyport status --data ./data"); err == nil {
			break
		}
		if time.Since(start) > patience {
			t.Fatalf("the zone did not become ready:\n%s", stderr.String())
		}
	}

	// The second block, whole, as pasted.
	out, err := shell(t, dir, blocks[2][2])
	if err != nil || !strings.Contains(out, `"token":"sps_`) || !strings.Contains(out, "POST /auth/login") {
		t.Errorf("%s: %v\n%s", blocks[2][2], err, out)
	}
	if res, err := http.Get("http://127.0.0.1:8440/metrics"); err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("metrics: %v", err)
	} else {
		_ = res.Body.Close()
	}
}

func shell(t *testing.T, dir, script string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-ec", script)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}
