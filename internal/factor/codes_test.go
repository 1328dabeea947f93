package factor_test

import (
	"context"
	"regexp"
	"strings"
	"testing"

	"sallyport.dev/internal/factor"
	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/store"
)

func (w *world) newCodes(user string) (codes []obs.Secret) {
	w.t.Helper()
	w.must(w.change(func(ctx context.Context, tx *store.Tx) (err error) {
		codes, err = w.NewCodes(ctx, tx, user)
		return err
	}))
	return codes
}

func (w *world) useCode(user, code string) (o factor.Outcome, left int) {
	w.t.Helper()
	w.must(w.change(func(ctx context.Context, tx *store.Tx) (err error) {
		o, left, err = w.UseCode(ctx, tx, user, code)
		return err
	}))
	return o, left
}

func TestRecoveryCodes(t *testing.T) {
	w := newWorld(t)
	codes, others := w.newCodes(alice), w.newCodes(bob)
	if len(codes) != 10 {
		t.Fatalf("%d codes, want 10", len(codes))
	}
	form := regexp.MustCompile(`^[0-9a-hjkmnp-tv-z]{4}(-[0-9a-hjkmnp-tv-z]{4}){2}$`)
	for _, c := range codes {
		if !form.MatchString(string(c)) {
			t.Errorf("code %q", string(c))
		}
	}
	w.must(w.db.View(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		left, created, err := w.CodesLeftTx(ctx, tx, alice)
		if err != nil || left != 10 || !created.Equal(w.clock()) {
			t.Errorf("CodesLeftTx = %d, %v, %v", left, created, err)
		}
		return nil
	}))
	for _, c := range []struct {
		what, user, code string
		want             factor.Outcome
		left             int
	}{
		{"a code", alice, string(codes[0]), factor.Right, 9},
		{"again", alice, string(codes[0]), factor.Used, 9},
		{"in capitals, with spaces", alice, strings.ToUpper(strings.ReplaceAll(string(codes[1]), "-", " ")), factor.Right, 8},
		{"again, as it was shown", alice, string(codes[1]), factor.Used, 8},
		{"another user's", alice, string(others[0]), factor.Wrong, 8},
		{"that, by its user", bob, string(others[0]), factor.Right, 9},
		{"none", alice, "aaaa-bbbb-cccc", factor.Wrong, 8},
		{"half of one", alice, string(codes[2][:9]), factor.Wrong, 8},
		{"nothing", alice, "", factor.Wrong, 8},
		{"much", alice, strings.Repeat("a", 1<<20), factor.Wrong, 8},
		{"a user without codes", "nobody", string(codes[2]), factor.Wrong, 0},
	} {
		if o, left := w.useCode(c.user, c.code); o != c.want || left != c.left {
			t.Errorf("%s: %v, %d left, want %v, %d", c.what, o, left, c.want, c.left)
		}
	}
	again := w.newCodes(alice)
	for _, c := range []string{string(codes[0]), string(codes[2])} {
		if o, left := w.useCode(alice, c); o != factor.Wrong || left != 10 {
			t.Errorf("a code of before: %v, %d left, want wrong, 10", o, left)
		}
	}
	if o, _ := w.useCode(alice, string(again[0])); o != factor.Right {
		t.Errorf("a new code: %v", o)
	}
	if o, _ := w.useCode(bob, string(others[1])); o != factor.Right {
		t.Errorf("a code of another user after alice made new ones: %v", o)
	}
}

// Of many uses of one code at once, one is accepted.
func TestCodeIsUsedOnce(t *testing.T) {
	w := newWorld(t)
	code := string(w.newCodes(alice)[3])
	tally := race(8, func() factor.Outcome { o, _ := w.useCode(alice, code); return o })
	if tally[factor.Right] != 1 || tally[factor.Used] != 7 {
		t.Errorf("8 uses of one code: %v, want 1 right, 7 used before", tally)
	}
}

// A second process of the zone knows the same codes; another zone does not.
func TestCodesNeedTheRoot(t *testing.T) {
	w, other := newWorld(t), newWorld(t)
	code := string(w.newCodes(alice)[0])
	other.newCodes(alice)
	if o, _ := other.useCode(alice, code); o != factor.Wrong {
		t.Errorf("a code of another zone: %v", o)
	}
	second, err := factor.New(t.Context(), w.config)
	w.must(err)
	w.Factors = second
	if o, _ := w.useCode(alice, code); o != factor.Right {
		t.Errorf("a code in another process: %v", o)
	}
}

// A row moved to another user is no code of theirs.
func TestMovedCodeIsWrong(t *testing.T) {
	w := newWorld(t)
	code := string(w.newCodes(alice)[0])
	w.exec("UPDATE recovery_codes SET user_id = ?", bob)
	if o, _ := w.useCode(bob, code); o != factor.Wrong {
		t.Errorf("a code moved to another user: %v, want wrong", o)
	}
	w.exec("UPDATE recovery_codes SET user_id = ?", alice)
	if o, _ := w.useCode(alice, code); o != factor.Right {
		t.Errorf("positive control: moved back: %v, want right", o)
	}
}
