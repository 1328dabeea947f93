package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// interfaceMap is used by the rows of INTERFACE section 5.
const interfaceMap = head + `
identity: {registration: @registration@}
services:
  plain:
    upstream: http://@plain@
    routes:
      GET /open: anonymous
      GET /mine: user
      POST /notify: {allow: key, scopes: [notify]}
`

func startInterfaceZone(t *testing.T, registration string) *zoned {
	t.Helper()
	up := startUpstream(t, nil)
	return startZone(t, strings.ReplaceAll(interfaceMap, "@registration@", registration), map[string]string{"plain": up.address})
}

// TestStatus: 0 ready, 1 not ready (not reached from outside), 3 not running.
func TestStatus(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, nil)
	z := newZone(t, strings.ReplaceAll(interfaceMap, "@registration@", "closed"), map[string]string{"plain": up.address})
	if _, errs, code := z.run("status"); code != 3 || !strings.Contains(errs, "not running") {
		t.Errorf("before: exit %d %q, want 3", code, errs)
	}
	z.start()
	out, _, code := z.run("status", "--format", "json")
	var s struct {
		Ready bool
		Zone  string
	}
	if err := json.Unmarshal([]byte(out), &s); err != nil || code != 0 || !s.Ready || s.Zone != "shop.example" {
		t.Errorf("running: exit %d %q (%v), want 0 and ready", code, out, err)
	}
	if err := z.end(syscall.SIGINT); err != nil {
		t.Errorf("serve ended with %v after an interrupt, want a clean end", err)
	}
	if _, _, code := z.run("status"); code != 3 {
		t.Errorf("after: exit %d, want 3", code)
	}
	if _, _, code := z.exec("status", "--nonsense"); code != 2 {
		t.Errorf("used wrongly: exit %d, want 2", code)
	}
}

// TestCertificateRoot: ca.pem is the root of the internal certificates, which
// also name localhost and 127.0.0.1.
func TestCertificateRoot(t *testing.T) {
	t.Parallel()
	z := startInterfaceZone(t, "closed")
	for _, host := range []string{"localhost", "127.0.0.1", "shop.example"} {
		if got := z.do(call{host: host, path: "/open"}); got.Status != 200 || got.Body != "ok" {
			t.Errorf("%s: %d %q, want 200 ok", host, got.Status, got.Body)
		}
	}
	strange := z.client(func(tr *http.Transport) { tr.TLSClientConfig.RootCAs = nil })
	if got := z.try(call{path: "/open", client: strange}); got.Err == nil || !strings.Contains(got.Err.Error(), "certificate") {
		t.Errorf("without ca.pem: %d, %v; want a certificate error", got.Status, got.Err)
	}
	pem, err := os.ReadFile(filepath.Join(z.data, "ca.pem"))
	if err != nil || strings.Count(string(pem), "BEGIN CERTIFICATE") == 0 || strings.Contains(string(pem), "PRIVATE") {
		t.Errorf("ca.pem (%v) is %q", err, pem)
	}
	for path, mode := range map[string]os.FileMode{z.data: 0o700, z.data + ".root": 0o600, filepath.Join(z.data, "admin.sock"): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v (%v), want %v", path, info.Mode(), err, mode)
		}
	}
}

var (
	uuidForm  = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	tokenForm = regexp.MustCompile(`^sps_[A-Za-z0-9_-]{43}$`)
	keyForm   = regexp.MustCompile(`^spk_[a-z2-7]{12}_[0-9A-Za-z]{49}$`)
)

// TestLogin: login 200 {"token","expires_at","user"}, me 200 the user, logout 204.
func TestLogin(t *testing.T) {
	t.Parallel()
	z := startInterfaceZone(t, "closed")
	alice := z.addUser("alice@shop.example", "customer")
	if !uuidForm.MatchString(alice.ID) {
		t.Errorf("user add: id %q is no UUID", alice.ID)
	}
	client := z.client()
	got := z.do(call{method: "POST", path: "/auth/login", json: true, body: credentials(alice.Email, alice.Password), client: client})
	fields := fieldsOf(t, got.Body)
	if got.Status != 200 || !slices.Equal(keysOf(fields), []string{"expires_at", "token", "user"}) || got.Header.Get("Set-Cookie") != "" {
		t.Fatalf("login: %d %s with cookies %q", got.Status, got.Body, got.Header["Set-Cookie"])
	}
	token, _ := fields["token"].(string)
	if !tokenForm.MatchString(token) {
		t.Errorf("token %q, want sps_ and 43 base64url characters", token)
	}
	expires, err := time.Parse(time.RFC3339, fields["expires_at"].(string))
	if left := time.Until(expires); err != nil || left < 11*time.Hour || left > 13*time.Hour || expires.Location() != time.UTC {
		t.Errorf("expires_at %v (%v), want 12 h from now in UTC", fields["expires_at"], err)
	}
	for _, path := range []string{"/auth/me", "/mine"} {
		if got := z.do(call{path: path, client: client}); got.Status != 401 || got.reason() != "auth.missing" {
			t.Errorf("%s without token: %d %s, want 401 auth.missing", path, got.Status, got.reason())
		}
	}
	got = z.do(call{path: "/auth/me", bearer: token, client: client})
	want := map[string]any{"id": alice.ID, "email": alice.Email, "roles": []any{"customer"}}
	if me := fieldsOf(t, got.Body); got.Status != 200 || !sameJSON(me, want) || !sameJSON(fields["user"], want) {
		t.Errorf("me: %d %s, login's user %v, want %v", got.Status, got.Body, fields["user"], want)
	}
	if got := z.do(call{method: "POST", path: "/auth/logout", bearer: token, client: client}); got.Status != 204 || got.Body != "" {
		t.Errorf("logout: %d %q, want 204 and nothing", got.Status, got.Body)
	}
	for _, path := range []string{"/auth/me", "/mine"} {
		if got := z.do(call{path: path, bearer: token, client: client}); got.Status != 401 || got.reason() != "auth.revoked" {
			t.Errorf("%s after logout: %d %s, want 401 auth.revoked", path, got.Status, got.reason())
		}
	}
	if got := z.do(call{method: "POST", path: "/auth/logout", client: client}); got.Status != 401 {
		t.Errorf("logout without token: %d, want 401", got.Status)
	}
	for _, wrong := range []string{credentials(alice.Email, "not the passphrase"), credentials("nobody@shop.example", alice.Password)} {
		got := z.do(call{method: "POST", path: "/auth/login", json: true, body: wrong, client: client})
		if got.Status != 401 || got.reason() != "auth.login" {
			t.Errorf("login %s: %d %s, want 401 auth.login", wrong, got.Status, got.reason())
		}
	}
	for _, bad := range []string{``, `{`, `[]`, `{"email":"a"}`, `{"email":"a","password":"b","admin":true}`, `{"email":"a","email":"b","password":"c"}`, credentials(alice.Email, alice.Password) + "{}"} {
		if got := z.do(call{method: "POST", path: "/auth/login", json: true, body: bad, client: client}); got.Status != 400 {
			t.Errorf("login %s: %d, want 400", bad, got.Status)
		}
	}
}

// TestRegister: closed 404 route.unknown; open without mail 201, then 409; recover 404.
func TestRegister(t *testing.T) {
	t.Parallel()
	closed, open := startInterfaceZone(t, "closed"), startInterfaceZone(t, "open")
	body := credentials("new@shop.example", passphrase("new"))
	post := func(z *zoned, path, body string) answer {
		return z.do(call{method: "POST", path: path, json: true, body: body})
	}
	if got := post(closed, "/auth/register", body); got.Status != 404 || got.reason() != "route.unknown" {
		t.Errorf("closed: %d %s, want 404 route.unknown", got.Status, got.reason())
	}
	got := post(open, "/auth/register", body)
	if user := fieldsOf(t, got.Body); got.Status != 201 || user["email"] != "new@shop.example" || !uuidForm.MatchString(user["id"].(string)) {
		t.Errorf("open: %d %s, want 201 and the user", got.Status, got.Body)
	}
	if got := post(open, "/auth/register", body); got.Status != 409 || got.reason() != "account.exists" {
		t.Errorf("again: %d %s, want 409 account.exists", got.Status, got.reason())
	}
	if got := post(open, "/auth/register", credentials("weak@shop.example", "password")); got.Status != 422 {
		t.Errorf("common password: %d, want 422", got.Status)
	}
	var made, taken atomic.Int64
	var work sync.WaitGroup
	for range 5 { // at once: one account
		work.Go(func() {
			register := func() answer {
				return post(open, "/auth/register", credentials("race@shop.example", passphrase("race")))
			}
			got := register()
			for began := time.Now(); got.reason() == "limit.busy" && time.Since(began) < patience; { // four passwords are hashed at a time
				got = register()
			}
			switch got.Status {
			case 201:
				made.Add(1)
			case 409:
				taken.Add(1)
			}
		})
	}
	work.Wait()
	if made.Load() != 1 || taken.Load() != 4 {
		t.Errorf("five at once: %d made, %d taken", made.Load(), taken.Load())
	}
	open.login(account{Email: "new@shop.example", Password: passphrase("new")})
	for _, z := range []*zoned{closed, open} {
		if got := post(z, "/auth/recover", `{"email":"new@shop.example"}`); got.Status != 404 || got.reason() != "route.unknown" {
			t.Errorf("recover: %d %s, want 404 route.unknown", got.Status, got.reason())
		}
	}
}

// TestKeyCreate: `{"id","key"}`, and the key works in both places.
func TestKeyCreate(t *testing.T) {
	t.Parallel()
	z := startInterfaceZone(t, "closed")
	out := z.must("key", "create", "partner", "--scope", "notify", "--scope", "other", "--format", "json")
	fields := fieldsOf(t, out)
	key, _ := fields["key"].(string)
	if !slices.Equal(keysOf(fields), []string{"id", "key"}) || !keyForm.MatchString(key) || !strings.HasPrefix(key, "spk_"+fields["id"].(string)+"_") {
		t.Fatalf("key create printed %s", out)
	}
	for name, c := range map[string]call{
		"bearer":    {bearer: key},
		"X-API-Key": {header: http.Header{"X-Api-Key": {key}}},
	} {
		c.method, c.path = "POST", "/notify"
		if got := z.do(c); got.Status != 200 {
			t.Errorf("%s: %d %s, want 200", name, got.Status, got.Body)
		}
	}
	for name, wrong := range map[string]string{"last character changed": changeLast(key), "cut": key[:len(key)-1]} {
		if got := z.do(call{method: "POST", path: "/notify", bearer: wrong}); got.Status != 401 || got.reason() != "auth.invalid" {
			t.Errorf("%s: %d %s, want 401 auth.invalid", name, got.Status, got.reason())
		}
	}
}
