package identity

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/uuid"

	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

func TestRouteTable(t *testing.T) {
	open := newWorld(t, openZone())
	for _, r := range open.id.Routes() {
		durable := r.Method != "GET" && r.Path != "/auth/password/strength"
		if r.Durable != durable || r.Handler == nil || r.Allow != zone.AllowAnonymous|zone.AllowUser {
			t.Errorf("%s %s: durable %v, allow %b", r.Method, r.Path, r.Durable, r.Allow)
		}
		if durable && r.Body != bodyMax && r.Body != ceremonyMax {
			t.Errorf("%s %s: body of %d", r.Method, r.Path, r.Body)
		}
	}
	closed := newWorld(t, &zone.Zone{Name: "shop.example"})
	invited := newWorld(t, &zone.Zone{Name: "shop.example", Identity: zone.Identity{Registration: zone.RegistrationInvited}})
	for name, w := range map[string]*world{"closed": closed, "invited": invited} {
		for _, method := range []string{"GET", "POST"} {
			rec := w.do(ask{method: method, path: "/auth/register", body: credentialsJSON("ada@shop.example", goodPassword),
				header: map[string]string{"Content-Type": jsonType}})
			unknown := w.do(ask{method: method, path: "/auth/nothing-here"})
			if rec.Code != 404 || rec.Body.String() != unknown.Body.String() {
				t.Errorf("%s: %s register: %d %s, want what an unknown path answers", name, method, rec.Code, rec.Body)
			}
		}
		if page := w.do(ask{method: "GET", path: "/auth/login", header: map[string]string{"Accept": browser}}); strings.Contains(page.Body.String(), "/auth/register") {
			t.Errorf("%s: the login page points to a registration that is not there", name)
		}
	}
}

func TestRegisterJSON(t *testing.T) {
	w := newWorld(t, openZone())
	rec := w.post("/auth/register", credentialsJSON("Ada@shop.example", goodPassword))
	var u userJSON
	if err := json.Unmarshal(rec.Body.Bytes(), &u); rec.Code != 201 || err != nil || uuid.Validate(u.ID) != nil || u.Email != "Ada@shop.example" || u.Roles == nil {
		t.Fatalf("register: %d %s", rec.Code, rec.Body)
	}
	if len(rec.Result().Cookies()) != 0 || strings.Contains(rec.Body.String(), "token") {
		t.Errorf("JSON registration opens a session: %v %s", rec.Header(), rec.Body)
	}
	if got, err := w.id.User(t.Context(), u.ID); err != nil || got.Verified || len(got.Roles) != 0 {
		t.Errorf("the account is %+v, %v, want neither verified nor with roles", got, err)
	}
	for _, c := range []struct {
		name, body string
		status     int
		reason     string
	}{
		{"taken", credentialsJSON("ada@shop.example", goodPassword), 409, "account.exists"},
		{"taken in capitals", credentialsJSON("ADA@SHOP.EXAMPLE", goodPassword), 409, "account.exists"},
		{"bad address", credentialsJSON("ada", goodPassword), 400, "account.invalid"},
		{"short", credentialsJSON("eve@shop.example", "short"), 422, "account.password"},
		{"common", credentialsJSON("eve@shop.example", "iloveyou1"), 422, "account.password"},
		{"roles asked for", `{"email":"eve@shop.example","password":"` + goodPassword + `","roles":["admin"]}`, 400, "account.invalid"},
		{"good", credentialsJSON("eve@shop.example", goodPassword), 201, ""},
	} {
		rec := w.post("/auth/register", c.body)
		if rec.Code != c.status || reason(rec) != c.reason {
			t.Errorf("%s: %d %s, want %d %s: %s", c.name, rec.Code, reason(rec), c.status, c.reason, rec.Body)
		}
	}
}

func TestLoginJSON(t *testing.T) {
	w := newWorld(t, openZone())
	u := w.addUser("ada@shop.example", goodPassword, "support", "auditor")
	rec := w.post("/auth/login", credentialsJSON("Ada@Shop.example", goodPassword))
	var got map[string]any
	if err := json.Unmarshal(rec.Body.Bytes(), &got); rec.Code != 200 || err != nil {
		t.Fatalf("login: %d %s", rec.Code, rec.Body)
	}
	token, _ := got["token"].(string)
	if len(got) != 3 || !strings.HasPrefix(token, "sps_") || got["expires_at"] != "2026-03-02T00:00:00Z" {
		t.Errorf("login answers %v", got)
	}
	wantUser := map[string]any{"id": u.ID, "email": "ada@shop.example", "roles": []any{"auditor", "support"}}
	if user, _ := got["user"].(map[string]any); len(user) != 3 || user["id"] != wantUser["id"] || user["email"] != wantUser["email"] || len(user["roles"].([]any)) != 2 {
		t.Errorf("user %v, want %v", got["user"], wantUser)
	}
	if len(rec.Header()["Set-Cookie"]) != 0 {
		t.Errorf("a JSON login sets a cookie: %v", rec.Header())
	}
	if rec.Header().Get("Cache-Control") != "no-store" || rec.Header().Get("Content-Type") != jsonType {
		t.Errorf("headers %v", rec.Header())
	}
	asked := w.sessions.asked()[0]
	if asked.User != u.ID || asked.Level != 1 || asked.Method != "password" || asked.Remember || asked.Client.String() != w.client {
		t.Errorf("the session was asked for as %+v", asked)
	}

	me := w.do(ask{method: "GET", path: "/auth/me", token: token})
	var user map[string]any
	if err := json.Unmarshal(me.Body.Bytes(), &user); me.Code != 200 || err != nil || len(user) != 3 || user["id"] != u.ID {
		t.Errorf("me: %d %s", me.Code, me.Body)
	}
	if rec := w.do(ask{method: "GET", path: "/auth/me"}); rec.Code != 401 || reason(rec) != "auth.missing" || rec.Header().Get("WWW-Authenticate") == "" {
		t.Errorf("me without a session: %d %s %v", rec.Code, reason(rec), rec.Header())
	}
	if rec := w.do(ask{method: "POST", path: "/auth/logout", token: token}); rec.Code != 204 || rec.Body.Len() != 0 {
		t.Errorf("logout: %d %s", rec.Code, rec.Body)
	}
	if rec := w.do(ask{method: "GET", path: "/auth/me", token: token}); rec.Code != 401 {
		t.Errorf("me after logout: %d", rec.Code)
	}
	if rec := w.do(ask{method: "POST", path: "/auth/logout", token: token}); rec.Code != 401 || reason(rec) != "auth.missing" {
		t.Errorf("logout again: %d %s", rec.Code, reason(rec))
	}
	remembered := w.post("/auth/login", `{"email":"ada@shop.example","password":"`+goodPassword+`","remember":true}`)
	if remembered.Code != 200 || !w.sessions.asked()[1].Remember {
		t.Errorf("remember: %d %+v", remembered.Code, w.sessions.asked()[1])
	}
}

func TestStrictRequests(t *testing.T) {
	w := newWorld(t, openZone())
	w.addUser("ada@shop.example", goodPassword)
	for _, c := range []struct {
		name, kind, body string
		status           int
		reason           string
	}{
		{"good", jsonType, credentialsJSON("ada@shop.example", goodPassword), 200, ""},
		{"text", "text/plain", credentialsJSON("ada@shop.example", goodPassword), 415, "request.content"},
		{"no type", "", credentialsJSON("ada@shop.example", goodPassword), 415, "request.content"},
		{"too large", jsonType, credentialsJSON("ada@shop.example", strings.Repeat("x", 5000)), 413, "request.body_too_large"},
		{"unknown field", jsonType, `{"email":"ada@shop.example","password":"x","otp":"1"}`, 400, "account.invalid"},
		{"next is for forms", jsonType, `{"email":"ada@shop.example","password":"x","next":"/"}`, 400, "account.invalid"},
	} {
		for _, accept := range []string{"", browser} {
			rec := w.do(ask{method: "POST", path: "/auth/login", body: c.body, header: map[string]string{"Content-Type": c.kind, "Accept": accept}})
			if rec.Code != c.status || reason(rec) != c.reason {
				t.Errorf("%s with Accept %q: %d %s, want %d %s", c.name, accept, rec.Code, reason(rec), c.status, c.reason)
			}
			if c.kind == jsonType && strings.Contains(rec.Header().Get("Content-Type"), "html") {
				t.Errorf("%s: who speaks JSON is answered with a page", c.name)
			}
		}
	}
	rec := w.post("/auth/login", `{"email":"ada@shop.example","password":"x","otp":"1"}`)
	var doc problem.Document
	if err := json.Unmarshal(rec.Body.Bytes(), &doc); err != nil || doc.Detail != "unknown field otp" || doc.CorrelationID == "" {
		t.Errorf("the document names no field: %s", rec.Body)
	}
}
