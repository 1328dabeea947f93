package app

import (
	"context"
	"slices"
	"testing"

	"sallyport.dev/internal/apikey"
	"sallyport.dev/internal/gateway"
	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/session"
	"sallyport.dev/internal/store"
	"sallyport.dev/zone"
)

// TestSecondFactorByReload: a session of one factor has to step up from the reload on
// by which the map asks for two, and what was remembered of it is not believed.
func TestSecondFactorByReload(t *testing.T) {
	asking := func(required bool) *zone.Zone {
		z := parsed(t)
		z.Identity.MFARequired = required
		return z
	}
	s := begun(t, asking(false), Options{Run: socketDir(t)})
	ada, err := s.identity.AddUser(t.Context(), "ada@shop.example", "a long enough passphrase", nil)
	if err != nil {
		t.Fatal(err)
	}
	tokens := map[int]string{}
	sessions := map[int]string{}
	for _, level := range []int{1, 2} {
		token, made, err := s.sessions.Create(t.Context(), session.NewSession{User: ada.ID, Level: level, Method: "password"})
		if err != nil {
			t.Fatal(err)
		}
		tokens[level], sessions[level] = token, made.ID
	}
	for _, step := range []struct {
		what     string
		required bool
	}{{"at first", false}, {"it is asked for", true}, {"it is no longer", false}} {
		if err := s.replace(t.Context(), asking(step.required), s.options); err != nil {
			t.Fatalf("%s: %v", step.what, err)
		}
		for level, token := range tokens {
			want := step.required && level == 1
			cred := gateway.Credential{Kind: gateway.BearerCredential, Value: obs.Secret(token)}
			for range 2 { // asked, and remembered
				if p, err := s.seen.Authenticate(t.Context(), cred); err != nil || p.StepUp != want {
					t.Errorf("%s, level %d: %+v %v, want StepUp %v", step.what, level, p, err, want)
				}
			}
			_, _, err := (&exchange{credentials: s.seen, minter: s.minter}).Exchange(t.Context(), cred, nil, "public", "")
			if refused := problem.ReasonOf(err) == problem.AuthStepUp; refused != want || !want && err != nil {
				t.Errorf("%s, level %d: inside token %v, want it refused %v", step.what, level, err, want)
			}
			// What programs hold of a session stands or falls with it.
			if _, err := (openIDUsers{s}).Active(t.Context(), ada.ID, sessions[level]); (problem.ReasonOf(err) == problem.AuthStepUp) != want || !want && err != nil {
				t.Errorf("%s, level %d: programs %v, want them refused %v", step.what, level, err, want)
			}
		}
	}
}

// TestSetPasswordEndsDelegates: keys and programs end with a password that an
// administrator sets, those of the user alone.
func TestSetPasswordEndsDelegates(t *testing.T) {
	z := parsed(t)
	z.Services[0].Routes[0].Allow, z.Services[0].Routes[0].Scopes = zone.AllowUser|zone.AllowKey, []string{"a.r"}
	s := begun(t, z, Options{Run: socketDir(t)})
	var users []string
	for _, email := range []string{"ada@shop.example", "eve@shop.example"} {
		u, err := s.identity.AddUser(t.Context(), email, "a long enough passphrase", nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.apiKeys.CreateOwned(t.Context(), nil, u.ID, apikey.NewOwned{Name: "laptop", Scopes: []string{"a.r"}}); err != nil {
			t.Fatal(err)
		}
		if err := s.db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.Exec(ctx, "INSERT INTO oauth_consents (user_id, client_id, scopes, given_at) VALUES (?, 'app', 'openid', 1)", u.ID)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		users = append(users, u.ID)
	}
	have := func() (n []int) {
		t.Helper()
		for _, user := range users {
			keys, err := (userKeys{s.apiKeys}).ListKeys(t.Context(), user)
			if err != nil {
				t.Fatal(err)
			}
			grants, err := (userGrants{s.openID}).Grants(t.Context(), user)
			if err != nil {
				t.Fatal(err)
			}
			n = append(n, len(keys), len(grants))
		}
		return n
	}
	if got := have(); !slices.Equal(got, []int{1, 1, 1, 1}) {
		t.Fatalf("positive control: keys and programs %v", got)
	}
	if err := s.identity.SetPassword(t.Context(), users[0], "another long passphrase"); err != nil {
		t.Fatal(err)
	}
	if got := have(); !slices.Equal(got, []int{0, 0, 1, 1}) {
		t.Errorf("keys and programs %v, want those of the other user alone", got)
	}
}
