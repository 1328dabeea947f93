package identity

import (
	"context"
	"log/slog"
	"net/netip"

	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/problem"
)

// authenticate checks an address and password. Up to its last line the path is
// one: the same bounds, one look-up, one hash at the current cost, whether the
// account is known, unknown or disabled, and one refusal, auth.login.
//
// Other reasons depend on what was sent and on the client, never on the
// account: account.invalid, limit.address, limit.rate, limit.busy,
// auth.unavailable.
func (id *Identity) authenticate(ctx context.Context, email string, password obs.Secret, client netip.Addr) (account, error) {
	plain, err := presentedPassword(password)
	if err != nil {
		return account{}, err
	}
	if email == "" || len(email) > emailMax {
		return account{}, problem.WithDetail(problem.AccountInvalid, "email: want 1 to 254 characters")
	}
	leave, err := id.addresses.enter(client)
	if err != nil {
		return account{}, err
	}
	defer leave()
	attempt, err := id.guesses.begin(foldEmail(email), client)
	if err != nil {
		return account{}, err
	}
	a, known, err := id.accountByEmail(ctx, email)
	if err != nil {
		attempt.withdrawn()
		return account{}, err
	}
	right, renewed, err := id.checkHash(ctx, plain, a)
	if err != nil {
		attempt.withdrawn()
		return account{}, err
	}
	if !right || !known || a.Disabled {
		return account{}, problem.New(problem.AuthLogin, nil)
	}
	attempt.succeeded()
	if renewed != nil {
		id.renewHash(ctx, a, *renewed)
	}
	return a, nil
}

// checkHash checks a password against an account's hash, or against the dummy
// of the same cost when it has none that can be used.
func (id *Identity) checkHash(ctx context.Context, plain []byte, a account) (right bool, renewed *stored, err error) {
	s := id.hasher.dummy
	usable := false
	if a.password != "" {
		got, err := parsePHC(a.password)
		if usable = err == nil && id.hasher.weight(got) <= id.hashing.budget; usable {
			s = got
		} else { // a damaged row, or one that was not written by us
			id.log.ErrorContext(ctx, "stored password hash cannot be used", slog.String("user", a.ID))
		}
	}
	leave, err := id.hashing.enter(ctx, id.hasher.weight(s))
	if err != nil {
		return false, nil, err
	}
	defer leave()
	right, renewed = id.hasher.check(plain, s)
	return right && usable, renewed, nil
}

// renewHash stores a hash of the same password at the current cost. It is no
// change of rights, and it loses against a password that was changed meanwhile.
// That it fails keeps nobody out.
func (id *Identity) renewHash(ctx context.Context, a account, fresh stored) {
	err := id.db.change(ctx, func(ctx context.Context, t tx) error {
		_, err := t.Exec(ctx, "UPDATE users SET password = ?, password_form = ? WHERE id = ? AND password = ?",
			fresh.phc(), passwordForm, a.ID, a.password)
		return err
	})
	if err != nil {
		id.log.WarnContext(ctx, "password hash was not renewed", slog.String("user", a.ID), slog.Any("error", err))
	}
}

// openSession makes the session of a login that succeeded, always with a new
// token, and ends the one that the request came with, if any.
func (id *Identity) openSession(ctx context.Context, a account, n NewSession, prior Session) (string, Session, error) {
	n.User, n.Level, n.Method = a.ID, 1, "password"
	token, s, err := id.sessions.Create(ctx, n)
	if err != nil {
		return "", Session{}, unavailable(ctx, err)
	}
	// The account may have changed while its password was hashed. Whoever changes
	// it ends its sessions with the change (see alter): either it ended this one,
	// or the change is seen here.
	now, known, err := id.accountByID(ctx, a.ID)
	if err == nil && (!known || now.Disabled || now.Version != a.Version) {
		err = problem.New(problem.AuthLogin, nil)
	}
	if err != nil {
		if end := id.sessions.Revoke(context.WithoutCancel(ctx), a.ID, s.ID); end != nil {
			id.log.ErrorContext(ctx, "session of a refused login was not ended", slog.String("user", a.ID), slog.Any("error", end))
		}
		return "", Session{}, err
	}
	if prior.ID != "" {
		if err := id.endSession(ctx, prior.User, prior.ID); err != nil {
			return "", Session{}, err
		}
	}
	return token, s, nil
}

// endSession ends a session; that it has ended already is fine.
func (id *Identity) endSession(ctx context.Context, user, session string) error {
	err := unavailable(ctx, id.sessions.Revoke(ctx, user, session))
	if problem.ReasonOf(err) == problem.AccountUnknown {
		return nil
	}
	return err
}
