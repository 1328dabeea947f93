package guard

import (
	"net/http"
	"strings"
	"testing"
)

func TestTrace(t *testing.T) {
	const good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for _, tt := range []struct {
		in   string
		kept bool
	}{
		{good, true},
		{strings.TrimSuffix(good, "1") + "0", true},
		{"01" + good[2:] + "-more", true}, // a later version may append
		{good + "-more", false},
		{"01" + good[2:] + "more", false},
		{"ff" + good[2:], false},
		{strings.ToUpper(good), false},
		{strings.ReplaceAll(good, "-", "_"), false},
		{"00-" + strings.Repeat("0", 32) + good[35:], false},
		{good[:36] + strings.Repeat("0", 16) + "-01", false},
		{strings.Replace(good, "0af", "0xf", 1), false},
		{"", false},
	} {
		got := traceOf(http.Header{headerTrace: {tt.in}})
		if kept := got.id() == strings.ToLower(good[3:35]); kept != tt.kept {
			t.Errorf("traceOf(%q) = %s, kept %v, want %v", tt.in, got, kept, tt.kept)
		}
		again, ok := parseTrace(got.String())
		if !ok || again.trace != got.trace || again.span != got.span {
			t.Errorf("traceOf(%q) = %s, which is no traceparent", tt.in, got)
		}
		if next := got.next(); next.trace != got.trace || next.span == got.span {
			t.Errorf("next of %s = %s", got, next)
		}
	}
	if got := traceOf(http.Header{headerTrace: {good, good}}); got.id() == good[3:35] {
		t.Error("two traceparents are one too many")
	}
}

func TestCorrelationID(t *testing.T) {
	const good = "4ff4a6a2-5e8e-4b62-9c27-3a2b8a9a5a10"
	for _, tt := range []struct {
		values []string
		kept   bool
	}{
		{[]string{good}, true},
		{nil, false},
		{[]string{good, good}, false},
		{[]string{strings.ToUpper(good)}, false},
		{[]string{strings.Replace(good, "-4b", "-1b", 1)}, false},
		{[]string{strings.Replace(good, "-9c", "-cc", 1)}, false},
		{[]string{good + "\n"}, false},
		{[]string{strings.ReplaceAll(good, "-", "")}, false},
		{[]string{"<script>"}, false},
	} {
		got := correlationOf(http.Header{headerCorrelation: tt.values})
		if (got == good) != tt.kept || !canonicalUUIDv4(got) {
			t.Errorf("correlationOf(%q) = %q, kept %v, want %v", tt.values, got, got == good, tt.kept)
		}
	}
}
