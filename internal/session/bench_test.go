package session_test

import "testing"

// One lookup without the gateway's cache: format, hash, one row.
func BenchmarkLookup(b *testing.B) {
	f := newFixture(b)
	token, _ := f.login("u")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.Lookup(b.Context(), token); err != nil {
			b.Fatal(err)
		}
	}
}
