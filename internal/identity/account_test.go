package identity

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/broker"
	"sallyport.dev/internal/problem"
)

// full is a user with something of everything, and the words that open the account.
func (w *world) full() (u User, secrets map[string]string) {
	w.t.Helper()
	w.useKeys()
	w.useBroker(broker.Claims{})
	w.id.grants = &scriptedGrants{}
	u = w.addUser("ada@shop.example", goodPassword, "support")
	secrets = map[string]string{"password": goodPassword, "app": w.giveApp(u.ID)}
	for i, c := range w.giveCodes(u.ID) {
		secrets["code "+string(rune('a'+i))] = c
	}
	_, key, err := w.id.keys.CreateKey(w.t.Context(), nil, u.ID, NewKey{Name: "nightly", Scopes: []string{"orders.read"}})
	if err != nil {
		w.t.Fatal(err)
	}
	secrets["key"] = string(key)
	list, err := w.id.keys.ListKeys(w.t.Context(), u.ID)
	if err != nil || len(list) != 1 {
		w.t.Fatal(err)
	}
	_, _, hmac, err := w.id.keys.AddSigningKey(w.t.Context(), nil, u.ID, list[0].ID, "hmac-sha256", "")
	if err != nil {
		w.t.Fatal(err)
	}
	secrets["secret of a signing key"] = string(hmac)
	w.exec("INSERT INTO connections (provider, issuer, subject, user_id, email, created_at) VALUES ('hub', 'https://hub.example', 'sub-77', ?, 'ada@hub.example', 1000000)", u.ID)
	a, _, err := w.id.accountByID(w.t.Context(), u.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	secrets["hash"] = a.password
	return u, secrets
}

func TestExport(t *testing.T) {
	w := newMailWorld(t)
	u, secrets := w.full()
	other := w.addUser("eve@shop.example", goodPassword)
	token, _ := w.sessions.create(t, u.ID, 2)
	secrets["session"] = token
	rec := w.getAs(token, "/auth/export")
	w.expect("export", rec, 200, problem.OK)
	if got := rec.Header().Get("Content-Disposition"); got != `attachment; filename="account.json"` || rec.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("headers %v", rec.Header())
	}
	var doc map[string]any
	if err := json.Unmarshal(rec.Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	for _, fact := range []string{u.ID, "ada@shop.example", "support", "nightly", "orders.read", "sub-77", "ada@hub.example", `"totp"`, "hmac-sha256", "The app of", `"recovery_codes_left": 10`, "shop.example"} {
		if !strings.Contains(rec.Body.String(), fact) {
			t.Errorf("%q is missing in %s", fact, rec.Body)
		}
	}
	for name, s := range secrets {
		if s == "" || strings.Contains(rec.Body.String(), s) || strings.Contains(strings.ReplaceAll(rec.Body.String(), " ", ""), strings.ReplaceAll(s, " ", "")) {
			t.Errorf("the %s is in the export", name)
		}
	}
	if strings.Contains(rec.Body.String(), other.ID) || strings.Contains(rec.Body.String(), "eve@") {
		t.Error("another user is in the export")
	}
	w.expect("nobody", w.do(ask{method: "GET", path: "/auth/export"}), 401, problem.AuthMissing)
	w.expect("a program", w.getAs(apiKey, "/auth/export"), 403, problem.AccessKind)
	w.expect("one factor of two", w.getAs(w.own(u.ID), "/auth/export"), 401, problem.AuthStepUp)
	w.now.advance(freshFor + time.Second)
	w.expect("an old login", w.getAs(token, "/auth/export"), 401, problem.AuthStepUp)
}

func TestAccountPage(t *testing.T) {
	w := newMailWorld(t)
	u, secrets := w.full()
	b := w.browser()
	b.loginAs(u.ID, 1)
	rec := b.get("/auth/account?notice=profile_saved")
	if rec.Code != 200 {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	page := rec.Body.String()
	for _, fact := range []string{"ada@shop.example", "support", "nightly", "Hub", "ada@hub.example", "School", "The app of", "Saved.", "Deutsch", "10 codes are left"} {
		if !strings.Contains(page, fact) {
			t.Errorf("%q is not on the page", fact)
		}
	}
	for name, s := range secrets {
		if strings.Contains(page, s) {
			t.Errorf("the %s is on the page", name)
		}
	}
	if rec := b.get("/auth/account?notice=%3Cscript%3E"); strings.Contains(rec.Body.String(), "script&gt;") || strings.Contains(rec.Body.String(), "<script>") {
		t.Error("a notice of the sender's choosing")
	}
	var answer accountJSON
	rec = w.getAs(w.own(u.ID), "/auth/account")
	if err := json.Unmarshal(rec.Body.Bytes(), &answer); err != nil || len(answer.Keys) != 1 || len(answer.Providers) != 1 || len(answer.Factors) != 1 || len(answer.Sessions) != 2 || len(answer.Grants) != 1 {
		t.Errorf("%v %s", err, rec.Body)
	}
}

func TestProfile(t *testing.T) {
	w := newMailWorld(t)
	u := w.addUser("ada@shop.example", goodPassword)
	own := w.own(u.ID)
	w.expect("save", w.postAs(own, "/auth/profile", `{"name":"  Ada L\u006f\u0308velace ","locale":"de"}`), 200, problem.OK)
	now, _ := w.id.User(t.Context(), u.ID)
	if now.Name != "Ada L\u00f6velace" || now.Locale != "de" || now.Version != 1 {
		t.Errorf("%+v", now)
	}
	w.expect("only one", w.postAs(own, "/auth/profile", `{"locale":""}`), 200, problem.OK)
	if now, _ := w.id.User(t.Context(), u.ID); now.Name != "Ada L\u00f6velace" || now.Locale != "" {
		t.Errorf("%+v", now)
	}
	for name, body := range map[string]string{
		"two lines": `{"name":"Ada\nEve"}`, "turned round": `{"name":"Ada\u202eEve"}`, "too long": object("name", strings.Repeat("x", 101)),
		"no language": `{"locale":"tlh"}`, "another field": `{"roles":"admin"}`, "no text": `{"name":1}`,
	} {
		w.expect(name, w.postAs(own, "/auth/profile", body), 400, problem.AccountInvalid)
	}
	w.expect("nobody", w.post("/auth/profile", `{"name":"Eve"}`), 401, problem.AuthMissing)
	b := w.browser()
	b.loginAs(u.ID, 1)
	if rec := b.post("/auth/profile", "name", strings.Repeat("x", 101), "locale", ""); rec.Code != 400 || !strings.Contains(rec.Body.String(), `id="profile"`) {
		t.Errorf("the page again: %d", rec.Code)
	}
	if rec := b.post("/auth/profile", "name", "Ada", "locale", "de"); rec.Code != 303 {
		t.Errorf("saved: %d", rec.Code)
	}
	if rec := b.get("/auth/account"); rec.Header().Get("Content-Language") != "de" {
		t.Errorf("language %q", rec.Header().Get("Content-Language"))
	}
}

func TestGrants(t *testing.T) {
	w := newMailWorld(t)
	u := w.addUser("ada@shop.example", goodPassword)
	own := w.own(u.ID)
	if rec := w.getAs(own, "/auth/grants"); rec.Body.String() != `{"grants":[]}` {
		t.Errorf("without clients: %s", rec.Body)
	}
	w.expect("without clients", w.postAs(own, "/auth/grants/app/revoke", ""), 404, problem.AccountUnknown)
	g := &scriptedGrants{}
	w.id.grants = g
	w.expect("unknown", w.postAs(own, "/auth/grants/other/revoke", "{}"), 404, problem.AccountUnknown)
	w.now.advance(freshFor + time.Second)
	w.expect("revoke", w.postAs(own, "/auth/grants/app/revoke", "{}"), 204, problem.OK)
	w.expect("nobody", w.post("/auth/grants/app/revoke", "{}"), 401, problem.AuthMissing)
	if len(g.ended) != 1 || g.ended[0] != u.ID+" app" {
		t.Errorf("ended %q", g.ended)
	}
}
