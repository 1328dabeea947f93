package apikey

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"testing"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

// testPublic is a public key of a seed that is known.
func testPublic() ed25519.PublicKey {
	public, _ := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize)).Public().(ed25519.PublicKey)
	return public
}

func (w *world) signing(id string) problem.Reason {
	_, err := w.keys.SigningKey(w.t.Context(), id)
	return problem.ReasonOf(err)
}

func TestSigningKeys(t *testing.T) {
	w := newWorld(t)
	ends := w.now.time().Add(90 * day)
	k, _ := w.createKey(NewKey{Name: "partner", Expires: ends})
	pair, err := w.keys.AddSigning(t.Context(), k.ID, testPublic(), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	mac, text, err := w.keys.NewHMAC(t.Context(), k.ID, w.now.time().Add(day))
	if err != nil {
		t.Fatal(err)
	}
	secret, err := base64.StdEncoding.DecodeString(string(text))
	if err != nil || len(secret) != 32 || mac.Secret != nil {
		t.Fatalf("secret of %d bytes, %v; with the key %v", len(secret), err, mac.Secret)
	}
	got, err := w.keys.SigningKey(t.Context(), pair.ID)
	if err != nil || got.Algorithm != Ed25519 || !got.Public.Equal(testPublic()) || got.Secret != nil || got.Key.ID != k.ID || !got.Expires.Equal(ends) {
		t.Errorf("the public key: %+v, %v", got, err)
	}
	got, err = w.keys.SigningKey(t.Context(), mac.ID)
	if err != nil || got.Algorithm != HMACSHA256 || got.Public != nil || !bytes.Equal(got.Secret, secret) || got.Key.ID != k.ID || !got.Expires.Equal(w.now.time().Add(day)) {
		t.Errorf("the HMAC: %+v, %v", got, err)
	}
	w.count.reset()
	for _, bad := range []string{"", "sig_", k.ID, pair.ID[:15], pair.ID + "a", "sig_ABCDEFGHIJKL", "sps_" + pair.ID[4:]} {
		if got := w.signing(bad); got != problem.AuthInvalid {
			t.Errorf("SigningKey(%q): %v, want auth.invalid", bad, got)
		}
	}
	if len(w.count.statements) != 0 {
		t.Errorf("malformed ids cost %q, want nothing", w.count.statements)
	}
	if got := w.signing("sig_aaaaaaaaaaaa"); got != problem.AuthInvalid {
		t.Errorf("one never made: %v, want auth.invalid", got)
	}
	list, err := w.keys.Signing(t.Context(), k)
	if err != nil || len(list) != 2 || list[0].Secret != nil || list[1].Secret != nil {
		t.Errorf("Signing = %+v, %v", list, err)
	}
	w.now.advance(day)
	if a, b := w.signing(pair.ID), w.signing(mac.ID); a != problem.OK || b != problem.AuthExpired {
		t.Errorf("after a day: %v, %v, want ok, auth.expired", a, b)
	}
	w.now.advance(89 * day)
	if a := w.signing(pair.ID); a != problem.AuthExpired {
		t.Errorf("after the end of the API key: %v, want auth.expired", a)
	}
}

func TestSigningRefusals(t *testing.T) {
	w := newWorld(t)
	now := w.now.time()
	k, _ := w.createKey(NewKey{Name: "partner", Expires: now.Add(day)})
	gone, _ := w.createKey(NewKey{Name: "gone"})
	over, _ := w.createKey(NewKey{Name: "over", Expires: now.Add(time.Microsecond)})
	if err := w.keys.Revoke(t.Context(), gone.ID); err != nil {
		t.Fatal(err)
	}
	w.now.advance(time.Microsecond)
	for _, c := range []struct {
		what    string
		key     string
		public  ed25519.PublicKey
		expires time.Time
		want    problem.Reason
	}{
		{"positive control", k.ID, testPublic(), now.Add(day), problem.OK},
		{"no key", k.ID, nil, time.Time{}, problem.AdminInvalid},
		{"short key", k.ID, testPublic()[:31], time.Time{}, problem.AdminInvalid},
		{"point of small order", k.ID, make([]byte, 32), time.Time{}, problem.AdminInvalid},
		{"ends in the past", k.ID, testPublic(), now, problem.AdminInvalid},
		{"ends after the API key", k.ID, testPublic(), now.Add(2 * day), problem.AdminInvalid},
		{"of a revoked API key", gone.ID, testPublic(), time.Time{}, problem.AdminUnknown},
		{"of an expired API key", over.ID, testPublic(), time.Time{}, problem.AdminUnknown},
		{"of no API key", "nobody", testPublic(), time.Time{}, problem.AdminUnknown},
	} {
		_, err := w.keys.AddSigning(t.Context(), c.key, c.public, c.expires)
		wantReason(t, c.what, err, c.want)
		if c.public.Equal(testPublic()) {
			_, secret, err := w.keys.NewHMAC(t.Context(), c.key, c.expires)
			wantReason(t, c.what+", an HMAC", err, c.want)
			if (err == nil) != (secret != "") {
				t.Errorf("%s: a refusal hands out a secret", c.what)
			}
		}
	}
	for range MaxSigning - 2 {
		if _, err := w.keys.AddSigning(t.Context(), k.ID, testPublic(), time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := w.keys.AddSigning(t.Context(), k.ID, testPublic(), time.Time{})
	wantReason(t, "a fifth", err, problem.AdminConflict)
}

// TestRemoveSigning: a key that is removed, or whose API key is revoked, is of no
// use, and its secret is gone.
func TestRemoveSigning(t *testing.T) {
	w := newWorld(t)
	a, _ := w.createKey(NewKey{Name: "a"})
	b, _ := w.createKey(NewKey{Name: "b"})
	hmac := func(key string) SigningKey {
		t.Helper()
		s, _, err := w.keys.NewHMAC(t.Context(), key, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first, second, other := hmac(a.ID), hmac(a.ID), hmac(b.ID)
	wantReason(t, "of another API key", w.keys.RemoveSigning(t.Context(), b.ID, first.ID), problem.AdminUnknown)
	wantReason(t, "one never made", w.keys.RemoveSigning(t.Context(), a.ID, "sig_aaaaaaaaaaaa"), problem.AdminUnknown)
	var told []store.Revocation
	defer w.db.Subscribe(func(r store.Revocation) { told = append(told, r) })()
	if err := w.keys.RemoveSigning(t.Context(), a.ID, first.ID); err != nil || len(told) != 1 || told[0].Subject != a.Subject() {
		t.Errorf("RemoveSigning: %v, told %+v", err, told)
	}
	wantReason(t, "again", w.keys.RemoveSigning(t.Context(), a.ID, first.ID), problem.AdminUnknown)
	if x, y := w.signing(first.ID), w.signing(second.ID); x != problem.AuthRevoked || y != problem.OK {
		t.Errorf("after it was removed: %v, the other %v, want auth.revoked, ok", x, y)
	}
	if err := w.keys.Revoke(t.Context(), a.ID); err != nil {
		t.Fatal(err)
	}
	if x, y := w.signing(second.ID), w.signing(other.ID); x != problem.AuthRevoked || y != problem.OK {
		t.Errorf("after the API key was revoked: %v, another's %v, want auth.revoked, ok", x, y)
	}
	if n := w.number("SELECT COUNT(*) FROM api_key_signing WHERE sealed IS NOT NULL"); n != 1 {
		t.Errorf("%d secrets are kept, want that of the live one", n)
	}
}

// TestSigningMoved: a secret that was moved to another row does not open there:
// who can write to the database cannot sign for another API key.
func TestSigningMoved(t *testing.T) {
	w := newWorld(t)
	a, _ := w.createKey(NewKey{Name: "a"})
	b, _ := w.createKey(NewKey{Name: "b"})
	mine, _, err := w.keys.NewHMAC(t.Context(), a.ID, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	theirs, _, err := w.keys.NewHMAC(t.Context(), b.ID, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if got := w.signing(mine.ID); got != problem.OK {
		t.Fatalf("positive control: %v", got)
	}
	for what, move := range map[string]string{
		"the secret of another": "UPDATE api_key_signing SET sealed = (SELECT s.sealed FROM api_key_signing s WHERE s.id = ?) WHERE id = ?",
		"the row":               "UPDATE api_key_signing SET key_id = (SELECT s.key_id FROM api_key_signing s WHERE s.id = ?) WHERE id = ?",
	} {
		w.exec(move, mine.ID, theirs.ID)
		if got := w.signing(theirs.ID); got != problem.InternalError {
			t.Errorf("%s moved: %v, want internal.error", what, got)
		}
	}
}

// TestSigningForgets makes and removes keys without end: few rows are kept.
func TestSigningForgets(t *testing.T) {
	w := newWorld(t)
	k, _ := w.createKey(NewKey{Name: "a"})
	for range 2 * endedSigning {
		s, err := w.keys.AddSigning(t.Context(), k.ID, testPublic(), time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		w.now.advance(time.Second)
		if err := w.keys.RemoveSigning(t.Context(), k.ID, s.ID); err != nil {
			t.Fatal(err)
		}
	}
	if n := w.number("SELECT COUNT(*) FROM api_key_signing"); n > endedSigning+1 {
		t.Errorf("%d rows are kept, want %d", n, endedSigning+1)
	}
	for range MaxSigning { // those that expired make room
		if _, err := w.keys.AddSigning(t.Context(), k.ID, testPublic(), w.now.time().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	w.now.advance(time.Hour)
	if _, err := w.keys.AddSigning(t.Context(), k.ID, testPublic(), time.Time{}); err != nil {
		t.Errorf("after the others have expired: %v", err)
	}
}

func TestSigningUse(t *testing.T) {
	w := newWorld(t)
	k, _ := w.createKey(NewKey{Name: "a"})
	s, err := w.keys.AddSigning(t.Context(), k.ID, testPublic(), time.Time{})
	if err != nil || !s.Used.IsZero() {
		t.Fatalf("a new one was used at %v, %v", s.Used, err)
	}
	start := w.now.time()
	for range 90 {
		if got := w.signing(s.ID); got != problem.OK {
			t.Fatal(got)
		}
		w.now.advance(time.Second)
	}
	if list, err := w.keys.Signing(t.Context(), k); err != nil || !list[0].Used.Equal(start.Add(time.Minute)) {
		t.Errorf("last use %v, %v, want %v", list[0].Used, err, start.Add(time.Minute))
	}
}

// TestOwnedSigning: a user gives keys to sign with to his own API keys alone.
func TestOwnedSigning(t *testing.T) {
	w := newWorld(t)
	ada, bob := w.user("ada"), w.user("bob")
	k, _ := w.createOwned(ada, "laptop", "a.r")
	service, _ := w.createKey(NewKey{Name: "partner"})
	mine, err := w.keys.AddOwnedSigning(t.Context(), nil, ada, k.ID, testPublic(), time.Time{})
	if err != nil || w.signing(mine.ID) != problem.OK {
		t.Fatalf("positive control: %v, %v", err, w.signing(mine.ID))
	}
	theirs, err := w.keys.AddSigning(t.Context(), service.ID, testPublic(), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ what, user, key, signing string }{
		{"another's", bob, k.ID, mine.ID}, {"nobody's", ada, service.ID, theirs.ID}, {"by nobody", "", service.ID, theirs.ID}, {"of none", ada, "nobody", mine.ID},
	} {
		_, err := w.keys.AddOwnedSigning(t.Context(), nil, c.user, c.key, testPublic(), time.Time{})
		wantReason(t, "AddOwnedSigning, "+c.what, err, problem.AccountUnknown)
		_, secret, err := w.keys.NewOwnedHMAC(t.Context(), nil, c.user, c.key, time.Time{})
		wantReason(t, "NewOwnedHMAC, "+c.what, err, problem.AccountUnknown)
		if secret != "" {
			t.Errorf("%s: a refusal hands out a secret", c.what)
		}
		wantReason(t, "RemoveOwnedSigning, "+c.what, w.keys.RemoveOwnedSigning(t.Context(), c.user, c.key, c.signing), problem.AccountUnknown)
	}
	_, err = w.keys.AddOwnedSigning(t.Context(), nil, ada, k.ID, make([]byte, 32), time.Time{})
	wantReason(t, "a weak key", err, problem.AccountInvalid)
	for range MaxSigning - 1 {
		if _, _, err := w.keys.NewOwnedHMAC(t.Context(), nil, ada, k.ID, time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	_, _, err = w.keys.NewOwnedHMAC(t.Context(), nil, ada, k.ID, time.Time{})
	wantReason(t, "a fifth", err, problem.AccountConflict)
	if err := w.keys.RemoveOwnedSigning(t.Context(), ada, k.ID, mine.ID); err != nil || w.signing(mine.ID) != problem.AuthRevoked || w.signing(theirs.ID) != problem.OK {
		t.Errorf("removed: %v, %v, another's %v", err, w.signing(mine.ID), w.signing(theirs.ID))
	}
}
