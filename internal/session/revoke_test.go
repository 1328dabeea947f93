package session_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/session"
	"sallyport.dev/internal/store"
)

func TestRevoke(t *testing.T) {
	f := newFixture(t)
	token, s := f.login("u1")
	other, _ := f.login("u1")
	var told []store.Revocation
	f.db.Subscribe(func(r store.Revocation) { told = append(told, r) })

	for _, c := range []struct{ name, user, id string }{
		{"another user's", "u2", s.ID}, {"unknown", "u1", "no-such-id"}, {"empty", "u1", ""}, {"by token", "u1", token},
	} {
		if err := f.Revoke(t.Context(), c.user, c.id); problem.ReasonOf(err) != problem.AccountUnknown {
			t.Errorf("%s: %v, want account.unknown", c.name, err)
		}
	}
	f.want(token, problem.OK, "before")
	for range 2 { // the second finds it done
		if err := f.Revoke(t.Context(), "u1", s.ID); err != nil {
			t.Errorf("revoke: %v", err)
		}
	}
	if len(told) != 1 || told[0].Kind != store.KindCredential || told[0].Credential != session.Hash(token) || told[0].Number != 1 {
		t.Errorf("subscribers were told %+v, want one revocation of the token's hash", told)
	}
	f.want(token, problem.AuthRevoked, "revoked")
	f.pass(13 * time.Hour)
	f.want(token, problem.AuthRevoked, "revoked and expired")
	f.pass(-13 * time.Hour)
	f.want(other, problem.OK, "the other session")
}

func TestRevokeAll(t *testing.T) {
	f := newFixture(t)
	a, keep := f.login("u1")
	b, _ := f.login("u1")
	c, _ := f.login("u1")
	stranger, _ := f.login("u2")
	if n, err := f.RevokeAll(t.Context(), "u1", keep.ID); n != 2 || err != nil {
		t.Errorf("all but one = %d, %v, want 2", n, err)
	}
	f.want(a, problem.OK, "the one spared")
	f.want(b, problem.AuthRevoked, "second")
	f.want(c, problem.AuthRevoked, "third")
	if n, err := f.RevokeAll(t.Context(), "u1", ""); n != 1 || err != nil {
		t.Errorf("all = %d, %v, want 1", n, err)
	}
	f.want(a, problem.AuthRevoked, "the last")
	f.want(stranger, problem.OK, "another user's")
	if n, err := f.RevokeAll(t.Context(), "u1", ""); n != 0 || err != nil {
		t.Errorf("all again = %d, %v, want 0", n, err)
	}
	if n, err := f.db.LastRevocation(t.Context()); n != 3 || err != nil {
		t.Errorf("last revocation = %d, %v, want 3", n, err)
	}
}

// Within a caller's transaction sessions end with it or not at all.
func TestRevokeAllTx(t *testing.T) {
	f := newFixture(t)
	token, _ := f.login("u")
	mine := errors.New("mine")
	for _, outcome := range []error{mine, nil} {
		err := f.db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			if n, err := f.RevokeAllTx(ctx, tx, "u", ""); n != 1 || err != nil {
				t.Errorf("revoked %d, %v, want 1", n, err)
			}
			return outcome
		})
		if !errors.Is(err, outcome) {
			t.Errorf("transaction = %v, want %v", err, outcome)
		}
		if outcome != nil {
			f.want(token, problem.OK, "rolled back")
		}
	}
	f.want(token, problem.AuthRevoked, "committed")
}

// A revocation that cannot be numbered is none: the caller is told, and the
// session is as it was.
func TestRevocationIsWhole(t *testing.T) {
	f := newFixture(t)
	token, s := f.login("u")
	exec := func(query string) {
		t.Helper()
		if err := f.db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.Exec(ctx, query)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	exec("DELETE FROM revocation_head")
	if _, _, err := f.raise("u", s.ID, 2, "totp"); err == nil {
		t.Error("raised without numbers")
	}
	_, allErr := f.RevokeAll(t.Context(), "u", "")
	for name, err := range map[string]error{"revoke": f.Revoke(t.Context(), "u", s.ID), "revoke all": allErr} {
		if problem.ReasonOf(err) != problem.AuthUnavailable {
			t.Errorf("%s without numbers: %v, want auth.unavailable", name, err)
		}
	}
	f.want(token, problem.OK, "not revoked")
	exec("INSERT INTO revocation_head (id, number) VALUES (1, 0)")
	if err := f.Revoke(t.Context(), "u", s.ID); err != nil {
		t.Errorf("control: %v", err)
	}
}
