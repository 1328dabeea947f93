package apikey

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
	"sallyport.dev/zone"
)

const day = 24 * time.Hour

func TestCreateOwned(t *testing.T) {
	w := newWorld(t)
	ada, bob := w.user("ada"), w.user("bob")
	w.exec("UPDATE users SET disabled_at = 1 WHERE id = ?", w.user("eve"))
	k, text := w.createOwned(ada, "My laptop", "b.w", "a.r")
	p, until, err := w.keys.Resolve(t.Context(), text)
	if err != nil || !until.Equal(w.now.time().Add(90*day)) {
		t.Fatalf("Resolve: until %v, %v, want 90 days", until, err)
	}
	if p.Kind != policy.Key || p.Subject != "key_"+k.ID || p.Owner != ada || len(p.Roles) != 0 || !slices.Equal(p.Scopes, []string{"a.r", "b.w"}) {
		t.Errorf("Resolve = %+v", p)
	}
	w.createOwned(bob, "My laptop", "a.r") // another's name is free
	for _, c := range []struct {
		name string
		user string
		key  NewOwned
		want problem.Reason
	}{
		{"name is taken", ada, NewOwned{Name: "My laptop", Scopes: []string{"a.r"}}, problem.AccountConflict},
		{"no name", ada, NewOwned{Scopes: []string{"a.r"}}, problem.AccountInvalid},
		{"name of two lines", ada, NewOwned{Name: "a\nb", Scopes: []string{"a.r"}}, problem.AccountInvalid},
		{"name that turns the text around", ada, NewOwned{Name: "a\u202eb", Scopes: []string{"a.r"}}, problem.AccountInvalid},
		{"name of a terminal's codes", ada, NewOwned{Name: "a\x1b[2J", Scopes: []string{"a.r"}}, problem.AccountInvalid},
		{"name that is not text", ada, NewOwned{Name: "a\xff", Scopes: []string{"a.r"}}, problem.AccountInvalid},
		{"long name", ada, NewOwned{Name: strings.Repeat("ä", 64), Scopes: []string{"a.r"}}, problem.AccountInvalid},
		{"name as long as may be", ada, NewOwned{Name: strings.Repeat("ä", 63), Scopes: []string{"a.r"}}, problem.OK},
		{"no scope", ada, NewOwned{Name: "x"}, problem.AccountInvalid},
		{"a scope that is not offered", ada, NewOwned{Name: "x", Scopes: []string{"a.r", "payments.notify"}}, problem.AccountInvalid},
		{"too long a life", ada, NewOwned{Name: "x", Scopes: []string{"a.r"}, Life: 365*day + 1}, problem.AccountInvalid},
		{"a life of the past", ada, NewOwned{Name: "x", Scopes: []string{"a.r"}, Life: -day}, problem.AccountInvalid},
		{"a life of no time", ada, NewOwned{Name: "x", Scopes: []string{"a.r"}, Life: 1}, problem.AccountInvalid},
		{"bad address", ada, NewOwned{Name: "x", Scopes: []string{"a.r"}, Addresses: []string{"here"}}, problem.AccountInvalid},
		{"nobody", "", NewOwned{Name: "x", Scopes: []string{"a.r"}}, problem.AccountUnknown},
		{"a user who is not there", "nobody", NewOwned{Name: "x", Scopes: []string{"a.r"}}, problem.AccountUnknown},
		{"a user who is disabled", "eve", NewOwned{Name: "x", Scopes: []string{"a.r"}}, problem.AccountUnknown},
		{"good", ada, NewOwned{Name: "x", Scopes: []string{"a.r"}, Life: 365 * day}, problem.OK},
	} {
		_, text, err := w.keys.CreateOwned(t.Context(), nil, c.user, c.key)
		wantReason(t, c.name, err, c.want)
		if err != nil && text != "" {
			t.Errorf("%s: a refusal hands out a key", c.name)
		}
	}
}

// TestOwnedKeysOfOthers: a user sees and changes no key but his own, nor one that
// nobody owns.
func TestOwnedKeysOfOthers(t *testing.T) {
	w := newWorld(t)
	ada, bob := w.user("ada"), w.user("bob")
	k, text := w.createOwned(ada, "laptop", "a.r")
	service, serviceText := w.createKey(NewKey{Name: "partner"})
	for _, who := range []string{bob, "", "nobody"} {
		for _, of := range []Key{k, service} {
			_, _, err := w.keys.RotateOwned(t.Context(), nil, who, of.ID, 0, 0)
			wantReason(t, "RotateOwned by "+who, err, problem.AccountUnknown)
			wantReason(t, "RevokeOwned by "+who, w.keys.RevokeOwned(t.Context(), who, of.ID), problem.AccountUnknown)
		}
		if list, err := w.keys.ListOwned(t.Context(), who); err != nil || len(list) != 0 {
			t.Errorf("ListOwned of %q = %+v, %v, want none", who, list, err)
		}
	}
	if a, b := w.resolve(text), w.resolve(serviceText); a != problem.OK || b != problem.OK {
		t.Fatalf("after others tried: %v, %v, want ok", a, b)
	}
	if got, err := w.keys.Find(t.Context(), "laptop"); problem.ReasonOf(err) != problem.AdminUnknown {
		t.Errorf("a user's key goes by its name: %+v, %v", got, err)
	}
	// Positive control: the owner may all of it.
	if list, err := w.keys.ListOwned(t.Context(), ada); err != nil || len(list) != 1 || list[0].ID != k.ID {
		t.Errorf("ListOwned = %+v, %v", list, err)
	}
	w.now.advance(30 * day)
	turned, second, err := w.keys.RotateOwned(t.Context(), nil, ada, k.ID, time.Hour, 0)
	if err != nil || !turned.Expires.Equal(w.now.time().Add(90*day)) {
		t.Fatalf("RotateOwned: ends %v, %v, want 90 days from now", turned.Expires, err)
	}
	if a, b := w.resolve(text), w.resolve(string(second)); a != problem.OK || b != problem.OK {
		t.Errorf("within the overlap: %v, %v, want ok", a, b)
	}
	if list, err := w.keys.ListOwned(t.Context(), ada); err != nil || len(list) != 1 || list[0].ID != k.ID {
		t.Errorf("ListOwned = %+v, %v", list, err)
	}
	if err := w.keys.RevokeOwned(t.Context(), ada, k.ID); err != nil || w.resolve(string(second)) != problem.AuthRevoked {
		t.Errorf("RevokeOwned: %v, %v", err, w.resolve(string(second)))
	}
	if list, err := w.keys.ListOwned(t.Context(), ada); err != nil || len(list) != 0 {
		t.Errorf("ListOwned after it was revoked = %+v, %v", list, err)
	}
}

// TestOwnerEnds: a key rests while its owner is disabled or about to be deleted,
// and is gone with the account.
func TestOwnerEnds(t *testing.T) {
	w := newWorld(t)
	ada := w.user("ada")
	k, text := w.createOwned(ada, "laptop", "a.r")
	_, other := w.createOwned(w.user("bob"), "laptop", "a.r")
	_, service := w.createKey(NewKey{Name: "partner"})
	signing, err := w.keys.AddSigning(t.Context(), k.ID, testPublic(), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	signs := func() problem.Reason {
		_, err := w.keys.SigningKey(t.Context(), signing.ID)
		return problem.ReasonOf(err)
	}
	for _, c := range []struct {
		what, update string
		want         problem.Reason
	}{
		{"positive control", "UPDATE users SET name = 'Ada' WHERE id = ?", problem.OK},
		{"disabled", "UPDATE users SET disabled_at = 1 WHERE id = ?", problem.AuthRevoked},
		{"enabled", "UPDATE users SET disabled_at = 0 WHERE id = ?", problem.OK},
		{"about to be deleted", "UPDATE users SET delete_at = 1 WHERE id = ?", problem.AuthRevoked},
		{"not to be deleted", "UPDATE users SET delete_at = 0 WHERE id = ?", problem.OK},
		{"gone without a word", "DELETE FROM users WHERE id = ?", problem.AuthRevoked},
	} {
		w.exec(c.update, ada)
		if got, sign := w.resolve(text), signs(); got != c.want || sign != c.want {
			t.Errorf("%s: %v, signing key %v, want %v", c.what, got, sign, c.want)
		}
	}
	w.user("ada")
	var told []store.Revocation
	defer w.db.Subscribe(func(r store.Revocation) { told = append(told, r) })()
	w.change(func(ctx context.Context, tx *store.Tx) error {
		n, err := w.keys.EndOwned(ctx, tx, ada)
		if n != 1 {
			t.Errorf("EndOwned: %d, want 1", n)
		}
		return err
	})
	if w.resolve(text) != problem.AuthRevoked || len(told) != 2 || told[0].Credential != Hash(text) {
		t.Errorf("EndOwned: %v, told %+v", w.resolve(text), told)
	}
	w.change(func(ctx context.Context, tx *store.Tx) error { return w.keys.DeleteOwned(ctx, tx, ada) })
	if got := w.resolve(text); got != problem.AuthInvalid {
		t.Errorf("DeleteOwned: %v, want auth.invalid", got)
	}
	if n := w.number("SELECT COUNT(*) FROM api_keys WHERE owner = ?", ada) + w.number("SELECT COUNT(*) FROM api_key_signing"); n != 0 {
		t.Errorf("DeleteOwned leaves %d rows", n)
	}
	if a, b := w.resolve(other), w.resolve(service); a != problem.OK || b != problem.OK {
		t.Errorf("keys of others: %v, %v, want ok", a, b)
	}
	for _, nobody := range []string{"", "ada"} { // "" would be all service accounts
		err := w.db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error { return w.keys.DeleteOwned(ctx, tx, nobody) })
		if (err != nil) != (nobody == "") || w.resolve(service) != problem.OK {
			t.Errorf("DeleteOwned of %q: %v, service account %v", nobody, err, w.resolve(service))
		}
	}
}

// TestOwnedAreBounded: twenty live keys and a few that ended, however often they
// are made.
func TestOwnedAreBounded(t *testing.T) {
	w := newWorld(t)
	ada := w.user("ada")
	for i := range 3 * MaxOwned {
		k, _ := w.createOwned(ada, fmt.Sprint("old ", i), "a.r")
		w.now.advance(time.Second)
		if err := w.keys.RevokeOwned(t.Context(), ada, k.ID); err != nil {
			t.Fatal(err)
		}
	}
	if n := w.number("SELECT COUNT(*) FROM api_keys"); n > endedOwned+1 {
		t.Errorf("%d rows are kept of keys that ended, want %d", n, endedOwned+1)
	}
	for i := range MaxOwned {
		w.createOwned(ada, fmt.Sprint(i), "a.r")
	}
	_, _, err := w.keys.CreateOwned(t.Context(), nil, ada, NewOwned{Name: "more", Scopes: []string{"a.r"}})
	wantReason(t, "one more", err, problem.AccountConflict)
	w.now.advance(91 * day) // all have expired: there is room again
	w.createOwned(ada, "more", "a.r")
}

// TestOwnedScopesFollowTheMap: what the map does not offer to users any more is
// no scope of their keys any more.
func TestOwnedScopesFollowTheMap(t *testing.T) {
	w := newWorld(t)
	_, text := w.createOwned(w.user("ada"), "laptop", "a.r", "b.w")
	_, service := w.createKey(NewKey{Name: "partner", Scopes: []string{"a.r", "b.w"}})
	w.offered = []string{"b.w"}
	for key, want := range map[string]string{text: "b.w", service: "a.r b.w"} {
		p, _, err := w.keys.Resolve(t.Context(), key)
		if got := strings.Join(p.Scopes, " "); err != nil || got != want {
			t.Errorf("scopes %q, %v, want %q", got, err, want)
		}
	}
	if list, err := w.keys.ListOwned(t.Context(), "ada"); err != nil || len(list[0].Scopes) != 2 {
		t.Errorf("what the key has is not forgotten: %+v, %v", list, err)
	}
}

func TestUserScopes(t *testing.T) {
	const user, key = zone.AllowUser, zone.AllowKey
	for name, c := range map[string]struct {
		routes []*zone.Route
		want   string
	}{
		"none":              {nil, ""},
		"user and key":      {[]*zone.Route{{Allow: user | key, Scopes: []string{"b", "a"}}}, "a b"},
		"key alone":         {[]*zone.Route{{Allow: key, Scopes: []string{"a"}}}, ""},
		"client and key":    {[]*zone.Route{{Allow: key | zone.AllowClient, Scopes: []string{"a"}}}, ""},
		"user alone":        {[]*zone.Route{{Allow: user, Scopes: []string{"a"}}}, ""},
		"anonymous and key": {[]*zone.Route{{Allow: key | zone.AllowAnonymous, Scopes: []string{"a"}}}, ""},
		"also key alone":    {[]*zone.Route{{Allow: user | key, Scopes: []string{"a", "b"}}, {Allow: key, Scopes: []string{"a"}}}, "b"},
		"no scope":          {[]*zone.Route{{Allow: user | key}}, ""},
	} {
		z := &zone.Zone{Services: []*zone.Service{{Routes: c.routes}}}
		if got := strings.Join(UserScopes(z), " "); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
