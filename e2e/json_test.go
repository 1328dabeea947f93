package e2e

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"testing"
)

func credentials(email, password string) string {
	b, _ := json.Marshal(map[string]string{"email": email, "password": password}) // strings always marshal
	return string(b)
}

func fieldsOf(t testing.TB, text string) map[string]any {
	t.Helper()
	var fields map[string]any
	if err := json.Unmarshal([]byte(text), &fields); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return fields
}

func keysOf(fields map[string]any) []string { return slices.Sorted(maps.Keys(fields)) }

func sameJSON(a, b any) bool { return reflect.DeepEqual(a, b) }

// changeLast replaces the last character by another of the same alphabets.
func changeLast(s string) string {
	last := "A"
	if s[len(s)-1] == 'A' {
		last = "B"
	}
	return s[:len(s)-1] + last
}
