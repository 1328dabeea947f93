package oauth

import "testing"

func TestPathsOf(t *testing.T) {
	if n := len(PathsOf()); n < 20 {
		t.Errorf("%d operations", n)
	}
}
