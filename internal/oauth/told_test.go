package oauth

import (
	"slices"
	"testing"
)

func TestTold(t *testing.T) {
	got := told([]string{"offline_access", "things.read", "email", "openid", "a", "email", "profile"})
	if want := []string{"openid", "profile", "email", "a", "things.read", "offline_access"}; !slices.Equal(got, want) {
		t.Errorf("told %v, want %v", got, want)
	}
}
