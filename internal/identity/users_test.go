package identity

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

const goodPassword = "correct horse battery"

func TestNewRefuses(t *testing.T) {
	w := newWorld(t, openZone())
	good := w.id.config
	if _, err := New(good); err != nil {
		t.Fatalf("positive control: %v", err)
	}
	for name, spoil := range map[string]func(*Config){
		"no store":     func(c *Config) { c.DB = nil },
		"no root":      func(c *Config) { c.Root = nil },
		"no zone":      func(c *Config) { c.Zone = nil },
		"no sessions":  func(c *Config) { c.Sessions = nil },
		"no passwords": func(c *Config) { c.Passwords = nil },
		"no factors":   func(c *Config) { c.Factors = nil },
		"no flows":     func(c *Config) { c.Flows = nil },
		"no guesses":   func(c *Config) { c.Guesses = nil },
	} {
		c := good
		spoil(&c)
		if _, err := New(c); err == nil {
			t.Errorf("%s: New gives no error", name)
		}
	}
}

func TestAddUser(t *testing.T) {
	w := newWorld(t, openZone())
	u := w.addUser("Ada@Shop.Example", goodPassword, "support", "admin", "admin")
	if id, err := uuid.Parse(u.ID); err != nil || id.Version() != 4 {
		t.Errorf("id %q is no UUID v4", u.ID)
	}
	if u.Email != "Ada@Shop.Example" || !slices.Equal(u.Roles, []string{"admin", "support"}) || !u.Verified || u.Disabled || u.Version != 1 {
		t.Errorf("AddUser = %+v", u)
	}
	for _, by := range []string{u.ID, "ada@shop.example", "ADA@SHOP.EXAMPLE"} {
		got, err := w.id.User(t.Context(), by)
		if err != nil || got.ID != u.ID || got.Email != u.Email || !got.Created.Equal(w.now.time()) || !slices.Equal(got.Roles, u.Roles) {
			t.Errorf("User(%q) = %+v, %v, want %+v", by, got, err, u)
		}
	}
	for _, by := range []string{"eve@shop.example", uuid.NewString(), ""} {
		_, err := w.id.User(t.Context(), by)
		wantReason(t, "User of "+by, err, problem.AccountUnknown)
	}
	for _, c := range []struct {
		name, email, password, role string
		want                        problem.Reason
	}{
		{"taken", "ada@shop.example", goodPassword, "user", problem.AccountExists},
		{"bad address", "ada", goodPassword, "user", problem.AccountInvalid},
		{"common password", "eve@shop.example", "password1", "user", problem.AccountPassword},
		{"bad role", "eve@shop.example", goodPassword, "Root User", problem.AdminInvalid},
		{"good", "eve@shop.example", goodPassword, "user", problem.OK},
	} {
		_, err := w.id.AddUser(t.Context(), c.email, obs.Secret(c.password), []string{c.role})
		wantReason(t, c.name, err, c.want)
	}
}

func TestAddUserAtOnce(t *testing.T) {
	w := newWorld(t, openZone())
	reasons := make([]problem.Reason, 8)
	var all sync.WaitGroup
	for i := range reasons {
		all.Go(func() {
			_, err := w.id.AddUser(t.Context(), "ada@shop.example", goodPassword, nil)
			reasons[i] = problem.ReasonOf(err)
		})
	}
	all.Wait()
	slices.Sort(reasons)
	if reasons[0] != problem.OK || reasons[1] != problem.AccountExists || reasons[7] != problem.AccountExists {
		t.Errorf("eight at once: %v, want one ok and seven account.exists", reasons)
	}
}

func TestUsersPages(t *testing.T) {
	w := newWorld(t, openZone())
	for _, e := range []string{"c@x.example", "A@x.example", "b@x.example"} {
		w.addUser(e, goodPassword)
	}
	first, err := w.id.Users(t.Context(), "", 2)
	if err != nil || len(first) != 2 || first[0].Email != "A@x.example" || first[1].Email != "b@x.example" {
		t.Errorf("first page = %+v, %v", first, err)
	}
	rest, err := w.id.Users(t.Context(), first[1].Email, 1<<30)
	if err != nil || len(rest) != 1 || rest[0].Email != "c@x.example" {
		t.Errorf("second page = %+v, %v", rest, err)
	}
	if none, err := w.id.Users(t.Context(), "", -1); err != nil || none == nil || len(none) != 0 {
		t.Errorf("a page of nothing = %#v, %v", none, err)
	}
}

// TestRightsChange checks of every change of rights that it shows in the
// principal, grows the version, and was told to subscribers before it returned.
func TestRightsChange(t *testing.T) {
	for _, c := range []struct {
		name     string
		change   func(*world, string) error
		want     problem.Reason // of Principal afterwards
		roles    []string
		sessions int // of two
	}{
		{"granted", func(w *world, u string) error { return w.id.GrantRoles(w.t.Context(), u, []string{"b", "a"}) }, problem.OK, []string{"a", "b", "user"}, 2},
		{"revoked", func(w *world, u string) error { return w.id.RevokeRoles(w.t.Context(), u, []string{"user"}) }, problem.OK, []string{}, 2},
		{"password", func(w *world, u string) error { return w.id.SetPassword(w.t.Context(), u, "another good one") }, problem.OK, []string{"user"}, 0},
		{"disabled", func(w *world, u string) error { return w.id.SetDisabled(w.t.Context(), u, true) }, problem.AuthRevoked, nil, 0},
		{"enabled", func(w *world, u string) error { return w.id.SetDisabled(w.t.Context(), u, false) }, problem.OK, []string{"user"}, 2},
		{"deleted", func(w *world, u string) error { return w.id.DeleteUser(w.t.Context(), u) }, problem.AuthRevoked, nil, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, openZone())
			u := w.addUser("ada@shop.example", goodPassword, "user")
			other := w.addUser("eve@shop.example", goodPassword, "user")
			for range 2 {
				w.sessions.create(t, u.ID, 1)
				w.sessions.create(t, other.ID, 1)
			}
			before, err := w.id.Principal(t.Context(), u.ID, 2)
			if err != nil || before.Kind != policy.User || before.Subject != u.ID || before.Version != 1 || len(before.Roles) != 1 {
				t.Fatalf("Principal before = %+v, %v", before, err)
			}
			var told []store.Revocation
			defer w.db.Subscribe(func(r store.Revocation) { told = append(told, r) })()

			if err := c.change(w, u.ID); err != nil {
				t.Fatal(err)
			}
			told = slices.DeleteFunc(told, func(r store.Revocation) bool { return r.Kind != store.KindSubject }) // of sessions tells their own package
			if len(told) != 1 || told[0].Subject != u.ID || !told[0].At.Equal(w.now.time()) {
				t.Errorf("subscribers were told %+v, want one revocation of %s", told, u.ID)
			}
			p, err := w.id.Principal(t.Context(), u.ID, 2)
			wantReason(t, "Principal", err, c.want)
			if err == nil && (p.Version <= before.Version || !slices.Equal(p.Roles, c.roles)) {
				t.Errorf("Principal = %+v, want roles %v and a version above %d", p, c.roles, before.Version)
			}
			if err != nil && (p.Kind != policy.Anonymous || p.Subject != "") {
				t.Errorf("a refused principal is %+v, want the zero one", p)
			}
			if got := w.sessions.of(u.ID); got != c.sessions {
				t.Errorf("%d sessions are left, want %d", got, c.sessions)
			}
			if got := w.sessions.of(other.ID); got != 2 {
				t.Errorf("another user has %d sessions left, want 2", got)
			}
			if q, err := w.id.Principal(t.Context(), other.ID, 2); err != nil || q.Version != 1 {
				t.Errorf("another user's principal = %+v, %v", q, err)
			}
		})
	}
}

func TestRightsOfNobody(t *testing.T) {
	w := newWorld(t, openZone())
	u := w.addUser("ada@shop.example", goodPassword)
	nobody := uuid.NewString()
	for name, do := range map[string]func(string) error{
		"GrantRoles":  func(u string) error { return w.id.GrantRoles(t.Context(), u, []string{"a"}) },
		"SetDisabled": func(u string) error { return w.id.SetDisabled(t.Context(), u, true) },
		"SetPassword": func(u string) error { return w.id.SetPassword(t.Context(), u, goodPassword) },
		"DeleteUser":  func(u string) error { return w.id.DeleteUser(t.Context(), u) },
	} {
		wantReason(t, name+" of nobody", do(nobody), problem.AccountUnknown)
	}
	if n, err := w.db.LastRevocation(t.Context()); err != nil || n != 0 {
		t.Errorf("%d revocations of nobody (%v), want none", n, err)
	}
	wantReason(t, "GrantRoles of a bad name", w.id.GrantRoles(t.Context(), u.ID, []string{"Bad Role"}), problem.AdminInvalid)
	wantReason(t, "SetPassword of a common one", w.id.SetPassword(t.Context(), u.ID, "qwerty123"), problem.AccountPassword)
	if p, err := w.id.Principal(t.Context(), u.ID, 2); err != nil || p.Version != 1 {
		t.Errorf("after refusals the principal is %+v, %v, want version 1", p, err)
	}
	_, err := w.id.Principal(t.Context(), nobody, 2)
	wantReason(t, "Principal of nobody", err, problem.AuthRevoked)
}

// TestStoreDown: without the store nobody is let in.
func TestStoreDown(t *testing.T) {
	w := newWorld(t, openZone())
	u := w.addUser("ada@shop.example", goodPassword)
	if err := w.db.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := w.id.Principal(t.Context(), u.ID, 2)
	wantReason(t, "Principal", err, problem.AuthUnavailable)
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("the cause is lost: %v", err)
	}
	rec := w.post("/auth/login", credentialsJSON("ada@shop.example", goodPassword))
	if rec.Code != 503 || reason(rec) != "auth.unavailable" || strings.Contains(rec.Body.String(), "store") {
		t.Errorf("login: %d %s %s", rec.Code, reason(rec), rec.Body)
	}
	if n := w.passwords.Hashes(); n != 1 { // that of AddUser
		t.Errorf("%d hashes, want none without a store", n-1)
	}
}

// TestNothingInClearAtRest reads the database's files as a thief would.
func TestNothingInClearAtRest(t *testing.T) {
	w := newWorld(t, openZone())
	w.addUser("ada@shop.example", goodPassword)
	var all strings.Builder
	files, _ := filepath.Glob(filepath.Join(filepath.Dir(w.path), "*"))
	for _, f := range files {
		all.Write(readFile(t, f))
	}
	if !strings.Contains(all.String(), "ada@shop.example") {
		t.Fatal("positive control: the address is not in the files")
	}
	for _, planted := range []string{goodPassword} {
		if strings.Contains(all.String(), planted) {
			t.Errorf("%q lies in the database", planted)
		}
	}
}
