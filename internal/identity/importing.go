package identity

import (
	"context"
	"errors"
	"fmt"
	"io"

	"sallyport.dev/internal/password"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

// ImportOptions say how a file of users is taken.
type ImportOptions struct {
	Format      string // ImportCSV or ImportJSON
	DryRun      bool   // only tell what there is
	SkipInvalid bool   // take the rows that can be; else all or none are
}

// ImportReport tells what became of a file of users.
type ImportReport struct {
	Rows    int            // that the file has
	Added   int            // of a dry run: that would be added
	Formats map[string]int // of password hashes, by name; `none` is without a password
	Invalid int            // rows that cannot be taken
	Faults  []ImportFault  // of the first of them, a hundred at most
}

// ImportFault is why a row cannot be taken. It holds neither address nor hash.
type ImportFault struct {
	Line int
	Text string
}

const (
	faultsMax   = 100
	importBatch = 200 // rows of a transaction, where not all must be taken
)

// importUser is a row that can be taken.
type importUser struct {
	User
	line int
	hash string
}

// Import reads a file of users of another system, with their password hashes as
// they are there (see password.Passwords.Foreign): each row is checked before the
// first is stored. Such a hash is replaced when its owner logs in. Reason
// admin.invalid: the file as a whole cannot be read. That rows cannot be taken is
// no error: the report tells.
func (id *Identity) Import(ctx context.Context, file io.Reader, o ImportOptions) (ImportReport, error) {
	report := ImportReport{Formats: map[string]int{}, Faults: []ImportFault{}}
	users, err := id.readUsers(ctx, file, o.Format, &report)
	if err == nil {
		users, err = id.notThere(ctx, users, &report)
	}
	if err != nil {
		if e, ok := errors.AsType[errImport](err); ok {
			err = problem.WithDetail(problem.AdminInvalid, e.text)
		}
		return ImportReport{}, err
	}
	for _, u := range users {
		format, _ := id.importFormat(u.hash) // was read before
		report.Formats[format]++
	}
	switch {
	case report.Invalid > 0 && !o.SkipInvalid:
		return report, nil
	case o.DryRun:
		report.Added = len(users)
		return report, nil
	}
	size := max(1, len(users))
	if o.SkipInvalid {
		size = importBatch
	}
	for len(users) > 0 {
		n := min(size, len(users))
		if err := id.storeUsers(ctx, users[:n], o.SkipInvalid, &report); err != nil {
			return report, err
		}
		users = users[n:]
	}
	return report, nil
}

func (r *ImportReport) fault(line int, text string) {
	if r.Invalid++; len(r.Faults) < faultsMax {
		r.Faults = append(r.Faults, ImportFault{line, text})
	}
}

// readUsers reads the rows and judges each by itself and against those before it.
func (id *Identity) readUsers(ctx context.Context, file io.Reader, format string, report *ImportReport) ([]importUser, error) {
	var users []importUser
	lines := map[string]int{} // by address
	err := readImport(file, format, func(row importRow) error {
		if report.Rows++; report.Rows > importRows {
			return errImport{fmt.Sprintf("the file has more than %d rows: split it", importRows)}
		}
		if err := ctx.Err(); err != nil {
			return store.Refusal(ctx, err)
		}
		u, err := id.importUser(row)
		if err != nil {
			report.fault(row.line, err.Error())
			return nil
		}
		if before, twice := lines[foldEmail(u.Email)]; twice {
			report.fault(row.line, fmt.Sprintf("email: stands on line %d too", before))
			return nil
		}
		lines[foldEmail(u.Email)] = row.line
		users = append(users, u)
		return nil
	})
	return users, err
}

// importUser judges one row by itself.
func (id *Identity) importUser(row importRow) (u importUser, err error) {
	if row.fault != "" {
		return u, errors.New(row.fault)
	}
	u = importUser{line: row.line, hash: row.fields["password"]}
	if u.Email, err = parseEmail(typed(row.fields["email"])); err != nil {
		return u, detailOf(err)
	}
	if u.Name, err = checkName(row.fields["name"]); err != nil {
		return u, detailOf(err)
	}
	if u.Roles, err = checkRoles(splitNames(row.fields["roles"])); err != nil {
		return u, detailOf(err)
	}
	if u.Verified, err = importTruth(row.fields["verified"]); err != nil {
		return u, err
	}
	if u.Created, err = importTime(row.fields["created"], id.clock()); err != nil {
		return u, err
	}
	_, err = id.importFormat(u.hash)
	return u, err
}

// importFormat names the format of a hash; `none` for no password.
func (id *Identity) importFormat(hash string) (string, error) {
	switch {
	case hash == "":
		return "none", nil
	case len(hash) > importHash:
		return "", fmt.Errorf("password: longer than %d bytes", importHash)
	}
	format, err := id.passwords.Foreign(hash)
	if err != nil {
		return "", fmt.Errorf("password: %s", detailOf(err))
	}
	return format, nil
}

// detailOf is what a refusal says of a field.
func detailOf(err error) error {
	if e, ok := errors.AsType[*problem.Error](err); ok && e.Detail != "" {
		return errors.New(e.Detail)
	}
	return err
}

// notThere leaves out the users that the zone has already.
func (id *Identity) notThere(ctx context.Context, users []importUser, report *ImportReport) ([]importUser, error) {
	kept := users[:0]
	err := id.db.view(ctx, func(ctx context.Context, t tx) error {
		for _, u := range users {
			var n int
			if err := t.QueryRow(ctx, "SELECT COUNT(*) FROM users WHERE email_key = ?", foldEmail(u.Email)).Scan(&n); err != nil {
				return err
			}
			if n > 0 {
				report.fault(u.line, "email: there is an account with this address")
				continue
			}
			kept = append(kept, u)
		}
		return nil
	})
	return kept, err
}

// storeUsers stores users in one transaction. An address that was taken meanwhile
// is a fault of its row where others are taken, else of the file.
func (id *Identity) storeUsers(ctx context.Context, users []importUser, skip bool, report *ImportReport) error {
	added := 0
	var taken []importUser
	err := id.db.change(ctx, func(ctx context.Context, t tx) error {
		added, taken = 0, nil
		for _, u := range users {
			err := id.importOne(ctx, t, u)
			if problem.ReasonOf(err) == problem.AccountExists && skip {
				taken = append(taken, u)
				continue
			}
			if err != nil {
				return err
			}
			added++
		}
		return nil
	})
	if problem.ReasonOf(err) == problem.AccountExists {
		err = problem.WithDetail(problem.AdminConflict, "an account of the file was made meanwhile; nothing was stored")
	}
	if err != nil {
		return err
	}
	report.Added += added
	for _, u := range taken {
		report.fault(u.line, "email: there is an account with this address")
	}
	return nil
}

func (id *Identity) importOne(ctx context.Context, t tx, u importUser) error {
	created, chosen := store.Micros(u.Created), int64(0)
	h := hashed{encoded: u.hash}
	if u.hash != "" {
		h.form, chosen, h.stands = password.FormRaw, created, standsVouched
	}
	made, err := id.insertUser(ctx, t, u.User, h)
	if err != nil {
		return err
	}
	// When the password was chosen is not known: not before the account was made.
	_, err = t.Exec(ctx, "UPDATE users SET created_at = ?, password_at = ? WHERE id = ?", created, chosen, made.ID)
	return err
}
