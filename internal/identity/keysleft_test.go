package identity

import (
	"encoding/json"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sallyport.dev/internal/problem"
)

// giveKeys makes API keys for a user.
func (w *world) giveKeys(user string, n int) {
	w.t.Helper()
	for i := range n {
		if _, _, err := w.id.keys.CreateKey(w.t.Context(), nil, user, NewKey{Name: "k" + strconv.Itoa(i), Scopes: []string{"orders.read"}}); err != nil {
			w.t.Fatal(err)
		}
	}
}

// TestKeysOutlive: what an owner does leaves the API keys; they end
// when that is asked for. Whoever comes by a letter, or has an administrator set the
// password, may have lost the account: then keys and programs end.
func TestKeysOutlive(t *testing.T) {
	const next = "another long password"
	for _, c := range []struct {
		name   string
		do     func(w *world, own string, u User) *httptest.ResponseRecorder
		left   int // live keys
		grants bool
		letter string // in the text of the letter that tells of it; -: there is none
	}{
		{"a changed password", func(w *world, own string, _ User) *httptest.ResponseRecorder {
			return w.postAs(own, passwordPath, object("current", goodPassword, "password", next))
		}, 2, false, "has a new password"},
		{"a changed password, with the keys", func(w *world, own string, _ User) *httptest.ResponseRecorder {
			return w.postAs(own, passwordPath, object("current", goodPassword, "password", next, "keys", true))
		}, 0, false, "has a new password"},
		{"a wrong password, with the keys", func(w *world, own string, _ User) *httptest.ResponseRecorder {
			w.refused(w.postAs(own, passwordPath, object("current", "not the password", "password", next, "keys", true)), "auth.login", "wrong")
			return w.postAs(own, "/auth/logout", `{"everywhere":true}`)
		}, 2, false, "-"},
		{"logged out everywhere", func(w *world, own string, _ User) *httptest.ResponseRecorder {
			return w.postAs(own, "/auth/logout", `{"everywhere":true}`)
		}, 2, false, "-"},
		{"logged out everywhere, with the keys", func(w *world, own string, _ User) *httptest.ResponseRecorder {
			return w.postAs(own, "/auth/logout", `{"everywhere":true,"keys":true}`)
		}, 0, false, "-"},
		{"logged out here, with the keys", func(w *world, own string, _ User) *httptest.ResponseRecorder {
			w.refused(w.postAs(own, "/auth/logout", `{"keys":true}`), "account.invalid", "keys alone")
			return w.postAs(own, "/auth/logout", `{"everywhere":true}`)
		}, 2, false, "-"},
		{"a recovered password", func(w *world, _ string, u User) *httptest.ResponseRecorder {
			return w.post(passwordPath, object("token", w.recoverToken(u.Email), "password", next))
		}, 0, true, "API keys ended: 2\n  Apps that lost access: 1"},
		{"a link that is none", func(w *world, own string, _ User) *httptest.ResponseRecorder {
			w.refused(w.post(passwordPath, object("token", strings.Repeat("A", 43), "password", next)), "account.flow", "no link")
			return w.postAs(own, "/auth/logout", `{"everywhere":true}`)
		}, 2, false, "-"},
		{"a password that an administrator set", func(w *world, _ string, u User) *httptest.ResponseRecorder {
			if err := w.id.SetPassword(w.t.Context(), u.ID, next); err != nil {
				w.t.Fatal(err)
			}
			return &httptest.ResponseRecorder{Code: 204}
		}, 0, true, "-"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newMailWorld(t)
			w.useKeys()
			grants := &scriptedGrants{}
			w.id.grants = grants
			u, eve := w.addUser("ada@shop.example", goodPassword), w.addUser("eve@shop.example", goodPassword)
			w.giveKeys(u.ID, 2)
			w.giveKeys(eve.ID, 1)
			own := w.own(u.ID)
			rec := c.do(w, own, u)
			if rec.Code != 204 {
				t.Errorf("answer %d %s, want 204", rec.Code, rec.Body)
			}
			if n, err := w.id.liveKeys(t.Context(), u.ID); err != nil || n != c.left {
				t.Errorf("%d live keys (%v), want %d", n, err, c.left)
			}
			if n, _ := w.id.liveKeys(t.Context(), eve.ID); n != 1 {
				t.Errorf("another user has %d live keys, want 1", n)
			}
			if slices.Contains(grants.ended, u.ID) != c.grants {
				t.Errorf("grants ended %q, want %v", grants.ended, c.grants)
			}
			switch list := w.sent(); {
			case c.letter == "-" && len(list) != 0:
				t.Errorf("%d letters, want none", len(list))
			case c.letter == "-":
			case len(list) != 1 || !strings.Contains(list[0].Text, c.letter):
				t.Errorf("letters %+v, want %q", list, c.letter)
			case !c.grants && strings.Contains(list[0].Text, "API keys"):
				t.Errorf("the letter tells of keys that ended:\n%s", list[0].Text)
			}
		})
	}
}

// TestKeysOutliveOnPages: the pages say how many keys live on, and have a box for it.
func TestKeysOutliveOnPages(t *testing.T) {
	w := newMailWorld(t)
	w.useKeys()
	u := w.addUser("ada@shop.example", goodPassword)
	b := w.browser()
	b.loginAs(u.ID, 1)
	for _, path := range []string{passwordPath, "/auth/account"} {
		if rec := b.get(path); rec.Code != 200 || strings.Contains(rec.Body.String(), `name="keys"`) {
			t.Errorf("%s without keys: %d, want no box", path, rec.Code)
		}
	}
	w.giveKeys(u.ID, 2)
	for _, path := range []string{passwordPath, "/auth/account"} {
		if rec := b.get(path); rec.Code != 200 || !strings.Contains(rec.Body.String(), `name="keys"`) || !strings.Contains(rec.Body.String(), "else 2 go on working") {
			t.Errorf("%s: %d, want a box that says 2\n%s", path, rec.Code, rec.Body)
		}
	}
	if rec := b.post(passwordPath, "current", goodPassword, "password", "another long password"); rec.Code != 303 {
		t.Fatalf("change: %d", rec.Code)
	}
	if n, _ := w.id.liveKeys(t.Context(), u.ID); n != 2 {
		t.Errorf("without the box: %d keys live, want 2", n)
	}
	if rec := b.post("/auth/logout", "everywhere", "on", "keys", "on"); rec.Code != 303 {
		t.Fatalf("log out: %d", rec.Code)
	}
	if n, _ := w.id.liveKeys(t.Context(), u.ID); n != 0 {
		t.Errorf("with the box: %d keys live", n)
	}
}

// TestKeyLetters: each new secret of a key is told of, and nothing that was refused.
func TestKeyLetters(t *testing.T) {
	w := newMailWorld(t)
	w.useKeys()
	u := w.addUser("ada@shop.example", goodPassword)
	own := w.own(u.ID)
	w.expect("refused", w.postAs(own, keysPath, `{"name":"nightly","scopes":["admin"]}`), 400, problem.AccountInvalid)
	if l := w.sent(); len(l) != 0 {
		t.Fatalf("%d letters about a key that was refused", len(l))
	}
	rec := w.postAs(own, keysPath, `{"name":"nightly","scopes":["orders.read"],"expires":"30"}`)
	w.expect("create", rec, 201, problem.OK)
	var made keyMadeJSON
	if err := json.Unmarshal(rec.Body.Bytes(), &made); err != nil {
		t.Fatal(err)
	}
	told := func(what, in string) {
		t.Helper()
		l := w.oneLetter(u.Email, "nightly")
		for _, want := range []string{in, "192.0.2.7", "31 March 2026", "https://shop.example/auth/account"} {
			if !strings.Contains(l.Text, want) {
				t.Errorf("%s: the letter does not say %q\n%s", what, want, l.Text)
			}
		}
		if strings.Contains(l.Text+l.HTML, made.Key) || strings.Contains(l.Text, "spk_") {
			t.Errorf("%s: the letter holds a key", what)
		}
	}
	told("create", "has a new API key: nightly")
	rec = w.postAs(own, keysPath+"/"+made.ID+"/signing", `{"algorithm":"hmac-sha256"}`)
	w.expect("signing key", rec, 201, problem.OK)
	told("signing key", "to sign requests with: hmac-sha256")
	w.expect("no signing key", w.postAs(own, keysPath+"/"+made.ID+"/signing", `{"algorithm":"none"}`), 400, problem.AccountInvalid)
	w.expect("revoke", w.postAs(own, keysPath+"/"+made.ID+"/revoke", "{}"), 204, problem.OK)
	w.expect("rotate what has ended", w.postAs(own, keysPath+"/"+made.ID+"/rotate", "{}"), 404, problem.AccountUnknown)
	if l := w.sent(); len(l) != 0 {
		t.Errorf("%d letters about what was refused or ended", len(l))
	}
	w.letters.fail = problem.New(problem.AuthUnavailable, nil)
	w.expect("no letter can be asked for", w.postAs(own, keysPath, `{"name":"other","scopes":["orders.read"]}`), 503, problem.AuthUnavailable)
	if n, _ := w.id.liveKeys(t.Context(), u.ID); n != 0 {
		t.Errorf("%d keys of which nobody was told", n)
	}
}
