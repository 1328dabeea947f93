package apikey

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

func TestCreateKey(t *testing.T) {
	w := newWorld(t)
	ends := w.now.time().Add(time.Hour)
	k, text := w.createKey(NewKey{Name: "partner", Scopes: []string{"b.w", "a.r"}, Roles: []string{"z", "y"}, Expires: ends})
	if !strings.HasPrefix(text, "spk_"+k.ID+"_") {
		t.Errorf("key %q does not name its id %q", text, k.ID)
	}
	p, until, err := w.keys.Resolve(t.Context(), text)
	if err != nil || !until.Equal(ends) {
		t.Fatalf("ResolveKey: until %v, %v, want %v", until, err, ends)
	}
	if p.Kind != policy.Key || p.Subject != "key_"+k.ID || p.Client != k.ID || p.Method != "key" || p.Level != 1 || p.Version != 1 ||
		!slices.Equal(p.Scopes, []string{"a.r", "b.w"}) || !slices.Equal(p.Roles, []string{"y", "z"}) || p.Session != "" {
		t.Errorf("ResolveKey = %+v", p)
	}
	for _, c := range []struct {
		name string
		key  NewKey
		want problem.Reason
	}{
		{"name is taken", NewKey{Name: "partner"}, problem.AdminConflict},
		{"no name", NewKey{}, problem.AdminInvalid},
		{"bad name", NewKey{Name: "Partner 1"}, problem.AdminInvalid},
		{"bad scope", NewKey{Name: "x", Scopes: []string{"a b"}}, problem.AdminInvalid},
		{"bad role", NewKey{Name: "x", Roles: []string{"-a"}}, problem.AdminInvalid},
		{"ends in the past", NewKey{Name: "x", Expires: w.now.time()}, problem.AdminInvalid},
		{"good", NewKey{Name: "x"}, problem.OK},
	} {
		_, text, err := w.keys.Create(t.Context(), c.key)
		wantReason(t, c.name, err, c.want)
		if err != nil && text != "" {
			t.Errorf("%s: a refusal hands out a key", c.name)
		}
	}
}

func TestResolveKeyRefuses(t *testing.T) {
	w := newWorld(t)
	_, text := w.createKey(NewKey{Name: "partner"})
	if got := w.resolve(text); got != problem.OK {
		t.Fatalf("positive control: %v", got)
	}
	other := string(newKeyText(text[4:16])) // a right id and checksum, a wrong secret
	w.count.reset()
	for _, bad := range []string{"", "x", text[:65], text + "0", text[:20] + "~" + text[21:]} {
		if got := w.resolve(bad); got != problem.AuthInvalid {
			t.Errorf("ResolveKey(%q): %v, want auth.invalid", bad, got)
		}
	}
	if len(w.count.statements) != 0 {
		t.Errorf("malformed keys cost %v, want nothing", w.count)
	}
	if got := w.resolve(other); got != problem.AuthInvalid {
		t.Errorf("a key never made: %v, want auth.invalid", got)
	}
	if len(w.count.statements) == 0 {
		t.Error("positive control: a well-formed key is not looked up")
	}
}

func TestKeyExpires(t *testing.T) {
	w := newWorld(t)
	k, text := w.createKey(NewKey{Name: "partner", Expires: w.now.time().Add(time.Hour)})
	w.now.advance(time.Hour - time.Microsecond)
	if got := w.resolve(text); got != problem.OK {
		t.Errorf("before its end: %v, want ok", got)
	}
	w.now.advance(time.Microsecond)
	if got := w.resolve(text); got != problem.AuthExpired {
		t.Errorf("at its end: %v, want auth.expired", got)
	}
	_, _, err := w.keys.Rotate(t.Context(), k.ID, Rotation{Overlap: 0})
	wantReason(t, "rotation of an expired key", err, problem.AdminUnknown)
	again, newText := w.createKey(NewKey{Name: "partner"}) // the name is free again
	if again.ID == k.ID || w.resolve(newText) != problem.OK {
		t.Errorf("the next key of the name: %+v, %v", again, w.resolve(newText))
	}
	if got := w.resolve(text); got == problem.OK {
		t.Error("the expired key opens again")
	}
}

func TestRevokeKey(t *testing.T) {
	w := newWorld(t)
	k, text := w.createKey(NewKey{Name: "partner"})
	_, other := w.createKey(NewKey{Name: "other"})
	var told []store.Revocation
	defer w.db.Subscribe(func(r store.Revocation) { told = append(told, r) })()
	if err := w.keys.Revoke(t.Context(), k.ID); err != nil {
		t.Fatal(err)
	}
	if len(told) != 2 || told[0].Credential != Hash(text) || told[1].Subject != "key_"+k.ID {
		t.Errorf("subscribers were told %+v, want the credential and the subject", told)
	}
	if got := w.resolve(text); got != problem.AuthRevoked {
		t.Errorf("the revoked key: %v, want auth.revoked", got)
	}
	if got := w.resolve(other); got != problem.OK {
		t.Errorf("another key: %v, want ok", got)
	}
	wantReason(t, "again", w.keys.Revoke(t.Context(), k.ID), problem.AdminUnknown)
	wantReason(t, "of nobody", w.keys.Revoke(t.Context(), "nobody"), problem.AdminUnknown)
	_, _, err := w.keys.Rotate(t.Context(), k.ID, Rotation{Overlap: time.Hour})
	wantReason(t, "rotation of a revoked key", err, problem.AdminUnknown)
	w.createKey(NewKey{Name: "partner"})
	keys, err := w.keys.List(t.Context(), "", 10)
	if err != nil || len(keys) != 3 {
		t.Fatalf("Keys = %+v, %v, want three", keys, err)
	}
	for _, got := range keys {
		if got.Live(w.now.time()) == (got.ID == k.ID) {
			t.Errorf("key %+v is live: %v", got, got.Live(w.now.time()))
		}
	}
	if page, err := w.keys.List(t.Context(), keys[0].ID, 1); err != nil || len(page) != 1 || page[0].ID != keys[1].ID {
		t.Errorf("a page of one after the first = %+v, %v", page, err)
	}
}

func TestRotateKey(t *testing.T) {
	w := newWorld(t)
	k, first := w.createKey(NewKey{Name: "partner", Scopes: []string{"a.r"}})
	rotate := func(overlap time.Duration) string {
		t.Helper()
		got, text, err := w.keys.Rotate(t.Context(), k.ID, Rotation{Overlap: overlap})
		if err != nil || got.ID != k.ID || got.Name != "partner" || !slices.Equal(got.Scopes, k.Scopes) {
			t.Fatalf("RotateKey(%v) = %+v, %v", overlap, got, err)
		}
		return string(text)
	}
	var told []store.Revocation
	defer w.db.Subscribe(func(r store.Revocation) { told = append(told, r) })()

	second := rotate(time.Hour)
	if second == first || w.resolve(first) != problem.OK || w.resolve(second) != problem.OK {
		t.Errorf("within the overlap: old %v, new %v, want ok for both", w.resolve(first), w.resolve(second))
	}
	p, until, err := w.keys.Resolve(t.Context(), first)
	if err != nil || !until.Equal(w.now.time().Add(time.Hour)) || p.Subject != k.Subject() || p.Version != 2 {
		t.Errorf("the old secret: %+v until %v, %v", p, until, err)
	}
	if _, until, _ := w.keys.Resolve(t.Context(), second); !until.IsZero() {
		t.Errorf("the new secret ends at %v, want never", until)
	}
	if len(told) != 1 || told[0].Subject != k.Subject() {
		t.Errorf("a rotation with overlap told %+v, want the subject: caches forget how long the old secret lives", told)
	}

	third := rotate(time.Hour) // while the overlap runs: never more than two
	if a, b, c := w.resolve(first), w.resolve(second), w.resolve(third); a != problem.AuthRevoked || b != problem.OK || c != problem.OK {
		t.Errorf("after a second rotation: %v, %v, %v, want auth.revoked, ok, ok", a, b, c)
	}
	w.now.advance(time.Hour)
	if b, c := w.resolve(second), w.resolve(third); b != problem.AuthExpired || c != problem.OK {
		t.Errorf("after the overlap: %v, %v, want auth.expired, ok", b, c)
	}

	fourth := rotate(0)
	if c, d := w.resolve(third), w.resolve(fourth); c != problem.AuthRevoked || d != problem.OK {
		t.Errorf("without overlap: %v, %v, want auth.revoked, ok", c, d)
	}
	if err := w.keys.Revoke(t.Context(), k.ID); err != nil || w.resolve(fourth) != problem.AuthRevoked {
		t.Errorf("revoked: %v, %v, want auth.revoked", err, w.resolve(fourth))
	}
	for _, overlap := range []time.Duration{-1, MaxOverlap + 1} {
		_, _, err := w.keys.Rotate(t.Context(), k.ID, Rotation{Overlap: overlap})
		wantReason(t, "overlap", err, problem.AdminInvalid)
	}
}

// TestRotationForgets rotates a key for years: its old secrets do not pile up.
func TestRotationForgets(t *testing.T) {
	w := newWorld(t)
	k, _ := w.createKey(NewKey{Name: "partner"})
	for range 30 {
		w.now.advance(60 * 24 * time.Hour)
		if _, _, err := w.keys.Rotate(t.Context(), k.ID, Rotation{Overlap: time.Hour}); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.number("SELECT COUNT(*) FROM api_key_secrets"); got > 4 {
		t.Errorf("%d secrets are kept, want a few", got)
	}
}

func TestKeyUse(t *testing.T) {
	w := newWorld(t)
	k, text := w.createKey(NewKey{Name: "partner"})
	used := func() time.Time {
		t.Helper()
		keys, err := w.keys.List(t.Context(), "", 10)
		if err != nil || len(keys) != 1 {
			t.Fatalf("Keys = %+v, %v", keys, err)
		}
		return keys[0].Used
	}
	if !used().IsZero() {
		t.Errorf("a new key was used at %v", used())
	}
	start := w.now.time()
	writes := 0
	for range 120 { // every second for two minutes
		w.count.reset()
		if got := w.resolve(text); got != problem.OK {
			t.Fatal(got)
		}
		writes += strings.Count(strings.Join(w.count.statements, "\n"), "UPDATE")
		w.now.advance(time.Second)
	}
	if writes != 2 {
		t.Errorf("%d writes in two minutes, want 2", writes)
	}
	if got := used(); !got.Equal(start.Add(time.Minute)) {
		t.Errorf("last use of %s is %v, want %v", k.ID, got, start.Add(time.Minute))
	}
}

func TestKeySecretIsNotPrinted(t *testing.T) {
	text := newKeyText(newKeyID())
	var _ obs.Secret = text
	if text.String() == string(text) {
		t.Error("a key prints itself")
	}
}

func TestKeyByNameOrID(t *testing.T) {
	w := newWorld(t)
	a, _ := w.createKey(NewKey{Name: "partner", Expires: w.now.time().Add(time.Hour)})
	b, _ := w.createKey(NewKey{Name: "other"})
	first := "k"
	if a.ID[0] == 'k' {
		first = "j"
	}
	odd, _ := w.createKey(NewKey{Name: first + a.ID[1:]}) // looks like an id, and is another than that
	if err := w.keys.Revoke(t.Context(), b.ID); err != nil {
		t.Fatal(err)
	}
	for by, want := range map[string]string{"partner": a.ID, a.ID: a.ID, odd.Name: odd.ID, "other": "", b.ID: "", "": "", "nobody": ""} {
		k, err := w.keys.Find(t.Context(), by)
		if want == "" {
			wantReason(t, "Key "+by, err, problem.AdminUnknown)
		} else if err != nil || k.ID != want {
			t.Errorf("Key(%q) = %q, %v, want %q", by, k.ID, err, want)
		}
	}
	w.now.advance(2 * time.Hour)
	if k, err := w.keys.Find(t.Context(), "partner"); err != nil || k.ID != a.ID { // it has the name until another takes it
		t.Errorf("an expired key: %q, %v, want %q", k.ID, err, a.ID)
	}
}

// TestKeyUseWaitsForNobody: the time of a key's use decides nothing, so a
// request with a key does not wait for whoever is writing.
func TestKeyUseWaitsForNobody(t *testing.T) {
	w := newWorld(t)
	w.keys.patience = touchPatience
	_, text := w.createKey(NewKey{Name: "partner"})
	writing, done := make(chan struct{}), make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		err := w.db.Tx(t.Context(), func(context.Context, *store.Tx) error {
			close(writing)
			<-done
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-writing
	defer writer.Wait()
	defer close(done)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // of a broken build
	defer cancel()
	if _, _, err := w.keys.Resolve(ctx, text); err != nil || ctx.Err() != nil {
		t.Errorf("beside a slow writer: %v, context %v", err, ctx.Err())
	}
}

// TestStoreDown: without the store no key opens anything.
func TestStoreDown(t *testing.T) {
	w := newWorld(t)
	_, text := w.createKey(NewKey{Name: "k"})
	if err := w.db.Close(); err != nil {
		t.Fatal(err)
	}
	_, _, err := w.keys.Resolve(t.Context(), text)
	wantReason(t, "Resolve", err, problem.AuthUnavailable)
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("the cause is lost: %v", err)
	}
}

// TestNothingInClearAtRest reads the database as a thief would, and tries what
// was found.
func TestNothingInClearAtRest(t *testing.T) {
	w := newWorld(t)
	k, text := w.createKey(NewKey{Name: "partner"})
	secret := text[len(Prefix)+keyID+1:]
	_, hmac, err := w.keys.NewHMAC(t.Context(), k.ID, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := base64.StdEncoding.DecodeString(string(hmac))
	if err != nil || len(raw) != 32 {
		t.Fatalf("a secret of %d bytes, %v", len(raw), err)
	}
	hash := Hash(text)
	if got := w.leaked("partner", k.ID, string(hash[:])); len(got) != 3 {
		t.Fatalf("positive control: of name, id and hash only %q are found", got)
	}
	if got := w.leaked(text, secret, secret[:20], string(hmac), string(raw), string(raw[:16]), hex.EncodeToString(raw)); len(got) != 0 {
		t.Errorf("in the database lie %q", got)
	}
	for _, found := range []string{string(hash[:]), hex.EncodeToString(hash[:]), Prefix + k.ID + "_" + base64.RawURLEncoding.EncodeToString(hash[:])} {
		if got := w.resolve(found); got != problem.AuthInvalid {
			t.Errorf("what is stored opens as a key: %v", got)
		}
	}
}
