package identity

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

// User is an account.
type User struct {
	ID       string // UUID v4: the `sub` of its principal
	Email    string // as it was written
	Roles    []string
	Verified bool // somebody has shown, or an administrator vouched, that the address is theirs
	Disabled bool
	Version  uint64 // grows with every change of rights or password
	Created  time.Time
}

// account is a user with the stored hash, which never leaves the package.
type account struct {
	User
	password string
}

const accountColumns = "id, email, password, roles, verified_at, disabled_at, version, created_at"

type scanner interface{ Scan(dest ...any) error }

func scanAccount(row scanner) (account, error) {
	var a account
	var roles string
	var verified, disabled, created int64
	err := row.Scan(&a.ID, &a.Email, &a.password, &roles, &verified, &disabled, &a.Version, &created)
	a.Roles, a.Verified, a.Disabled, a.Created = splitNames(roles), verified != 0, disabled != 0, store.FromMicros(created)
	return a, err
}

// accountByEmail costs one statement, found or not.
func (id *Identity) accountByEmail(ctx context.Context, email string) (account, bool, error) {
	return id.account(ctx, "SELECT "+accountColumns+" FROM users WHERE email_key = ?", foldEmail(email))
}

func (id *Identity) accountByID(ctx context.Context, user string) (account, bool, error) {
	return id.account(ctx, "SELECT "+accountColumns+" FROM users WHERE id = ?", user)
}

func (id *Identity) account(ctx context.Context, query string, arg any) (a account, found bool, err error) {
	err = id.db.view(ctx, func(ctx context.Context, t tx) error {
		var err error
		a, err = scanAccount(t.QueryRow(ctx, query, arg))
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		found = err == nil
		return err
	})
	if err != nil || !found {
		return account{}, false, err
	}
	return a, true, nil
}

// AddUser makes an account for which the caller vouches: it counts as verified.
// Reasons: account.invalid, account.password, account.exists, admin.invalid
// (roles), limit.busy.
func (id *Identity) AddUser(ctx context.Context, email string, password obs.Secret, roles []string) (User, error) {
	return id.addUser(ctx, email, password, roles, true)
}

func (id *Identity) addUser(ctx context.Context, email string, password obs.Secret, roles []string, verified bool) (User, error) {
	email, err := parseEmail(email)
	if err != nil {
		return User{}, err
	}
	if roles, err = checkRoles(roles); err != nil {
		return User{}, err
	}
	hash, err := id.hashNew(ctx, email, password)
	if err != nil {
		return User{}, err
	}
	now := id.clock()
	u := User{ID: uuid.NewString(), Email: email, Roles: roles, Verified: verified, Version: 1, Created: now}
	verifiedAt := time.Time{}
	if verified {
		verifiedAt = now
	}
	err = id.db.change(ctx, func(ctx context.Context, t tx) error {
		n, err := t.Exec(ctx, `INSERT INTO users
			(id, email, email_key, password, password_form, password_at, roles, verified_at, version, created_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, ?) ON CONFLICT DO NOTHING`,
			u.ID, u.Email, foldEmail(u.Email), hash, passwordForm, store.Micros(now), joinNames(roles),
			store.Micros(verifiedAt), store.Micros(now))
		if err == nil && n == 0 {
			return problem.New(problem.AccountExists, nil)
		}
		return err
	})
	if err != nil {
		return User{}, err
	}
	return u, nil
}

// hashNew judges and hashes a password that was chosen for an address.
func (id *Identity) hashNew(ctx context.Context, email string, password obs.Secret) (phc string, err error) {
	plain, err := newPassword(password, id.common, email, localPart(email), id.zone.Name)
	if err != nil {
		return "", err
	}
	leave, err := id.hashing.enter(ctx, int64(id.hasher.cost.memory))
	if err != nil {
		return "", err
	}
	defer leave()
	return id.hasher.hash(plain).phc(), nil
}

// User returns an account by its id or its e-mail address; account.unknown when
// there is none.
func (id *Identity) User(ctx context.Context, idOrEmail string) (User, error) {
	find := id.accountByEmail
	if uuid.Validate(idOrEmail) == nil { // no address is a UUID: it has an @
		find = id.accountByID
	}
	a, found, err := find(ctx, idOrEmail)
	if err == nil && !found {
		err = problem.New(problem.AccountUnknown, nil)
	}
	return a.User, err
}

// usersMax bounds one page of Users.
const usersMax = 1000

// Users returns the accounts in the order of their addresses, at most limit and
// never more than 1000, starting after the given address; "" starts at the first.
func (id *Identity) Users(ctx context.Context, after string, limit int) ([]User, error) {
	limit = max(0, min(limit, usersMax))
	users := []User{}
	err := id.db.view(ctx, func(ctx context.Context, t tx) error {
		rows, err := t.Query(ctx, "SELECT "+accountColumns+" FROM users WHERE email_key > ? ORDER BY email_key LIMIT ?",
			foldEmail(after), limit)
		if err != nil {
			return err
		}
		for rows.Next() {
			a, err := scanAccount(rows)
			if err != nil {
				return err
			}
			users = append(users, a.User)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, err
	}
	return slices.Clip(users), nil
}
