package identity

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
)

// later is a body that is sent slowly: something happens before its first byte.
type later struct {
	before func()
	io.Reader
}

func (l *later) Read(p []byte) (int, error) {
	if before := l.before; before != nil {
		l.before = nil
		before()
	}
	return l.Reader.Read(p)
}

// slowly sends a request whose body waits until something has happened: by then the
// gateway has found who it is of.
func (w *world) slowly(token, path string, before func(), body func() string) *httptest.ResponseRecorder {
	w.t.Helper()
	text := &strings.Reader{}
	r := httptest.NewRequestWithContext(w.t.Context(), http.MethodPost, "https://shop.example"+path, &later{func() { before(); text.Reset(body()) }, text})
	r.Header.Set("Content-Type", jsonType)
	r.Header.Set("Authorization", "Bearer "+token)
	rec := httptest.NewRecorder()
	w.door().ServeHTTP(rec, r)
	return rec
}

// TestHeldOpen: a request that began under a session does nothing once that has ended,
// however long it was held open: what takes an account back takes all of it back.
func TestHeldOpen(t *testing.T) {
	ends := map[string]func(w *world, u User, token string){
		"positive control": func(*world, User, string) {},
		"recovered": func(w *world, u User, _ string) {
			link := w.tokenIn(w.oneLetter(u.Email, "new password"), passwordPath)
			w.expect("reset", w.post(passwordPath, object("token", link, "password", "another long password")), 204, problem.OK)
		},
		"ended everywhere": func(w *world, u User, _ string) {
			if err := w.id.EndAll(t.Context(), u.ID); err != nil {
				t.Fatal(err)
			}
		},
		"logged out": func(w *world, _ User, token string) {
			w.expect("logout", w.postAs(token, "/auth/logout", "{}"), 204, problem.OK)
		},
	}
	for what, end := range ends {
		good := what == "positive control"
		w := newMailWorld(t)
		w.useKeys()
		u := w.addUser("ada@shop.example", goodPassword)
		if what == "recovered" {
			w.expect("recover", w.post(recoverPath, object("email", u.Email)), 202, problem.OK)
		}
		stolen := w.own(u.ID)
		rec := w.slowly(stolen, keysPath, func() { end(w, u, stolen) }, func() string { return `{"name":"left behind","scopes":["orders.read"]}` })
		if made := rec.Code == http.StatusCreated; made != good {
			t.Errorf("%s: a key: %d %s", what, rec.Code, rec.Body)
		}
		if n := w.number("SELECT COUNT(*) FROM api_keys WHERE ended_at = 0"); (n == 1) != good {
			t.Errorf("%s: %d keys live", what, n)
		}
	}
	// The address: of two requests that are held open one asks for the letter, and the
	// other follows its link.
	for what, end := range ends {
		good := what == "positive control"
		w := newMailWorld(t)
		u := w.addUser("ada@shop.example", goodPassword)
		if what == "recovered" {
			w.expect("recover", w.post(recoverPath, object("email", u.Email)), 202, problem.OK)
		}
		stolen := w.own(u.ID)
		link := ""
		rec := w.slowly(stolen, verifyPath, func() {
			w.slowly(stolen, "/auth/email", func() { end(w, u, stolen) }, func() string { return object("email", "eve@evil.example") })
			for _, l := range w.sent() {
				if l.To == "eve@evil.example" {
					link = w.tokenIn(l, verifyPath)
				}
			}
		}, func() string { return object("token", link) })
		if now, err := w.id.User(t.Context(), u.ID); err != nil || (now.Email == "eve@evil.example") != good {
			t.Errorf("%s: %d %s, the account has %s", what, rec.Code, rec.Body, now.Email)
		}
	}
}

// TestHeldOpenEverywhere: the same of whatever changes an account or shows it.
func TestHeldOpenEverywhere(t *testing.T) {
	for path, body := range map[string]string{
		"/auth/factors/totp/begin": "{}", "/auth/factors/passkey/begin": "{}", "/auth/profile": `{"name":"Eve"}`, "/auth/delete": "{}",
		"/auth/email": `{"email":"eve@evil.example"}`, passwordPath: object("current", goodPassword, "password", "another long password"),
		"/auth/step-up": object("password", goodPassword), keysPath: `{"name":"k","scopes":["orders.read"]}`,
	} {
		for _, good := range []bool{true, false} {
			w := newMailWorld(t)
			w.useKeys()
			u := w.addUser("ada@shop.example", goodPassword)
			token := w.own(u.ID)
			before := func() {}
			if !good {
				before = func() { w.expect("logout", w.postAs(token, "/auth/logout", "{}"), 204, problem.OK) }
			}
			rec := w.slowly(token, path, before, func() string { return body })
			if ok := rec.Code < 300; ok != good || !good && reason(rec) != "auth.revoked" {
				t.Errorf("%s, its session lives %v: %d %s", path, good, rec.Code, rec.Body)
			}
		}
	}
}

// TestChangeAs: a session that ends between the question and the change has no part in it.
func TestChangeAs(t *testing.T) {
	for _, good := range []bool{true, false} {
		w := newMailWorld(t)
		u := w.addUser("ada@shop.example", goodPassword)
		token := w.own(u.ID)
		s, ok := w.sessions.lookup(token)
		if !ok {
			t.Fatal("no session")
		}
		if !good {
			w.expect("logout", w.postAs(token, "/auth/logout", "{}"), 204, problem.OK)
		}
		done := false
		err := w.id.changeAs(httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil), &policy.Principal{Subject: u.ID, Session: s.ID},
			func(context.Context, tx) error { done = true; return nil })
		if done != good || (err == nil) != good || !good && problem.ReasonOf(err) != problem.AuthRevoked {
			t.Errorf("its session lives %v: changed %v, %v", good, done, err)
		}
	}
}
