package app

import (
	"strings"
	"testing"

	"sallyport.dev/internal/apikey"
	"sallyport.dev/internal/gateway"
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// TestKeysOfUsers: a key that a user made rests with the account, and has what the
// map in force offers to users, both at once: nothing that was looked up before is
// believed any more.
func TestKeysOfUsers(t *testing.T) {
	offering := func(allow zone.Allow) *zone.Zone {
		z := parsed(t)
		z.Services[0].Routes[0].Allow, z.Services[0].Routes[0].Scopes = allow, []string{"a.r"}
		return z
	}
	s := begun(t, offering(zone.AllowUser|zone.AllowKey), Options{Run: socketDir(t)})
	ada, err := s.identity.AddUser(t.Context(), "ada@shop.example", "a long enough passphrase", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, text, err := s.apiKeys.CreateOwned(t.Context(), nil, ada.ID, apikey.NewOwned{Name: "laptop", Scopes: []string{"a.r"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		what   string
		do     func() error
		scopes string
		want   problem.Reason
	}{
		{"positive control", func() error { return nil }, "a.r", problem.OK},
		{"disabled", func() error { return s.identity.SetDisabled(t.Context(), ada.ID, true) }, "", problem.AuthRevoked},
		{"enabled", func() error { return s.identity.SetDisabled(t.Context(), ada.ID, false) }, "a.r", problem.OK},
		{"the route is for keys alone", func() error { return s.replace(t.Context(), offering(zone.AllowKey), s.options) }, "", problem.OK},
		{"for users again", func() error { return s.replace(t.Context(), offering(zone.AllowUser|zone.AllowKey), s.options) }, "a.r", problem.OK},
		{"deleted", func() error { return s.identity.DeleteUser(t.Context(), ada.ID) }, "", problem.AuthInvalid},
	} {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.what, err)
		}
		for range 2 { // asked, and remembered
			p, err := s.seen.Authenticate(t.Context(), gateway.Credential{Kind: gateway.KeyCredential, Value: text})
			if got := strings.Join(p.Scopes, " "); problem.ReasonOf(err) != step.want || got != step.scopes {
				t.Errorf("%s: scopes %q, %v; want %q, %v", step.what, got, err, step.scopes, step.want)
			}
		}
	}
}
