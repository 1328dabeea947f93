package factor_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"

	"sallyport.dev/internal/store"
	"sallyport.dev/internal/store/pgtest"
)

// atRest is all that the database holds: what its statements answer, and where
// it is a file, the file and its write-ahead log.
func (w *world) atRest() []byte {
	w.t.Helper()
	var all bytes.Buffer
	w.must(w.db.View(w.t.Context(), func(ctx context.Context, tx *store.Tx) error {
		for _, from := range []string{
			"name, sealed FROM factors", "user_id, credential FROM factors WHERE kind = 'passkey'", "user_id, handle FROM factor_handles",
			"user_id, hash FROM recovery_codes", "'', hash FROM factor_challenges", "name, sealed FROM sealed",
		} {
			rows, err := tx.Query(ctx, "SELECT "+from)
			if err != nil {
				return err
			}
			for rows.Next() {
				var text string
				var b []byte
				if err := rows.Scan(&text, &b); err != nil {
					return err
				}
				fmt.Fprintf(&all, "%s\n%s\n", text, b)
			}
			if err := rows.Err(); err != nil {
				return err
			}
		}
		return nil
	}))
	if pgtest.Wanted(w.t) {
		return all.Bytes()
	}
	for _, suffix := range []string{"", "-wal"} {
		b, err := os.ReadFile(w.path + suffix)
		w.must(err)
		all.Write(b)
	}
	return all.Bytes()
}

// spellings are the forms in which a secret could lie there.
func spellings(secret []byte) map[string][]byte {
	sum := sha256.Sum256(secret)
	out := map[string][]byte{"SHA-256": sum[:]}
	for name, s := range map[string]string{
		"itself":    string(secret),
		"hex":       hex.EncodeToString(secret),
		"base32":    base32.StdEncoding.EncodeToString(secret),
		"base64":    base64.RawStdEncoding.EncodeToString(secret),
		"base64url": base64.RawURLEncoding.EncodeToString(secret),
	} {
		out[name] = []byte(s)
		out[name+", lower"] = []byte(strings.ToLower(s))
		out[name+", upper"] = []byte(strings.ToUpper(s))
	}
	return out
}

// The database alone, all of it, holds nothing by which to log in or to know
// a device.
func TestNothingAtRest(t *testing.T) {
	w := newWorld(t)
	d := newDevice()
	w.enroll(alice, d)
	a, phone := w.enrollTOTP(alice)
	seed, err := base32.StdEncoding.DecodeString(a.secret)
	w.must(err)
	codes := w.newCodes(alice)
	w.useCode(alice, string(codes[0]))
	if _, err := w.login(d); err != nil {
		t.Fatal(err)
	}

	secrets := map[string][]byte{"seed": seed, "seed in base32": []byte(a.secret),
		"public key": d.cred.Key.AttestationData(), "id of the credential": d.cred.ID, "model of the authenticator": d.auth.Aaguid[:]}
	for i, c := range codes {
		secrets[fmt.Sprintf("code %d", i)] = []byte(c)
		secrets[fmt.Sprintf("code %d without hyphens", i)] = []byte(strings.ReplaceAll(string(c), "-", ""))
	}
	all := w.atRest()
	for what, secret := range secrets {
		for form, s := range spellings(secret) {
			if what == "id of the credential" && form == "SHA-256" {
				if !bytes.Contains(all, s) {
					t.Error("positive control: the hash by which a passkey is found is not there")
				}
				continue
			}
			if bytes.Contains(all, s) {
				t.Errorf("%s lies in the database (%s)", what, form)
			}
		}
	}
	// Positive controls: what is there in clear is found, and a secret would be.
	for _, there := range []string{"my phone", "my key", alice} {
		if !bytes.Contains(all, []byte(there)) {
			t.Errorf("positive control: %q is not found", there)
		}
	}
	w.exec("UPDATE factors SET sealed = ? WHERE id = ?", seed, phone.ID)
	if !bytes.Contains(w.atRest(), seed) {
		t.Error("positive control: an unsealed seed is not found")
	}
}
