package factor

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"strings"
	"time"

	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/store"
)

const (
	codeCount  = 10
	codeLength = 12 // characters of 5 bits each
	// codeAlphabet is that of Crockford's base32: what looks alike is one character.
	codeAlphabet = "0123456789abcdefghjkmnpqrstvwxyz"
)

// NewCodes ends the recovery codes of a user and returns ten new ones, the only
// time that they are told.
func (f *Factors) NewCodes(ctx context.Context, tx *store.Tx, user string) ([]obs.Secret, error) {
	if err := checkUser(user); err != nil {
		return nil, err
	}
	if _, err := tx.Exec(ctx, "DELETE FROM recovery_codes WHERE user_id = ?", user); err != nil {
		return nil, err
	}
	now, codes := f.clock(), make([]obs.Secret, 0, codeCount)
	for len(codes) < codeCount {
		code := newCode()
		n, err := tx.Exec(ctx, "INSERT INTO recovery_codes (hash, user_id, created_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
			f.hashCode(user, code), user, store.Micros(now))
		if err != nil {
			return nil, err
		}
		if n == 1 { // else the same code twice: as good as never
			codes = append(codes, obs.Secret(code[:4]+"-"+code[4:8]+"-"+code[8:]))
		}
	}
	return codes, nil
}

// UseCode judges a recovery code of the user and spends it when it is right. left
// is how many remain.
func (f *Factors) UseCode(ctx context.Context, tx *store.Tx, user, code string) (outcome Outcome, left int, err error) {
	outcome, err = f.useCode(ctx, tx, user, code)
	if err == nil {
		left, _, err = f.CodesLeftTx(ctx, tx, user)
	}
	if err != nil {
		return Wrong, 0, err
	}
	return outcome, left, nil
}

func (f *Factors) useCode(ctx context.Context, tx *store.Tx, user, code string) (Outcome, error) {
	code, ok := readCode(code)
	if !ok || checkUser(user) != nil {
		return Wrong, nil
	}
	hash := f.hashCode(user, code)
	n, err := tx.Exec(ctx, "UPDATE recovery_codes SET used_at = ? WHERE hash = ? AND user_id = ? AND used_at = 0",
		store.Micros(f.clock()), hash, user)
	if err != nil {
		return Wrong, err
	}
	if n == 1 {
		return Right, nil
	}
	var used int64
	err = tx.QueryRow(ctx, "SELECT used_at FROM recovery_codes WHERE hash = ? AND user_id = ?", hash, user).Scan(&used)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return Wrong, nil
	case err != nil:
		return Wrong, err
	}
	return Used, nil
}

// CodesLeftTx returns how many recovery codes of a user are left, and when they were
// made; the zero time when there are none. Errors are the store's.
func (f *Factors) CodesLeftTx(ctx context.Context, tx *store.Tx, user string) (left int, created time.Time, err error) {
	var at int64
	err = tx.QueryRow(ctx, "SELECT COUNT(CASE WHEN used_at = 0 THEN 1 END), COALESCE(MAX(created_at), 0) FROM recovery_codes WHERE user_id = ?",
		user).Scan(&left, &at)
	return left, store.FromMicros(at), err
}

// newCode returns 60 random bits.
func newCode() string {
	var b [codeLength]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never fails (Go 1.24)
	for i, c := range b {
		b[i] = codeAlphabet[c&31]
	}
	return string(b[:])
}

// readCode reads a code as people write it: in any case, with or without its
// hyphens, o for 0, i or l for 1.
func readCode(s string) (code string, ok bool) {
	if len(s) > 4*codeLength {
		return "", false
	}
	code = strings.Map(func(r rune) rune {
		switch r {
		case ' ', '\u00a0', '-', '\u2010', '\u2011':
			return -1
		case 'o', 'O':
			return '0'
		case 'i', 'I', 'l', 'L':
			return '1'
		}
		if r >= 'A' && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, s)
	return code, len(code) == codeLength && strings.Trim(code, codeAlphabet) == ""
}

// hashCode is what is kept of a code; the package document says why it is this.
func (f *Factors) hashCode(user, code string) []byte {
	mac := hmac.New(sha256.New, f.codes)
	mac.Write([]byte(user + "\x00" + code)) // a user has no zero byte, a code one length
	return mac.Sum(nil)
}
