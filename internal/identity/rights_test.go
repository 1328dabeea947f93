package identity

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

// TestSessionsEndWithTheChange: a new password, a closed and a removed account
// end the sessions in the same transaction, so that neither is there without
// the other.
func TestSessionsEndWithTheChange(t *testing.T) {
	for name, change := range map[string]func(w *world, u string) error{
		"password": func(w *world, u string) error { return w.id.SetPassword(w.t.Context(), u, "another good one") },
		"disabled": func(w *world, u string) error { return w.id.SetDisabled(w.t.Context(), u, true) },
		"deleted":  func(w *world, u string) error { return w.id.DeleteUser(w.t.Context(), u) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, openZone())
			u := w.addUser("ada@shop.example", goodPassword)
			told := 0
			defer w.db.Subscribe(func(r store.Revocation) {
				if r.Kind == store.KindSubject {
					told++
				}
			})()

			w.sessions.fail = errors.New("sessions cannot be ended")
			if err := change(w, u.ID); err == nil {
				t.Error("it succeeded without ending the sessions")
			}
			w.sessions.fail = nil
			if told != 0 {
				t.Errorf("%d revocations were told of a change that was not made", told)
			}
			w.login(u.Email, goodPassword) // as if nothing had been tried

			if err := change(w, u.ID); err != nil { // positive control
				t.Fatal(err)
			}
			if told != 1 || w.sessions.of(u.ID) != 0 {
				t.Errorf("%d revocations and %d sessions left, want 1 and none", told, w.sessions.of(u.ID))
			}
		})
	}
}

func TestGrantAndRevokeRoles(t *testing.T) {
	w := newWorld(t, openZone())
	u := w.addUser("ada@shop.example", goodPassword, "customer")
	for _, c := range []struct {
		name  string
		do    func(context.Context, string, []string) error
		roles []string
		want  problem.Reason
		have  []string
	}{
		{"grant", w.id.GrantRoles, []string{"support", "auditor"}, problem.OK, []string{"auditor", "customer", "support"}},
		{"grant again", w.id.GrantRoles, []string{"support"}, problem.OK, []string{"auditor", "customer", "support"}},
		{"grant a bad name", w.id.GrantRoles, []string{"x", "Bad Role"}, problem.AdminInvalid, []string{"auditor", "customer", "support"}},
		{"revoke", w.id.RevokeRoles, []string{"auditor"}, problem.OK, []string{"customer", "support"}},
		// A misspelt role would be left to its owner in silence.
		{"revoke a role it has not", w.id.RevokeRoles, []string{"customer", "supprot"}, problem.AdminUnknown, []string{"customer", "support"}},
		{"revoke all", w.id.RevokeRoles, []string{"customer", "support"}, problem.OK, []string{}},
	} {
		wantReason(t, c.name, c.do(t.Context(), u.ID, c.roles), c.want)
		if got, err := w.id.User(t.Context(), u.ID); err != nil || !slices.Equal(got.Roles, c.have) {
			t.Errorf("%s: roles %q (%v), want %q", c.name, got.Roles, err, c.have)
		}
	}
	wantReason(t, "of nobody", w.id.GrantRoles(t.Context(), "nobody", []string{"a"}), problem.AccountUnknown)
}

// TestRolesAtOnce: changes that are made at once are all made. A grant that had
// read the roles before a revocation would bring the revoked one back.
func TestRolesAtOnce(t *testing.T) {
	w := newWorld(t, openZone())
	u := w.addUser("ada@shop.example", goodPassword, "r0", "r1", "r2", "r3", "r4")
	var all sync.WaitGroup
	for _, n := range []string{"0", "1", "2", "3", "4"} {
		for _, change := range []func() error{
			func() error { return w.id.GrantRoles(t.Context(), u.ID, []string{"g" + n}) },
			func() error { return w.id.RevokeRoles(t.Context(), u.ID, []string{"r" + n}) },
		} {
			all.Go(func() {
				if err := change(); err != nil {
					t.Error(err)
				}
			})
		}
	}
	all.Wait()
	want := []string{"g0", "g1", "g2", "g3", "g4"}
	if got, err := w.id.User(t.Context(), u.ID); err != nil || !slices.Equal(got.Roles, want) {
		t.Errorf("roles %q (%v), want %q", got.Roles, err, want)
	}
}

// TestPasswordsAreText: what decoders leave of damaged text is refused wherever
// a password is set, since two different passwords would become one, and no
// login could send it.
func TestPasswordsAreText(t *testing.T) {
	w := newWorld(t, openZone())
	for name, c := range map[string]struct {
		password string
		want     problem.Reason
	}{
		"damaged":   {"a long p\uFFFDssphrase", problem.AccountInvalid},
		"not UTF-8": {"a long p\xe4ssphrase", problem.AccountInvalid},
		"Unicode":   {"a long pässphrase", problem.OK},
	} {
		_, err := w.id.AddUser(t.Context(), "u@shop.example", obs.Secret(c.password), nil)
		wantReason(t, name, err, c.want)
	}
}
