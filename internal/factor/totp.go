package factor

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"

	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/store"
)

// What every app understands (RFC 6238 with the defaults of the key URI format).
const (
	secretBytes = 20 // RFC 4226 section 4 R6: 160 bits
	stepLength  = 30 // seconds
	codeDigits  = 6
	window      = 1 // steps to either side: RFC 6238 section 5.2 advises no more
	totpLife    = 15 * time.Minute
)

// Enrollment is an authenticator app being set up. What it holds is shown to its
// user once; only Sealed is kept, for EnableTOTP.
type Enrollment struct {
	Secret obs.Secret // base32 in groups of four, to type in
	URI    obs.Secret // otpauth://
	SVG    obs.Secret // the URI as a QR code
	Sealed []byte     // for the server's record of what is under way
}

// BeginTOTP makes a secret for an app. account is how the app shows the account;
// title names the QR code to who cannot see it. Nothing is stored.
// Reasons: account.invalid.
func (f *Factors) BeginTOTP(user, account, title string) (Enrollment, error) {
	if err := checkUser(user); err != nil {
		return Enrollment{}, err
	}
	if account == "" || len(account) > maxAccount {
		return Enrollment{}, invalid("account: want 1 to 320 bytes")
	}
	draft := make([]byte, 8+secretBytes)
	defer clear(draft)
	binary.BigEndian.PutUint64(draft, uint64(store.Micros(f.clock().Add(totpLife)))) // #nosec G115 -- a time, after 1970
	_, _ = rand.Read(draft[8:])                                                      // crypto/rand.Read never fails (Go 1.24)
	sealed, err := f.root.Seal(draftPlace(user), draft)
	if err != nil {
		return Enrollment{}, err
	}
	secret := encodeSecret(draft[8:])
	uri := keyURI(f.zone, account, secret)
	svg, err := qrSVG(uri, title)
	if err != nil {
		return Enrollment{}, err
	}
	return Enrollment{Secret: obs.Secret(groups(secret)), URI: obs.Secret(uri), SVG: obs.Secret(svg), Sealed: sealed}, nil
}

// EnableTOTP adds the app that BeginTOTP began for this user, once it has shown
// one right code, which is spent by that. The outcome is Right or Wrong; Wrong
// changes nothing. Reasons: account.invalid (name, too many apps, begun for
// another user or too long ago).
func (f *Factors) EnableTOTP(ctx context.Context, tx *store.Tx, user string, sealed []byte, code, name string) (Factor, Outcome, error) {
	if err := checkUser(user); err != nil {
		return Factor{}, Wrong, err
	}
	name, err := checkName(name)
	if err != nil {
		return Factor{}, Wrong, err
	}
	draft, err := f.root.Open(draftPlace(user), sealed)
	if err != nil || len(draft) != 8+secretBytes {
		return Factor{}, Wrong, invalid("the app was not begun for this account; begin again")
	}
	defer clear(draft)
	now := f.clock()
	until := store.FromMicros(int64(binary.BigEndian.Uint64(draft))) // #nosec G115 -- a time, which we wrote
	if !now.Before(until) {
		return Factor{}, Wrong, invalid("setting up the app took too long; begin again")
	}
	step, err := matching(draft[8:], code, now)
	if err != nil || step == 0 {
		return Factor{}, Wrong, err
	}
	if err := f.room(ctx, tx, user, TOTP); err != nil {
		return Factor{}, Wrong, err
	}
	fac := Factor{ID: newID(), Kind: TOTP, Name: name, Created: store.FromMicros(store.Micros(now))}
	resealed, err := f.root.Seal(place(TOTP, user, fac.ID), draft[8:])
	if err != nil {
		return Factor{}, Wrong, err
	}
	// The seal of the draft is the same for every try: two at once that carry one
	// draft make two apps of one secret, of which each step would count twice.
	spent, err := f.spend(ctx, tx, sealed, now.Add(totpLife))
	if err != nil {
		return Factor{}, Wrong, err
	}
	if !spent {
		return Factor{}, Wrong, invalid("the app was set up already")
	}
	if _, err := tx.Exec(ctx, `INSERT INTO factors (id, user_id, kind, name, sealed, rp_id, step, created_at)
		VALUES (?, ?, 'totp', ?, ?, '', ?, ?)`, fac.ID, user, name, resealed, step, store.Micros(now)); err != nil {
		return Factor{}, Wrong, err
	}
	return fac, Right, nil
}

// CheckTOTP judges a code of the user's apps and spends it when it is right: a
// step is accepted once, and none before it any more.
func (f *Factors) CheckTOTP(ctx context.Context, tx *store.Tx, user, code string) (Factor, Outcome, error) {
	if checkUser(user) != nil {
		return Factor{}, Wrong, nil
	}
	apps, err := f.apps(ctx, tx, user)
	if err != nil {
		return Factor{}, Wrong, err
	}
	now, outcome := f.clock(), Wrong
	var used Factor
	for _, a := range apps {
		secret, err := f.root.Open(place(TOTP, user, a.ID), a.sealed)
		if err != nil {
			return Factor{}, Wrong, err
		}
		step, err := matching(secret, code, now)
		clear(secret)
		if err != nil {
			return Factor{}, Wrong, err
		}
		if step == 0 {
			continue
		}
		n, err := tx.Exec(ctx, "UPDATE factors SET step = ?, used_at = ? WHERE id = ? AND step < ?", step, store.Micros(now), a.ID, step)
		if err != nil {
			return Factor{}, Wrong, err
		}
		if n == 1 {
			a.LastUsed = store.FromMicros(store.Micros(now))
			return a.Factor, Right, nil
		}
		used, outcome = a.Factor, Used
	}
	return used, outcome, nil
}

// app is a row of an authenticator app.
type app struct {
	Factor
	sealed []byte
}

func (f *Factors) apps(ctx context.Context, tx *store.Tx, user string) ([]app, error) {
	rows, err := tx.Query(ctx, "SELECT "+factorColumns+", sealed FROM factors WHERE user_id = ? AND kind = 'totp' ORDER BY created_at, id", user)
	if err != nil {
		return nil, err
	}
	var list []app
	for rows.Next() {
		var a app
		if a.Factor, err = f.scanFactor(rows, &a.sealed); err != nil {
			return nil, err
		}
		list = append(list, a)
	}
	return list, rows.Err()
}

// matching returns the step around now whose code is the given one, 0 when none
// is. Should two steps have one code it is the later: the code must not count
// twice. All of them are computed, whichever match.
func matching(secret []byte, code string, now time.Time) (step int64, err error) {
	code = strings.Map(func(r rune) rune {
		if r == ' ' || r == '\u00a0' || r == '-' {
			return -1 // as apps show it, and as people type it
		}
		return r
	}, code)
	if len(code) != codeDigits || now.Unix() < stepLength*(1+window) {
		return 0, nil
	}
	middle := now.Unix() / stepLength
	for s := middle - window; s <= middle+window; s++ {
		want, err := codeAt(secret, s)
		if err != nil {
			return 0, err
		}
		if subtle.ConstantTimeCompare([]byte(want), []byte(code)) == 1 {
			step = s
		}
	}
	return step, nil
}

// codeAt is the code of a step (RFC 6238 section 4.2).
func codeAt(secret []byte, step int64) (string, error) {
	code, err := hotp.GenerateCodeCustom(encodeSecret(secret), uint64(step), // #nosec G115 -- not before 1970
		hotp.ValidateOpts{Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1})
	if err != nil {
		return "", fmt.Errorf("factor: code of a step: %w", err)
	}
	return code, nil
}

func encodeSecret(secret []byte) string {
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(secret)
}

// groups writes a secret as people can copy it.
func groups(secret string) string {
	var b strings.Builder
	for i := range len(secret) {
		if i > 0 && i%4 == 0 {
			b.WriteByte(' ')
		}
		b.WriteByte(secret[i])
	}
	return b.String()
}

// keyURI is what apps read (the key URI format). Some take + for itself, so that
// a space is %20, and a colon parts issuer and account, so that none may be in them.
func keyURI(issuer, account, secret string) string {
	escape := func(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
	return fmt.Sprintf("otpauth://totp/%s:%s?secret=%s&issuer=%s&algorithm=SHA1&digits=%d&period=%d",
		escape(issuer), escape(account), secret, escape(issuer), codeDigits, stepLength)
}
