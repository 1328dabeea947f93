package session_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/session"
	"sallyport.dev/internal/store"
	"sallyport.dev/zone"
)

// TestLevelFades: a session that is remembered counts as of two factors until
// `absolute` after the proof, and no cache believes it for longer.
func TestLevelFades(t *testing.T) {
	f := newFixture(t)
	token, made := f.create(session.NewSession{User: "u", Level: 2, Method: "passkey", Remember: true})
	one, _ := f.create(session.NewSession{User: "u", Level: 1, Method: "password", Remember: true})
	short, _ := f.create(session.NewSession{User: "u", Level: 2, Method: "passkey"})
	fades := made.Created.Add(lives.Absolute)
	if made.Level != 2 || !made.ValidUntil.Equal(fades) || !made.Expires.Equal(made.Created.Add(lives.Remember)) {
		t.Errorf("made %+v, want level 2 until %v", made, fades)
	}
	if s := f.want(one, problem.OK, "one factor"); s.Reached != 1 || !s.ValidUntil.Equal(s.Expires) {
		t.Errorf("one factor is valid until %v, want %v: nothing fades", s.ValidUntil, s.Expires)
	}
	if s := f.want(short, problem.OK, "not remembered"); !s.ValidUntil.Equal(s.Created.Add(lives.Idle)) {
		t.Errorf("not remembered is valid until %v, want its idle end", s.ValidUntil)
	}
	f.pass(lives.Absolute - time.Microsecond)
	if s := f.want(token, problem.OK, "just before"); s.Level != 2 || !s.ValidUntil.Equal(fades) {
		t.Errorf("just before: level %d until %v, want 2 until %v", s.Level, s.ValidUntil, fades)
	}
	f.pass(time.Microsecond)
	if s := f.want(token, problem.OK, "at the moment"); s.Level != 1 || s.Reached != 2 || s.Method != "passkey" || !s.ValidUntil.Equal(s.Expires) {
		t.Errorf("then: %+v, want level 1 until its end, and that 2 was reached", s)
	}
	if list, err := f.List(t.Context(), "u"); err != nil || slices.ContainsFunc(list, func(s session.Session) bool { return s.Level > 1 }) {
		t.Errorf("list %+v, %v, want level 1", list, err)
	}

	raised, s, err := f.raise("u", made.ID, 2, "totp")
	if err != nil || s.Level != 2 || s.Method != "totp" || !s.Remember || !s.Expires.Equal(made.Expires) || !s.ValidUntil.Equal(f.clock().Add(lives.Absolute)) {
		t.Errorf("raised %+v, %v, want level 2 for another %v", s, err, lives.Absolute)
	}
	if got := f.want(raised, problem.OK, "raised"); got != s {
		t.Errorf("looked up %+v, want %+v", got, s)
	}
	f.pass(lives.Absolute)
	if s := f.want(raised, problem.OK, "faded again"); s.Level != 1 || s.Reached != 2 {
		t.Errorf("faded again: level %d, reached %d, want 1 and 2", s.Level, s.Reached)
	}
	f.SetLifetimes(zone.Sessions{Idle: lives.Idle, Absolute: 2 * lives.Absolute, Remember: lives.Remember})
	if s := f.want(raised, problem.OK, "another map"); s.Level != 2 {
		t.Errorf("level %d, want 2 under a map that lets it last", s.Level)
	}
}

func TestRaise(t *testing.T) {
	f := newFixture(t)
	token, s := f.login("u")
	f.pass(time.Minute)
	for _, c := range []struct{ name, user, id string }{{"another user's", "eve", s.ID}, {"unknown", "u", "nothing"}, {"empty", "u", ""}} {
		if next, _, err := f.raise(c.user, c.id, 2, "totp"); problem.ReasonOf(err) != problem.AuthInvalid || next != "" {
			t.Errorf("%s: %q, %v, want auth.invalid", c.name, next, err)
		}
	}
	for _, level := range []int{0, -1} {
		if _, _, err := f.raise("u", s.ID, level, "totp"); err == nil {
			t.Errorf("level %d was taken", level)
		}
	}
	if _, _, err := f.raise("u", s.ID, 2, ""); err == nil {
		t.Error("a proof without a method was taken")
	}
	f.want(token, problem.OK, "after refusals")

	next, raised, err := f.raise("u", s.ID, 2, "password+totp")
	if err != nil || raised.ID == s.ID || raised.Level != 2 || !raised.AuthTime.Equal(f.clock()) || !raised.Created.Equal(s.Created) || !raised.Expires.Equal(s.Expires) {
		t.Fatalf("raised %+v, %v", raised, err)
	}
	f.want(token, problem.AuthRevoked, "the old token")
	f.want(next, problem.OK, "the new one")
	if _, _, err := f.raise("u", s.ID, 2, "totp"); problem.ReasonOf(err) != problem.AuthRevoked {
		t.Errorf("raising the old id again: %v, want auth.revoked", err)
	}
	f.pass(13 * time.Hour)
	if _, _, err := f.raise("u", raised.ID, 2, "totp"); problem.ReasonOf(err) != problem.AuthExpired {
		t.Errorf("raising what expired: %v, want auth.expired", err)
	}
}

// TestHooks: who hangs on a session is told in the transaction that ends it, once.
func TestHooks(t *testing.T) {
	f := newFixture(t)
	var told []string
	var fail error
	hooks := session.Hooks{
		Ended: func(_ context.Context, _ *store.Tx, user, id string) error {
			told = append(told, "ended "+user+" "+id)
			return fail
		},
		Moved: func(_ context.Context, _ *store.Tx, user, from, to string) error {
			told = append(told, "moved "+user+" "+from+" "+to)
			return fail
		},
	}
	f.SetHooks(hooks)
	check := func(what string, want ...string) {
		t.Helper()
		slices.Sort(told)
		slices.Sort(want)
		if !slices.Equal(told, want) {
			t.Errorf("%s: told %q, want %q", what, told, want)
		}
		told = nil
	}
	token, a := f.login("u")
	_, b := f.login("u")
	_, c := f.login("u")
	check("logins")
	for range 2 {
		if err := f.Revoke(t.Context(), "u", b.ID); err != nil {
			t.Fatal(err)
		}
	}
	check("one", "ended u "+b.ID)
	_, raised, err := f.raise("u", a.ID, 2, "totp")
	if err != nil {
		t.Fatal(err)
	}
	check("raised", "moved u "+a.ID+" "+raised.ID)
	if _, err := f.RevokeAll(t.Context(), "u", ""); err != nil {
		t.Fatal(err)
	}
	check("all", "ended u "+raised.ID, "ended u "+c.ID)
	f.want(token, problem.AuthRevoked, "the first")

	token, a = f.login("u")
	fail = errors.New("cannot be ended")
	if f.Revoke(t.Context(), "u", a.ID) == nil {
		t.Error("ended without what hangs on it")
	}
	if _, _, err := f.raise("u", a.ID, 2, "totp"); err == nil {
		t.Error("moved without what hangs on it")
	}
	f.want(token, problem.OK, "undone")
	fail, told = nil, nil
	hooks.Moved = nil
	f.SetHooks(hooks)
	if _, _, err := f.raise("u", a.ID, 2, "totp"); err != nil {
		t.Fatal(err)
	}
	check("moved and nobody to be told so", "ended u "+a.ID)
	for range session.MaxPerUser {
		f.login("u")
	}
	if len(told) != 1 {
		t.Errorf("%d were told ended by one login too many, want 1", len(told))
	}
}
