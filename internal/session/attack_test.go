package session_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/session"
	"sallyport.dev/internal/store"
)

// raise is RaiseTx in a transaction of its own.
func (f *fixture) raise(user, id string, level int, method string) (next string, s session.Session, err error) {
	err = f.db.Tx(f.t.Context(), func(ctx context.Context, tx *store.Tx) error {
		next, s, err = f.RaiseTx(ctx, tx, user, id, level, method)
		return err
	})
	return next, s, err
}

// A token that somebody else planted or kept is worth nothing after a step-up.
func TestFixation(t *testing.T) {
	f := newFixture(t)
	planted := "sps_" + strings.Repeat("A", 43)
	f.want(planted, problem.AuthInvalid, "a token chosen outside")
	if n := f.count("SELECT COUNT(*) FROM sessions"); n != 0 {
		t.Errorf("%d sessions came of it, want 0", n)
	}

	before, old := f.create(session.NewSession{User: "u", Level: 1, Method: "password", Agent: "Browser"})
	f.pass(10 * time.Minute)
	after, s, err := f.raise("u", old.ID, 2, "totp")
	if err != nil {
		t.Fatal(err)
	}
	if after == before || s.ID == old.ID || !session.WellFormed(after) {
		t.Errorf("raised %q (%s) to %q (%s), want both new", before, old.ID, after, s.ID)
	}
	want := old
	want.ID, want.Level, want.Reached, want.Method = s.ID, 2, 2, "totp"
	want.AuthTime, want.LastUsed, want.ValidUntil = f.clock(), f.clock(), f.clock().Add(lives.Idle)
	if s != want { // the absolute end is where it was
		t.Errorf("raised to %+v, want %+v", s, want)
	}
	f.want(before, problem.AuthRevoked, "the old token")
	if got := f.want(after, problem.OK, "the new token"); got != want {
		t.Errorf("looked up %+v, want %+v", got, want)
	}

	for _, bad := range []struct {
		level  int
		method string
	}{{-1, "totp"}, {0, "totp"}, {2, ""}, {2, strings.Repeat("m", 33)}} {
		token, s := f.login("u")
		if _, _, err := f.raise("u", s.ID, bad.level, bad.method); err == nil {
			t.Errorf("%+v was taken", bad)
		}
		f.want(token, problem.OK, "after a refusal")
	}
}

// Proofs without end do not make a session eternal.
func TestRaiseDoesNotLengthenLife(t *testing.T) {
	f := newFixture(t)
	_, s := f.login("u")
	for f.clock().Before(s.Expires.Add(-20 * time.Minute)) {
		f.pass(20 * time.Minute)
		_, next, err := f.raise("u", s.ID, 2, "totp")
		if err != nil {
			t.Fatal(err)
		}
		s = next
	}
	f.pass(20 * time.Minute)
	if _, _, err := f.raise("u", s.ID, 2, "totp"); problem.ReasonOf(err) != problem.AuthExpired {
		t.Errorf("at the absolute end: %v, want auth.expired", err)
	}
}

// Whoever reads the database finds nothing that lets him in.
func TestStoredFormIsUseless(t *testing.T) {
	f := newFixture(t)
	token, _ := f.create(session.NewSession{User: "planted-word", Level: 1, Method: "password"})
	hash := session.Hash(token)
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(token, "sps_"))
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(f.path + "*")
	if err != nil {
		t.Fatal(err)
	}
	found := func(needle []byte) bool {
		for _, name := range files {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(data, needle) {
				return true
			}
		}
		return false
	}
	for name, needle := range map[string][]byte{"planted word": []byte("planted-word"), "hash": hash[:]} { // the search finds what is there
		if !found(needle) {
			t.Errorf("control: the %s is not found in %q", name, files)
		}
	}
	for name, needle := range map[string][]byte{
		"token":                  []byte(token),
		"token without prefix":   []byte(token[4:]),
		"half of the token":      []byte(token[4:26]),
		"other half":             []byte(token[26:]),
		"bits of the token":      raw,
		"bits in hex":            []byte(hex.EncodeToString(raw)),
		"token in plain base64":  []byte(base64.RawStdEncoding.EncodeToString(raw)),
		"half of the bits":       raw[:16],
		"other half of the bits": raw[16:],
	} {
		if found(needle) {
			t.Errorf("the %s is in the database", name)
		}
	}
	for name, made := range map[string]string{
		"hash as a token": "sps_" + base64.RawURLEncoding.EncodeToString(hash[:]),
		"hash":            string(hash[:]),
		"hash in hex":     hex.EncodeToString(hash[:]),
		"hash of 43":      "sps_" + hex.EncodeToString(hash[:])[:43],
	} {
		f.want(made, problem.AuthInvalid, name)
	}
	f.want(token, problem.OK, "control: the token itself")
}

// What cannot be a token is told so without the store: here there is none.
func TestGarbageCostsNothing(t *testing.T) {
	f := newFixture(t)
	token, s := f.login("u")
	if err := f.db.Close(); err != nil {
		t.Fatal(err)
	}
	f.want(token, problem.AuthUnavailable, "control: a token without a store")
	for _, garbage := range []string{"", "sps_", "sps_short", token + "A", token[1:], "spa_" + token[4:], "' OR 1=1 --", strings.Repeat("x", 1<<20)} {
		f.want(garbage, problem.AuthInvalid, "garbage")
	}
	_, _, createErr := f.Create(t.Context(), session.NewSession{User: "u", Level: 1, Method: "password"})
	_, listErr := f.List(t.Context(), "u")
	_, allErr := f.RevokeAll(t.Context(), "u", "")
	_, purgeErr := f.Purge(t.Context())
	for name, err := range map[string]error{
		"create": createErr, "list": listErr, "revoke": f.Revoke(t.Context(), "u", s.ID),
		"revoke all": allErr, "purge": purgeErr,
	} {
		if problem.ReasonOf(err) != problem.AuthUnavailable {
			t.Errorf("%s without a store: %v, want auth.unavailable", name, err)
		}
	}
}
