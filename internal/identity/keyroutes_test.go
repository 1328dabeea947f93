package identity

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

func TestKeysJSON(t *testing.T) {
	w := newMailWorld(t)
	u := w.addUser("ada@shop.example", goodPassword)
	eve := w.own(w.addUser("eve@shop.example", goodPassword).ID)
	own := w.own(u.ID)
	w.expect("a zone without keys", w.getAs(own, keysPath), 404, problem.RouteUnknown)
	w.expect("a zone without keys", w.postAs(own, keysPath, object("name", "nightly")), 404, problem.RouteUnknown)
	w.useKeys()
	for name, body := range map[string]string{
		"no name": `{}`, "no days": `{"name":"a","expires":"soon"}`, "past": `{"name":"a","expires":"0"}`, "a scope that is not offered": `{"name":"a","scopes":["admin"]}`,
		"too long": `{"name":"a","scopes":["orders.read"],"expires":"400"}`, "address": `{"name":"a","scopes":["orders.read"],"addresses":["nowhere"]}`,
	} {
		w.expect(name, w.postAs(own, keysPath, body), 400, problem.AccountInvalid)
	}
	rec := w.postAs(own, keysPath, `{"name":"nightly","scopes":["orders.read"],"addresses":["192.0.2.0/24"],"expires":"30"}`)
	w.expect("create", rec, 201, problem.OK)
	var made keyMadeJSON
	if err := json.Unmarshal(rec.Body.Bytes(), &made); err != nil || !strings.HasPrefix(made.Key, "spk_") || made.ExpiresAt != w.now.time().Add(30*24*time.Hour).Format(time.RFC3339) {
		t.Fatalf("%v %s", err, rec.Body)
	}
	if rec := w.getAs(own, keysPath); rec.Code != 200 || !strings.Contains(rec.Body.String(), "192.0.2.0/24") || strings.Contains(rec.Body.String(), made.Key) {
		t.Errorf("list: %d %s", rec.Code, rec.Body)
	}
	w.expect("the same name", w.postAs(own, keysPath, `{"name":"nightly","scopes":["orders.read"]}`), 409, problem.AccountConflict)
	one := keysPath + "/" + made.ID
	for _, path := range []string{one + "/rotate", one + "/revoke"} {
		w.expect("of another user: "+path, w.postAs(eve, path, "{}"), 404, problem.AccountUnknown)
	}
	w.expect("signing key of another user's", w.postAs(eve, one+"/signing", `{"algorithm":"hmac-sha256"}`), 404, problem.AccountUnknown)
	rec = w.postAs(own, one+"/rotate", "{}")
	w.expect("rotate", rec, 200, problem.OK)
	if strings.Contains(rec.Body.String(), made.Key) {
		t.Error("the text is the same")
	}
	public, _, _ := ed25519.GenerateKey(nil)
	rec = w.postAs(own, one+"/signing", object("algorithm", "ed25519", "public_key", base64.StdEncoding.EncodeToString(public)))
	w.expect("public key", rec, 201, problem.OK)
	var signing signingMadeJSON
	if err := json.Unmarshal(rec.Body.Bytes(), &signing); err != nil || signing.Secret != "" || signing.ID == "" {
		t.Errorf("%v %s", err, rec.Body)
	}
	rec = w.postAs(own, one+"/signing", `{"algorithm":"hmac-sha256"}`)
	if rec.Code != 201 || !strings.Contains(rec.Body.String(), `"secret":"`) {
		t.Errorf("secret: %d %s", rec.Code, rec.Body)
	}
	w.expect("no key", w.postAs(own, one+"/signing", `{"algorithm":"ed25519","public_key":"x"}`), 400, problem.AccountInvalid)
	w.expect("end it", w.postAs(own, one+"/signing/"+signing.ID+"/revoke", "{}"), 204, problem.OK)
	w.expect("again", w.postAs(own, one+"/signing/"+signing.ID+"/revoke", "{}"), 404, problem.AccountUnknown)
	w.expect("revoke", w.postAs(own, one+"/revoke", "{}"), 204, problem.OK)
	w.expect("again", w.postAs(own, one+"/revoke", "{}"), 404, problem.AccountUnknown)
	w.now.advance(freshFor + time.Second)
	w.expect("an old login", w.postAs(own, keysPath, `{"name":"b","scopes":["orders.read"]}`), 401, problem.AuthStepUp)
}

func TestKeysPages(t *testing.T) {
	w := newMailWorld(t)
	w.useKeys()
	b := w.browser()
	b.loginAs(w.addUser("ada@shop.example", goodPassword).ID, 1)
	if rec := b.get(keysPath); rec.Code != 200 || !strings.Contains(rec.Body.String(), "orders.write") {
		t.Fatalf("the page: %d", rec.Code)
	}
	if rec := b.post(keysPath, "name", "nightly", "expires", "soon", "scopes", "orders.read"); rec.Code != 400 || !strings.Contains(rec.Body.String(), "checked") {
		t.Errorf("the page again: %d %s", rec.Code, rec.Body)
	}
	rec := b.post(keysPath, "name", "nightly", "expires", "", "scopes", "orders.read", "scopes", "orders.write")
	if rec.Code != 201 || !strings.Contains(rec.Body.String(), "spk_") {
		t.Fatalf("made: %d %s", rec.Code, rec.Body)
	}
	if rec := b.get("/auth/account"); strings.Contains(rec.Body.String(), "spk_") || !strings.Contains(rec.Body.String(), "nightly") {
		t.Error("the account page shows the key, or none")
	}
}

func TestTellKeyExpires(t *testing.T) {
	w := newMailWorld(t)
	u := w.addUser("ada@shop.example", goodPassword)
	tell := func(owner, contact string) {
		t.Helper()
		if err := w.db.Tx(t.Context(), func(ctx context.Context, x *store.Tx) error {
			return w.id.TellKeyExpires(ctx, x, owner, contact, "nightly", w.now.time().Add(72*time.Hour))
		}); err != nil {
			t.Fatal(err)
		}
	}
	tell(u.ID, "")
	w.oneLetter("ada@shop.example", "nightly")
	tell("", "team@shop.example")
	w.oneLetter("team@shop.example", "nightly")
	tell("", "")
	tell("gone", "")
	if l := w.sent(); len(l) != 0 {
		t.Errorf("%d letters to nobody", len(l))
	}
}
