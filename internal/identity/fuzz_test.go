package identity

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/flow"
	"sallyport.dev/internal/store"
)

// fuzzFields are what the bodies of the operations hold, as they should be.
func fuzzFields() map[string]any {
	return map[string]any{
		"email": "new@shop.example", "password": goodPassword, "current": goodPassword, "remember": true, "everywhere": true, "next": "/orders",
		"flow": strings.Repeat("A", 43), "code": "123456", "name": "phone", "token": strings.Repeat("B", 43), "response": map[string]any{"id": "x"},
		"locale": "de", "scopes": []string{"orders:read"}, "expires": "30", "public_key": "x", "algorithm": "ed25519",
	}
}

// fuzzBodies are bodies that are right, and wrong in the ways that people try.
func fuzzBodies() []string {
	good := fuzzFields()
	all, _ := json.Marshal(good)
	bodies := []string{"", "{}", "[]", "null", `"x"`, "{", string(all), `{"email":"a","email":"b","password":"c"}`, `{"email":{},"password":[]}`,
		`{"flow":1,"code":2}`, `{"flow":"` + strings.Repeat("x", 5000) + `"}`, "email=a&email=b", "email=%zz", "\x00\xff", "a=1;b=2",
		strings.Repeat(`{"response":`, 200), `{"response":{"a":1,"A":2},"flow":"x"}`, "response=%7B%22id%22%3A%22x%22%7D&flow=x"}
	for _, fields := range [][]string{
		{"email", "password"}, {"email", "password", "remember"}, {"flow", "code"}, {"flow", "code", "name"}, {"flow"}, {"flow", "password"}, {"name"},
		{"token", "email", "password"}, {"everywhere"}, {"flow", "response"}, {"password"}, {"current", "password"}, {"token", "password"}, {"token"},
		{"email"}, {"name", "locale"}, {"name", "scopes", "expires"}, {"algorithm", "public_key"},
	} {
		object, form := map[string]any{}, url.Values{}
		for _, f := range fields {
			object[f] = good[f]
			if text, ok := good[f].(string); ok {
				form.Set(f, text)
			} else {
				raw, _ := json.Marshal(good[f])
				form.Set(f, string(raw))
			}
		}
		text, _ := json.Marshal(object)
		bodies = append(bodies, string(text), form.Encode())
	}
	return bodies
}

// FuzzOperations sends any body to any operation, with and without a session: it is
// never our fault, and what is refused has changed no account, session or factor.
func FuzzOperations(f *testing.F) {
	w := newWorld(f, openZone())
	w.letters = nil
	u := w.addUser("ada@shop.example", goodPassword)
	var routes []Route
	for _, r := range w.id.Routes() {
		if r.Method != "GET" {
			routes = append(routes, r)
		}
	}
	for i := range routes {
		for j, body := range fuzzBodies() {
			if (i+j)%5 != 0 { // each operation meets some, each body some operations
				continue
			}
			f.Add(uint8(i), uint8(j), body) // #nosec G115 -- a few
		}
	}
	f.Fuzz(func(t *testing.T, which, how uint8, body string) {
		route := routes[int(which)%len(routes)]
		w.t = t
		w.now.advance(26 * time.Hour) // no bound of yesterday counts
		a := ask{method: route.Method, path: strings.NewReplacer("{id}", "x", "{name}", "x", "{client}", "x").Replace(route.Path), body: body, header: map[string]string{}}
		a.header["Content-Type"] = []string{jsonType, formType, jsonType + "; charset=utf-8", "", "text/plain"}[how/4%5]
		if strings.HasPrefix(body, "{") && how < 128 {
			a.header["Content-Type"] = jsonType
		}
		if how&1 == 1 {
			a.header["Accept"] = browser
		}
		if how&2 == 2 {
			a.token, _ = w.sessions.create(t, u.ID, 2)
		}
		a.body = strings.ReplaceAll(body, strings.Repeat("A", 43), w.waiting(u, []string{stepMFA, stepEnroll, stepPassword}[how%3]))
		before := w.kept()
		rec := w.do(a)
		if rec.Code >= 500 {
			t.Errorf("%s %s with %q: %d %s", a.method, a.path, body, rec.Code, rec.Body)
		}
		if after := w.kept(); rec.Code >= 400 && after != before {
			t.Errorf("%s %s with %q: %d %s, but what is kept was %s and is %s", a.method, a.path, body, rec.Code, reason(rec), before, after)
		}
		if rec.Code < 400 { // as it was, for the next
			w.exec("DELETE FROM users WHERE id <> ?", u.ID)
			w.exec("DELETE FROM sessions")
			w.exec("DELETE FROM flows")
			if now, err := w.id.User(t.Context(), u.ID); err == nil {
				u = now
			}
		}
	})
}

// waiting is a live flow of a login that waits at a step.
func (w *world) waiting(u User, step string) (id string) {
	w.t.Helper()
	err := w.db.Tx(w.t.Context(), func(ctx context.Context, t *store.Tx) (err error) {
		if err := w.id.flows.End(ctx, t, u.ID); err != nil {
			return err
		}
		id, err = w.id.flows.Begin(ctx, t, flow.Record{Kind: flowLogin, User: u.ID, Tries: stepTries, Expires: w.now.time().Add(stepLife)},
			&underway{Step: step, Methods: []string{"password"}, Level: 1, Version: u.Version, App: &newApp{Sealed: []byte("x")}, Ceremony: []byte("{}")})
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

// kept says what the store holds of accounts.
func (w *world) kept() (all string) {
	w.t.Helper()
	err := w.db.View(w.t.Context(), func(ctx context.Context, t *store.Tx) error {
		for _, query := range []string{
			"SELECT COUNT(*) FROM users", "SELECT COALESCE(SUM(version), 0) FROM users", "SELECT COALESCE(SUM(delete_at), 0) FROM users",
			"SELECT COUNT(*) FROM sessions WHERE revoked_at = 0", "SELECT COUNT(*) FROM factors", "SELECT COUNT(*) FROM recovery_codes WHERE used_at = 0",
			"SELECT COUNT(*) FROM flows", "SELECT COUNT(*) FROM connections",
		} {
			var n int64
			if err := t.QueryRow(ctx, query).Scan(&n); err != nil {
				return err
			}
			all += fmt.Sprint(n, " ")
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}
