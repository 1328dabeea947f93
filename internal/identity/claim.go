package identity

import (
	"context"

	"sallyport.dev/internal/store"
)

// An account is unverified when nobody has shown that its address is theirs: it
// was made without mail, or imported so. Whoever can read the mail of the address
// has more right to it than whoever typed it, and what that one left in the
// account must not stay a way in.

// claimable says whether an account goes to who shows that its address is theirs.
// One that is guarded by a second factor does not: its user has something to lose,
// and a letter is less than a factor. They show the address while logged in.
func (id *Identity) claimable(ctx context.Context, t tx, a account) (bool, error) {
	if a.Verified {
		return false, nil
	}
	held, err := id.factors.HasTx(ctx, t.whole(), a.ID)
	return err == nil && !held.Any(), err
}

// claim gives an account to who showed that its address is theirs: with another
// password, and without whatever let somebody in before.
func (id *Identity) claim(ctx context.Context, t tx, a account, h hashed) (delegates, error) {
	ended, err := id.forget(ctx, t, a.ID)
	if err != nil {
		return delegates{}, err
	}
	if err := id.verified(ctx, t, a.ID); err != nil {
		return delegates{}, err
	}
	return ended, id.storePassword(ctx, t, a.ID, h, "")
}

// verified notes that the address of an account was shown to be its user's.
func (id *Identity) verified(ctx context.Context, t tx, user string) error {
	_, err := t.Exec(ctx, "UPDATE users SET verified_at = ? WHERE id = ? AND verified_at = 0", store.Micros(id.clock()), user)
	return err
}

// forget removes the ways into an account besides its password and factors: other
// providers, API keys and programs.
func (id *Identity) forget(ctx context.Context, t tx, user string) (delegates, error) {
	if _, err := t.Exec(ctx, "DELETE FROM connections WHERE user_id = ?", user); err != nil {
		return delegates{}, err
	}
	ended, err := id.endDelegates(ctx, t, user)
	if err != nil || id.keys == nil {
		return ended, err
	}
	return ended, id.keys.DeleteKeys(ctx, t.whole(), user)
}

// delegates are how many of what acts for a user without a session have ended.
type delegates struct{ keys, grants int }

// endDelegates ends the API keys of a user, and what programs were granted.
func (id *Identity) endDelegates(ctx context.Context, t tx, user string) (ended delegates, err error) {
	if ended.keys, err = id.endKeys(ctx, t, user); err != nil || id.grants == nil {
		return ended, err
	}
	ended.grants, err = id.grants.EndGrants(ctx, t.whole(), user)
	return ended, err
}

// accountByEmailTx is accountByEmail within a transaction.
func (id *Identity) accountByEmailTx(ctx context.Context, t tx, email string) (a account, found bool, err error) {
	return oneAccount(ctx, t, "SELECT "+accountColumns+" FROM users WHERE email_key = ?", foldEmail(email))
}
