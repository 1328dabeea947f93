package identity

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/password"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

// User is an account.
type User struct {
	ID       string // UUID v4: the `sub` of its principal
	Email    string // as it was written
	Name     string // how the user wants to be called; may be empty
	Locale   string // language of pages and letters, by its tag; empty: the browser's
	Roles    []string
	Verified bool // somebody has shown, or an administrator vouched, that the address is theirs
	Disabled bool
	Version  uint64 // grows with every change of rights or password
	Created  time.Time
	Deleting time.Time // when it is to be deleted; zero: it is not
}

// account is a user with the stored hash, which never leaves the package.
type account struct {
	User
	password   string // as package password stores it; empty: there is none
	form       string // the form of Unicode it was hashed in
	passwordAt time.Time
	stands     string // whether it may be without a second factor beside it
}

// What is known of a password's standing without a second factor; empty: nothing.
const (
	standsLong    = "long"    // it has the length for that
	standsVouched = "vouched" // an administrator answers for it
)

const accountColumns = "id, email, name, locale, password, password_form, password_at, password_stands, roles, verified_at, disabled_at, delete_at, version, created_at"

type scanner interface{ Scan(dest ...any) error }

func scanAccount(row scanner) (account, error) {
	var a account
	var roles string
	var chosen, verified, disabled, deleting, created int64
	err := row.Scan(&a.ID, &a.Email, &a.Name, &a.Locale, &a.password, &a.form, &chosen, &a.stands, &roles, &verified, &disabled, &deleting, &a.Version, &created)
	a.Roles, a.Verified, a.Disabled, a.Created = splitNames(roles), verified != 0, disabled != 0, store.FromMicros(created)
	a.passwordAt, a.Deleting = store.FromMicros(chosen), store.FromMicros(deleting)
	return a, err
}

// accountByEmail costs one statement, found or not.
func (id *Identity) accountByEmail(ctx context.Context, email string) (account, bool, error) {
	return id.account(ctx, "SELECT "+accountColumns+" FROM users WHERE email_key = ?", foldEmail(email))
}

func (id *Identity) accountByID(ctx context.Context, user string) (account, bool, error) {
	return id.account(ctx, "SELECT "+accountColumns+" FROM users WHERE id = ?", user)
}

// accountInTx is accountByID within a transaction.
func (id *Identity) accountInTx(ctx context.Context, t tx, user string) (a account, found bool, err error) {
	return oneAccount(ctx, t, "SELECT "+accountColumns+" FROM users WHERE id = ?", user)
}

func (id *Identity) account(ctx context.Context, query string, arg any) (a account, found bool, err error) {
	err = id.db.look(ctx, func(ctx context.Context, t tx) error {
		a, found, err = oneAccount(ctx, t, query, arg)
		return err
	})
	if err != nil {
		return account{}, false, err
	}
	return a, found, nil
}

func oneAccount(ctx context.Context, t tx, query string, arg any) (account, bool, error) {
	a, err := scanAccount(t.QueryRow(ctx, query, arg))
	if errors.Is(err, store.ErrNotFound) {
		return account{}, false, nil
	}
	if err != nil {
		return account{}, false, err
	}
	return a, true, nil
}

// AddUser makes an account for which an administrator vouches: it counts as
// verified, and its password may be as short as one beside a second factor.
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
	h, err := id.hashNew(ctx, password, verified, email)
	if err != nil {
		return User{}, err
	}
	if verified {
		h = h.vouched()
	}
	var u User
	err = id.db.change(ctx, func(ctx context.Context, t tx) error {
		u, err = id.insertUser(ctx, t, User{Email: email, Roles: roles, Verified: verified}, h)
		return err
	})
	if err != nil {
		return User{}, err
	}
	return u, nil
}

// hashed is a password as it is stored. The zero value is none.
type hashed struct{ encoded, form, stands string }

// vouched is a password for which an administrator answers.
func (h hashed) vouched() hashed {
	if h.stands == "" {
		h.stands = standsVouched
	}
	return h
}

// hashNew judges and hashes a password that was chosen for an account: second says
// whether that holds a second factor, words are its own.
func (id *Identity) hashNew(ctx context.Context, p obs.Secret, second bool, words ...string) (hashed, error) {
	if err := id.passwords.Judge(p, second, append(words, id.zone.Name)...); err != nil {
		return hashed{}, err
	}
	h := hashed{}
	if password.StandsAlone(p) {
		h.stands = standsLong
	}
	var err error
	h.encoded, h.form, err = id.passwords.Hash(ctx, p)
	return h, err
}

// insertUser makes an account of what u says of address, name, language, roles and
// verification. Reason account.exists.
func (id *Identity) insertUser(ctx context.Context, t tx, u User, h hashed) (User, error) {
	now := id.clock()
	u.ID, u.Version, u.Created = uuid.NewString(), 1, store.FromMicros(store.Micros(now))
	if u.Roles == nil {
		u.Roles = []string{}
	}
	var verified, chosen int64
	if u.Verified {
		verified = store.Micros(now)
	}
	if h.form == "" {
		h.form = password.FormNFC
	}
	if h.encoded != "" {
		chosen = store.Micros(now)
	}
	n, err := t.Exec(ctx, `INSERT INTO users
		(id, email, email_key, name, locale, password, password_form, password_at, password_stands, roles, verified_at, version, created_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?) ON CONFLICT DO NOTHING`,
		u.ID, u.Email, foldEmail(u.Email), u.Name, u.Locale, h.encoded, h.form, chosen, h.stands, joinNames(u.Roles), verified, store.Micros(now))
	if err == nil && n == 0 {
		err = problem.New(problem.AccountExists, nil)
	}
	return u, err
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
