package identity

import (
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

func (w *world) createKey(n NewKey) (Key, string) {
	w.t.Helper()
	k, text, err := w.id.CreateKey(w.t.Context(), n)
	if err != nil {
		w.t.Fatalf("CreateKey(%+v): %v", n, err)
	}
	return k, string(text)
}

func (w *world) resolve(text string) problem.Reason {
	_, _, err := w.id.ResolveKey(w.t.Context(), text)
	return problem.ReasonOf(err)
}

func TestCreateKey(t *testing.T) {
	w := newWorld(t, openZone())
	ends := w.now.time().Add(time.Hour)
	k, text := w.createKey(NewKey{Name: "partner", Scopes: []string{"b.w", "a.r"}, Roles: []string{"z", "y"}, Expires: ends})
	if !strings.HasPrefix(text, "spk_"+k.ID+"_") {
		t.Errorf("key %q does not name its id %q", text, k.ID)
	}
	p, until, err := w.id.ResolveKey(t.Context(), text)
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
		_, text, err := w.id.CreateKey(t.Context(), c.key)
		wantReason(t, c.name, err, c.want)
		if err != nil && text != "" {
			t.Errorf("%s: a refusal hands out a key", c.name)
		}
	}
}

func TestResolveKeyRefuses(t *testing.T) {
	w := newWorld(t, openZone())
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
	w := newWorld(t, openZone())
	k, text := w.createKey(NewKey{Name: "partner", Expires: w.now.time().Add(time.Hour)})
	w.now.advance(time.Hour - time.Microsecond)
	if got := w.resolve(text); got != problem.OK {
		t.Errorf("before its end: %v, want ok", got)
	}
	w.now.advance(time.Microsecond)
	if got := w.resolve(text); got != problem.AuthExpired {
		t.Errorf("at its end: %v, want auth.expired", got)
	}
	_, _, err := w.id.RotateKey(t.Context(), k.ID, 0)
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
	w := newWorld(t, openZone())
	k, text := w.createKey(NewKey{Name: "partner"})
	_, other := w.createKey(NewKey{Name: "other"})
	var told []store.Revocation
	defer w.db.Subscribe(func(r store.Revocation) { told = append(told, r) })()
	if err := w.id.RevokeKey(t.Context(), k.ID); err != nil {
		t.Fatal(err)
	}
	if len(told) != 2 || told[0].Credential != hashKey(text) || told[1].Subject != "key_"+k.ID {
		t.Errorf("subscribers were told %+v, want the credential and the subject", told)
	}
	if got := w.resolve(text); got != problem.AuthRevoked {
		t.Errorf("the revoked key: %v, want auth.revoked", got)
	}
	if got := w.resolve(other); got != problem.OK {
		t.Errorf("another key: %v, want ok", got)
	}
	wantReason(t, "again", w.id.RevokeKey(t.Context(), k.ID), problem.AdminUnknown)
	wantReason(t, "of nobody", w.id.RevokeKey(t.Context(), "nobody"), problem.AdminUnknown)
	_, _, err := w.id.RotateKey(t.Context(), k.ID, time.Hour)
	wantReason(t, "rotation of a revoked key", err, problem.AdminUnknown)
	w.createKey(NewKey{Name: "partner"})
	keys, err := w.id.Keys(t.Context(), "", 10)
	if err != nil || len(keys) != 3 {
		t.Fatalf("Keys = %+v, %v, want three", keys, err)
	}
	for _, got := range keys {
		if got.Live(w.now.time()) == (got.ID == k.ID) {
			t.Errorf("key %+v is live: %v", got, got.Live(w.now.time()))
		}
	}
	if page, err := w.id.Keys(t.Context(), keys[0].ID, 1); err != nil || len(page) != 1 || page[0].ID != keys[1].ID {
		t.Errorf("a page of one after the first = %+v, %v", page, err)
	}
}

func TestRotateKey(t *testing.T) {
	w := newWorld(t, openZone())
	k, first := w.createKey(NewKey{Name: "partner", Scopes: []string{"a.r"}})
	rotate := func(overlap time.Duration) string {
		t.Helper()
		got, text, err := w.id.RotateKey(t.Context(), k.ID, overlap)
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
	p, until, err := w.id.ResolveKey(t.Context(), first)
	if err != nil || !until.Equal(w.now.time().Add(time.Hour)) || p.Subject != k.Subject() || p.Version != 2 {
		t.Errorf("the old secret: %+v until %v, %v", p, until, err)
	}
	if _, until, _ := w.id.ResolveKey(t.Context(), second); !until.IsZero() {
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
	if err := w.id.RevokeKey(t.Context(), k.ID); err != nil || w.resolve(fourth) != problem.AuthRevoked {
		t.Errorf("revoked: %v, %v, want auth.revoked", err, w.resolve(fourth))
	}
	for _, overlap := range []time.Duration{-1, overlapMax + 1} {
		_, _, err := w.id.RotateKey(t.Context(), k.ID, overlap)
		wantReason(t, "overlap", err, problem.AdminInvalid)
	}
}

// TestRotationForgets rotates a key for years: its old secrets do not pile up.
func TestRotationForgets(t *testing.T) {
	w := newWorld(t, openZone())
	k, _ := w.createKey(NewKey{Name: "partner"})
	for range 30 {
		w.now.advance(60 * 24 * time.Hour)
		if _, _, err := w.id.RotateKey(t.Context(), k.ID, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.number("SELECT COUNT(*) FROM api_key_secrets"); got > 4 {
		t.Errorf("%d secrets are kept, want a few", got)
	}
}

func TestKeyUse(t *testing.T) {
	w := newWorld(t, openZone())
	k, text := w.createKey(NewKey{Name: "partner"})
	used := func() time.Time {
		t.Helper()
		keys, err := w.id.Keys(t.Context(), "", 10)
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
