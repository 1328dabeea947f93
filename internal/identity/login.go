package identity

import (
	"context"
	"log/slog"
	"net/http"
	"strings"

	"sallyport.dev/internal/guess"
	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/password"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

// authenticate checks an address and password. Up to its last line the path is
// one: the same bounds, one look-up, one hash at the current cost, whether the
// account is known, unknown or disabled, and one refusal, auth.login.
//
// Other reasons depend on what was sent and on the client, never on the
// account: account.invalid, limit.address, limit.rate, limit.busy,
// limit.unavailable, auth.unavailable.
func (id *Identity) authenticate(r *http.Request, email string, p obs.Secret) (account, guess.Attempt, error) {
	none := func(err error) (account, guess.Attempt, error) { return account{}, guess.Attempt{}, err }
	ctx, client := r.Context(), obs.RequestFrom(r.Context()).Client
	if err := password.Presentable(p); err != nil {
		return none(err)
	}
	if email == "" || len(email) > emailMax {
		return none(problem.WithDetail(problem.AccountInvalid, "email: want 1 to 254 characters"))
	}
	if strings.ContainsRune(email, 0) { // which no store takes as text
		return none(problem.WithDetail(problem.AccountInvalid, "email: not text"))
	}
	leave, err := id.addresses.enter(client)
	if err != nil {
		return none(err)
	}
	defer leave()
	attempt, err := id.guesses.Begin(ctx, foldEmail(email), client, deviceOf(r))
	if err != nil {
		return none(err)
	}
	a, known, err := id.accountByEmail(ctx, email)
	if err != nil {
		return none(err)
	}
	right, renewed, err := id.passwords.Check(ctx, p, a.password, a.form)
	if err != nil {
		return none(err)
	}
	if !right || !known || a.Disabled {
		return none(problem.New(problem.AuthLogin, nil))
	}
	id.noteLength(ctx, a, p)
	if renewed != "" {
		id.renewHash(ctx, a, renewed)
	}
	return a, attempt, nil
}

// renewHash stores a hash of the same password at the current cost. It is no
// change of rights, and it loses against a password that was changed meanwhile.
// That it fails keeps nobody out.
func (id *Identity) renewHash(ctx context.Context, a account, fresh string) {
	err := id.db.change(ctx, func(ctx context.Context, t tx) error {
		_, err := t.Exec(ctx, "UPDATE users SET password = ?, password_form = ? WHERE id = ? AND password = ?",
			fresh, password.FormNFC, a.ID, a.password)
		return err
	})
	if err != nil {
		id.log.WarnContext(ctx, "password hash was not renewed", slog.String("user", a.ID), slog.Any("error", err))
	}
}

// endSession ends a session; that it has ended already is fine.
func (id *Identity) endSession(ctx context.Context, user, session string) error {
	err := store.Refusal(ctx, id.sessions.Revoke(ctx, user, session))
	if problem.ReasonOf(err) == problem.AccountUnknown {
		return nil
	}
	return err
}

// provePassword checks the password of an account whose user is known, with the
// bounds of a login. Reasons are those of authenticate.
func (id *Identity) provePassword(r *http.Request, a account, p obs.Secret) error {
	if err := password.Presentable(p); err != nil {
		return err
	}
	ctx, client := r.Context(), obs.RequestFrom(r.Context()).Client
	leave, err := id.addresses.enter(client)
	if err != nil {
		return err
	}
	defer leave()
	attempt, err := id.guesses.Begin(ctx, foldEmail(a.Email), client, deviceOf(r))
	if err != nil {
		return err
	}
	right, renewed, err := id.passwords.Check(ctx, p, a.password, a.form)
	if err != nil {
		return err
	}
	if !right {
		return problem.New(problem.AuthLogin, nil)
	}
	id.noteLength(ctx, a, p)
	if renewed != "" {
		id.renewHash(ctx, a, renewed)
	}
	id.forgive(r, attempt)
	return nil
}
