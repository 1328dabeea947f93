package identity

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/internal/password"
	"sallyport.dev/internal/store"
)

func (w *world) setStoredPassword(user, phc string) {
	w.t.Helper()
	err := w.db.Tx(w.t.Context(), func(ctx context.Context, t *store.Tx) error {
		_, err := t.Exec(ctx, "UPDATE users SET password = ? WHERE id = ?", phc, user)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) storedPassword(user string) string {
	w.t.Helper()
	a, _, err := w.id.accountByID(w.t.Context(), user)
	if err != nil {
		w.t.Fatal(err)
	}
	return a.password
}

// login logs in with JSON and returns the token.
func (w *world) login(email, password string) string {
	w.t.Helper()
	rec := w.post("/auth/login", credentialsJSON(email, password))
	var got loginJSON
	if err := json.Unmarshal(rec.Body.Bytes(), &got); rec.Code != 200 || err != nil {
		w.t.Fatalf("login of %s: %d %s", email, rec.Code, rec.Body)
	}
	return got.Token
}

func TestLoginRenewsOutdatedHash(t *testing.T) {
	w := newWorld(t, openZone())
	u := w.addUser("ada@shop.example", goodPassword)
	dearer, err := password.New(password.Config{Cost: password.Cost{Memory: 20 << 10, Passes: 2, Threads: 1}})
	if err != nil {
		t.Fatal(err)
	}
	old, _, err := dearer.Hash(t.Context(), goodPassword)
	if err != nil {
		t.Fatal(err)
	}
	w.setStoredPassword(u.ID, old)

	if rec := w.post("/auth/login", credentialsJSON(u.Email, "not the password")); rec.Code != 401 || w.storedPassword(u.ID) != old {
		t.Fatalf("a wrong password: %d, stored %q, want 401 and nothing changed", rec.Code, w.storedPassword(u.ID))
	}
	w.login(u.Email, goodPassword)
	renewed := w.storedPassword(u.ID)
	if !strings.Contains(renewed, "$m=19456,t=2,p=1$") {
		t.Fatalf("stored after the login: %q, want the current cost", renewed)
	}
	if p, err := w.id.Principal(t.Context(), u.ID, 2); err != nil || p.Version != 1 {
		t.Errorf("renewal is no change of rights: %+v, %v", p, err)
	}
	w.count.reset()
	w.login(u.Email, goodPassword)
	if w.count.hashes() != 1 || w.storedPassword(u.ID) != renewed {
		t.Errorf("the next login: %d hashes, want one and nothing renewed", w.count.hashes())
	}
}

func TestForeignGarbageInTheStore(t *testing.T) {
	w := newWorld(t, openZone())
	u := w.addUser("ada@shop.example", goodPassword)
	good := w.storedPassword(u.ID)
	for _, garbage := range []string{"", "x", goodPassword, "$argon2id$", "$2y$10$abcdefghijklmnopqrstuv", strings.Repeat("$", 1000),
		"$argon2id$v=19$m=1048576,t=16,p=16$" + strings.Split(good, "$")[4] + "$" + strings.Split(good, "$")[5]} { // more than the budget
		w.setStoredPassword(u.ID, garbage)
		w.now.advance(25 * time.Hour)
		w.count.reset()
		rec := w.post("/auth/login", credentialsJSON(u.Email, goodPassword))
		if rec.Code != 401 || reason(rec) != "auth.login" || w.count.hashes() != 1 {
			t.Errorf("stored %q: %d %s with %d hashes, want 401 auth.login with one", garbage, rec.Code, reason(rec), w.count.hashes())
		}
	}
	w.setStoredPassword(u.ID, good)
	w.now.advance(time.Hour)
	w.login(u.Email, goodPassword) // positive control
}

func TestRefusedBeforeAnything(t *testing.T) {
	w := newWorld(t, openZone())
	w.addUser("ada@shop.example", goodPassword)
	for name, c := range map[string]struct{ email, password string }{
		"no password":        {"ada@shop.example", ""},
		"129 characters":     {"ada@shop.example", strings.Repeat("x", 129)},
		"1025 bytes":         {"ada@shop.example", strings.Repeat("語", 342)},
		"no address":         {"", goodPassword},
		"an endless address": {strings.Repeat("a", 255), goodPassword},
	} {
		w.count.reset()
		rec := w.post("/auth/login", credentialsJSON(c.email, c.password))
		if rec.Code != 400 || reason(rec) != "account.invalid" || !w.count.free() {
			t.Errorf("%s: %d %s, %v, want 400 account.invalid and no cost", name, rec.Code, reason(rec), w.count)
		}
	}
	w.login("ada@shop.example", goodPassword)
}

// TestLoginAgainstChange changes the account between the check of the password
// and the making of the session: there is none.
func TestLoginAgainstChange(t *testing.T) {
	for name, change := range map[string]func(*world, string) error{
		"password": func(w *world, u string) error { return w.id.SetPassword(w.t.Context(), u, "another good one") },
		"disabled": func(w *world, u string) error { return w.id.SetDisabled(w.t.Context(), u, true) },
		"deleted":  func(w *world, u string) error { return w.id.DeleteUser(w.t.Context(), u) },
	} {
		w := newWorld(t, openZone())
		u := w.addUser("ada@shop.example", goodPassword)
		w.count.before = func() {
			if err := change(w, u.ID); err != nil {
				t.Error(err)
			}
		}
		rec := w.post("/auth/login", credentialsJSON(u.Email, goodPassword))
		if rec.Code != 401 || reason(rec) != "auth.login" || w.sessions.of(u.ID) != 0 {
			t.Errorf("%s: %d %s with %d sessions, want 401 auth.login with none", name, rec.Code, reason(rec), w.sessions.of(u.ID))
		}
	}
}

// TestLoginEndsThePriorSession: a login never leaves the session it came with.
func TestLoginEndsThePriorSession(t *testing.T) {
	w := newWorld(t, openZone())
	u := w.addUser("ada@shop.example", goodPassword)
	first, elsewhere := w.login(u.Email, goodPassword), w.login(u.Email, goodPassword)
	rec := w.do(ask{method: "POST", path: "/auth/login", body: credentialsJSON(u.Email, goodPassword), token: first,
		header: map[string]string{"Content-Type": jsonType}})
	if rec.Code != 200 {
		t.Fatalf("login with a session: %d %s", rec.Code, rec.Body)
	}
	if _, ok := w.sessions.lookup(first); ok {
		t.Error("the session that the login came with is alive")
	}
	if _, ok := w.sessions.lookup(elsewhere); !ok || w.sessions.of(u.ID) != 2 {
		t.Error("a session of another device ended too")
	}
}

// TestLoginOfNobodyThere: a client that went away costs no hash. What a full budget
// answers is a matter of package password.
func TestLoginOfNobodyThere(t *testing.T) {
	w := newWorld(t, openZone())
	u := w.addUser("ada@shop.example", goodPassword)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := httptest.NewRequestWithContext(ctx, "POST", "https://shop.example/auth/login", strings.NewReader(credentialsJSON(u.Email, goodPassword)))
	r.Header.Set("Content-Type", jsonType)
	rec := httptest.NewRecorder()
	w.count.reset()
	w.door().ServeHTTP(rec, r)
	if rec.Code == 200 || w.count.hashes() != 0 || w.sessions.of(u.ID) != 0 {
		t.Errorf("a client that has gone: %d with %d hashes, want none for it", rec.Code, w.count.hashes())
	}
	w.login(u.Email, goodPassword)
}

// TestOneAddressDoesNotFillTheQueue lets one address wait as often as it may.
func TestOneAddressDoesNotFillTheQueue(t *testing.T) {
	w := newWorld(t, openZone())
	w.addUser("ada@shop.example", goodPassword)
	var leaves []func()
	for range hashAddress {
		leave, err := w.id.addresses.enter(netip.MustParseAddr("192.0.2.7"))
		if err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, leave)
	}
	for _, path := range []string{"/auth/login", "/auth/register"} {
		rec := w.post(path, credentialsJSON("eve@shop.example", goodPassword))
		if rec.Code != 429 || reason(rec) != "limit.address" || rec.Header().Get("Retry-After") != "1" {
			t.Errorf("%s: %d %s, want 429 limit.address", path, rec.Code, reason(rec))
		}
	}
	w.client = "192.0.2.8"
	w.login("ada@shop.example", goodPassword)
	w.client = "192.0.2.7"
	for _, leave := range leaves {
		leave()
	}
	w.login("ada@shop.example", goodPassword)
}

func TestLoginsAtOnce(t *testing.T) {
	w := newWorld(t, openZone())
	u := w.addUser("ada@shop.example", goodPassword)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() { w.post("/auth/login", credentialsJSON(u.Email, goodPassword)) })
	}
	all.Wait()
	if got := w.sessions.of(u.ID); got != 4 {
		t.Errorf("%d sessions after four logins at once, want 4", got)
	}
}
