package e2e

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestLogFields: one object a line, one record a request, with the fields of
// the interface and none that could hold what must not be logged.
func TestLogFields(t *testing.T) {
	t.Parallel()
	z := startInterfaceZone(t, "closed")
	alice := z.addUser("alice@shop.example")
	began := time.Now().Add(-time.Second)
	got := z.do(call{path: "/mine?q=1", bearer: z.login(alice)})
	lines := strings.Split(strings.TrimSpace(z.must("logs", "--correlation", got.ID, "--format", "json")), "\n")
	if len(lines) != 1 {
		t.Fatalf("%d lines, want one record a request: %q", len(lines), lines)
	}
	fields := fieldsOf(t, lines[0])
	promised := []string{"client", "correlation_id", "duration_us", "listener", "method", "principal", "reason", "route", "service", "status", "time", "trace_id"}
	more := []string{"zone", "kind", "bytes_in", "bytes_out", "stages", "tags", "sequence"}
	for _, name := range promised {
		if _, there := fields[name]; !there {
			t.Errorf("the record lacks %s: %s", name, lines[0])
		}
	}
	for name := range fields {
		if !slices.Contains(promised, name) && !slices.Contains(more, name) {
			t.Errorf("the record has a field %q that nothing declares: %s", name, lines[0])
		}
	}
	at, err := time.Parse(time.RFC3339Nano, fields["time"].(string))
	if err != nil || at.Before(began) || at.After(time.Now()) || !strings.HasSuffix(fields["time"].(string), "Z") {
		t.Errorf("time %v (%v), want RFC 3339 UTC of now", fields["time"], err)
	}
	for name, want := range map[string]any{
		"correlation_id": got.ID, "listener": "public", "service": "plain", "route": "GET /mine", "method": "GET",
		"client": "127.0.0.1", "principal": alice.ID, "reason": "ok", "status": float64(200),
	} {
		if fields[name] != want {
			t.Errorf("%s is %v, want %v", name, fields[name], want)
		}
	}
	if us, ok := fields["duration_us"].(float64); !ok || us <= 0 || us != float64(int64(us)) {
		t.Errorf("duration_us is %v", fields["duration_us"])
	}
	if id, _ := fields["trace_id"].(string); !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(id) {
		t.Errorf("trace_id is %q", id)
	}
	if out := z.must("logs", "--correlation", "00000000-0000-4000-8000-000000000000", "--format", "json"); out != "" {
		t.Errorf("an unknown id finds %q", out)
	}
}
