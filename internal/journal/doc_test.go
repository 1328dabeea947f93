package journal

import (
	"os"
	"strings"
	"testing"
)

// The format is told twice, to those who read the code and to those who read
// the journal from outside. Both say the same.
func TestFormatIsToldOnce(t *testing.T) {
	code, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	reference, err := os.ReadFile("../../docs/reference/journal.md")
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for line := range strings.Lines(string(code)) {
		if text, ok := strings.CutPrefix(line, "//\t"); ok {
			lines++
			if !strings.Contains(string(reference), "\n"+text) {
				t.Errorf("docs/reference/journal.md has no line %q", text)
			}
		}
	}
	if lines < 50 {
		t.Errorf("doc.go tells the format in %d lines: the test looks for the wrong ones", lines)
	}
}
