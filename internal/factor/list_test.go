package factor_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/factor"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

func (w *world) remove(user, id string) (fac factor.Factor, err error) {
	err = w.change(func(ctx context.Context, tx *store.Tx) error {
		fac, err = w.Remove(ctx, tx, user, id)
		return err
	})
	return fac, err
}

func (w *world) rename(user, id, name string) error {
	return w.change(func(ctx context.Context, tx *store.Tx) error { return w.Rename(ctx, tx, user, id, name) })
}

func (w *world) wantHeld(user string, want factor.Held, what string) {
	w.t.Helper()
	if got, err := w.Has(w.t.Context(), user); err != nil || got != want {
		w.t.Errorf("%s: holds %+v, %v, want %+v", what, got, err, want)
	}
}

func TestListAndHas(t *testing.T) {
	w := newWorld(t)
	w.wantHeld(alice, factor.Held{}, "at first")
	if list, err := w.List(t.Context(), alice); err != nil || list == nil || len(list) != 0 {
		t.Errorf("List of none = %v, %v, want an empty list", list, err)
	}
	first := w.enroll(alice, newDevice())
	w.pass(time.Minute)
	_, second := w.enrollTOTP(alice)
	w.newCodes(alice)
	w.enroll(bob, newDevice())
	w.wantHeld(alice, factor.Held{Passkeys: 1, TOTP: 1, Codes: 10}, "then")
	w.wantHeld(bob, factor.Held{Passkeys: 1}, "the other")
	list, err := w.List(t.Context(), alice)
	if err != nil || len(list) != 2 || list[0] != first || list[1] != second {
		t.Errorf("List = %+v, %v, want %+v and %+v", list, err, first, second)
	}
	for _, c := range []struct {
		held factor.Held
		want bool
	}{{factor.Held{Codes: 3}, false}, {factor.Held{TOTP: 1}, true}, {factor.Held{Passkeys: 1}, true}} {
		if c.held.Any() != c.want {
			t.Errorf("%+v.Any() = %v", c.held, !c.want)
		}
	}
}

func TestRename(t *testing.T) {
	w := newWorld(t)
	fac := w.enroll(alice, newDevice())
	for _, c := range []struct {
		what, user, id, name string
		want                 problem.Reason
		after                string
	}{
		{"a name", alice, fac.ID, "  Schlüssel 🔑 ", problem.OK, "Schlüssel 🔑"},
		{"64 characters", alice, fac.ID, strings.Repeat("ß", 64), problem.OK, strings.Repeat("ß", 64)},
		{"65", alice, fac.ID, strings.Repeat("ß", 65), problem.AccountInvalid, strings.Repeat("ß", 64)},
		{"none", alice, fac.ID, "\t ", problem.AccountInvalid, strings.Repeat("ß", 64)},
		{"a line break", alice, fac.ID, "a\nb", problem.AccountInvalid, strings.Repeat("ß", 64)},
		{"no UTF-8", alice, fac.ID, "a\xff", problem.AccountInvalid, strings.Repeat("ß", 64)},
		{"another user", bob, fac.ID, "mine", problem.AccountUnknown, strings.Repeat("ß", 64)},
		{"no such factor", alice, "x", "mine", problem.AccountUnknown, strings.Repeat("ß", 64)},
	} {
		w.want(w.rename(c.user, c.id, c.name), c.want, c.what)
		if list, err := w.List(t.Context(), alice); err != nil || len(list) != 1 || list[0].Name != c.after {
			t.Errorf("%s: List = %+v, %v, want the name %q", c.what, list, err, c.after)
		}
	}
}

func TestRemove(t *testing.T) {
	w := newWorld(t)
	key := w.enroll(alice, newDevice())
	a, phone := w.enrollTOTP(alice)
	code := string(w.newCodes(alice)[0])
	_, err := w.remove(bob, key.ID)
	w.want(err, problem.AccountUnknown, "another user's factor")
	_, err = w.remove(alice, "x")
	w.want(err, problem.AccountUnknown, "no such factor")
	w.wantHeld(alice, factor.Held{Passkeys: 1, TOTP: 1, Codes: 10}, "after refusals")

	if fac, err := w.remove(alice, phone.ID); err != nil || fac != phone {
		t.Errorf("Remove = %+v, %v, want %+v", fac, err, phone)
	}
	w.wantTOTP(alice, a.at(0), factor.Wrong, "a removed app")
	w.wantHeld(alice, factor.Held{Passkeys: 1, Codes: 10}, "one is left")
	_, err = w.remove(alice, key.ID)
	w.want(err, problem.OK, "the last")
	w.wantHeld(alice, factor.Held{}, "after the last")
	w.enroll(alice, newDevice())
	if o, _ := w.useCode(alice, code); o != factor.Wrong {
		t.Errorf("a code of before the last factor was removed: %v, want wrong", o)
	}
}

func TestRemoveAll(t *testing.T) {
	w := newWorld(t)
	d := newDevice()
	for _, user := range []string{alice, bob} {
		w.enrollTOTP(user)
		w.newCodes(user)
	}
	w.enroll(alice, d)
	_, session := w.begin(alice)
	var n int
	w.must(w.change(func(ctx context.Context, tx *store.Tx) (err error) {
		n, err = w.RemoveAll(ctx, tx, alice)
		return err
	}))
	if n != 2 {
		t.Errorf("RemoveAll ended %d factors, want 2", n)
	}
	for _, table := range []string{"factors", "recovery_codes", "factor_handles"} {
		if n := w.count("SELECT COUNT(*) FROM "+table+" WHERE user_id = ?", alice); n != 0 {
			t.Errorf("%d rows left in %s", n, table)
		}
	}
	w.wantHeld(bob, factor.Held{TOTP: 1, Codes: 10}, "the other user")
	_, err := w.login(d)
	w.want(err, problem.AuthInvalid, "a passkey of a deleted account")
	_, err = w.register(alice, session, "{}", "x")
	w.want(err, problem.AccountInvalid, "a registration under way")
}

// Without the store nothing is said to be held or not.
func TestStoreGone(t *testing.T) {
	w := newWorld(t)
	w.must(w.db.Close())
	_, err := w.Has(t.Context(), alice)
	w.want(err, problem.AuthUnavailable, "Has")
	_, err = w.List(t.Context(), alice)
	w.want(err, problem.AuthUnavailable, "List")
	if _, err := w.At(t.Context(), rpID, []string{origin}); err == nil {
		t.Error("At without a store: no error")
	}
}
