package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
)

func loginBody(a account) string { return jsonOf("email", a.Email, "password", a.Password) }

// jsonOf is an object of texts.
func jsonOf(pairs ...string) string {
	m := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	body, _ := json.Marshal(m) // cannot fail
	return string(body)
}

// json makes a call that has to be answered with a status, and reads the answer.
func (s *accountSite) json(c call, status int, into any) answer {
	s.t.Helper()
	got := s.do(c)
	if got.Status != status {
		s.t.Fatalf("%s %s: %d %s, want %d", c.method, c.path, got.Status, got.Body, status)
	}
	if into != nil {
		if err := json.Unmarshal([]byte(got.Body), into); err != nil {
			s.t.Fatalf("%s %s: %v: %s", c.method, c.path, err, got.Body)
		}
	}
	return got
}

// codes is json with a code of an app, which is taken.
func (s *accountSite) codes(phone *app, bearer, path string, status int, into any, fields ...string) {
	s.t.Helper()
	phone.takes(func(code string) bool {
		c := send(bearer, path, jsonOf(append([]string{"code", code}, fields...)...))
		got := s.do(c)
		if got.reason() == "account.factor" {
			return false
		}
		if err := json.Unmarshal([]byte(got.Body), into); err != nil || got.Status != status {
			s.t.Fatalf("%s: %d %s, want %d", path, got.Status, got.Body, status)
		}
		return true
	})
}

// send is a call with a JSON body.
func send(bearer, path, body string) call {
	return call{method: "POST", path: path, bearer: bearer, body: body, json: body != ""}
}

// TestAccountsJSON goes the ways of the pages as an app does: by JSON and bearer
// tokens alone, without a cookie.
func TestAccountsJSON(t *testing.T) {
	t.Parallel()
	s := startAccountSite(t, accountsMap)
	t.Run("refusals", func(t *testing.T) { jsonRefusals(t, s.of(t)) })
	t.Run("register", func(t *testing.T) { jsonRegister(t, s.of(t)) })
	t.Run("factors", func(t *testing.T) { jsonFactors(t, s.of(t)) })
	t.Run("account", func(t *testing.T) { jsonAccount(t, s.of(t)) })
	t.Run("device", func(t *testing.T) { jsonNewDevice(t, s.of(t)) })
}

// TestPasskeysBelongToURL: the RP ID fits the address at which the map says that
// browsers find the account service, whatever other hosts the listener has.
func TestPasskeysBelongToURL(t *testing.T) {
	t.Parallel()
	s := startAccountSite(t, strings.Replace(accountsMap, ", hosts: [localhost]", "", 1))
	if got := s.json(send("", "/auth/passkey/begin", ""), 200, nil); !strings.Contains(got.Body, `"rpId":"localhost"`) {
		t.Errorf("identity.url is %s, and a passkey is asked for by %s", s.url, got.Body)
	}
}

// jsonRefusals: what is not as it has to be has a reason, and does nothing.
func jsonRefusals(t *testing.T, s *accountSite) {
	ada := s.addUser("ada@json.example")
	token := s.login(ada)
	long := strings.Repeat("x", 129)
	for _, c := range []struct {
		name   string
		call   call
		status int
		reason string
	}{
		{"login: wrong password", send("", "/auth/login", jsonOf("email", ada.Email, "password", "wrong")), 401, "auth.login"},
		{"login: nobody", send("", "/auth/login", jsonOf("email", "no@json.example", "password", "wrong")), 401, "auth.login"},
		{"login: no password", send("", "/auth/login", jsonOf("email", ada.Email)), 400, "account.invalid"},
		{"login: unknown field", send("", "/auth/login", jsonOf("email", ada.Email, "password", "x", "admin", "1")), 400, "account.invalid"},
		{"login: field twice", send("", "/auth/login", `{"email":"a@b.example","password":"x","password":"y"}`), 400, "account.invalid"},
		{"login: wrong type", send("", "/auth/login", `{"email":["a@b.example"],"password":"x"}`), 400, "account.invalid"},
		{"login: no object", send("", "/auth/login", `[]`), 400, "account.invalid"},
		{"login: more after it", send("", "/auth/login", loginBody(ada)+`{}`), 400, "account.invalid"},
		{"login: another media type", call{method: "POST", path: "/auth/login", body: loginBody(ada), header: http.Header{"Content-Type": {"text/plain"}}}, 415, "request.content"},
		{"login: too much", send("", "/auth/login", jsonOf("email", ada.Email, "password", strings.Repeat("x", 100_000))), 413, "request.body_too_large"},
		{"login: GET", call{path: "/auth/login", header: http.Header{"Accept": {"application/json"}}}, 405, "route.method"},
		{"register: no address", send("", "/auth/register", jsonOf("email", "nobody", "password", chosen)), 400, "account.invalid"},
		{"register: short", send("", "/auth/register", jsonOf("email", "x@json.example", "password", "fourteen chars")), 422, "account.password"},
		{"register: common", send("", "/auth/register", jsonOf("email", "x@json.example", "password", "passwordpassword")), 422, "account.password"},
		{"register: long", send("", "/auth/register", jsonOf("email", "x@json.example", "password", long)), 400, "account.invalid"},
		{"register: with roles", send("", "/auth/register", `{"email":"x@json.example","password":"`+chosen+`","roles":["zone-admin"]}`), 400, "account.invalid"},
		{"verify: no such token", send("", "/auth/verify", jsonOf("token", "none")), 410, "account.flow"},
		{"verify: no token", send("", "/auth/verify", `{}`), 400, "account.invalid"},
		{"recover: no address", send("", "/auth/recover", jsonOf("email", "a b")), 400, "account.invalid"},
		{"password: no such token", send("", "/auth/password", jsonOf("token", "none", "password", newer)), 410, "account.flow"},
		{"password: nobody", send("", "/auth/password", jsonOf("current", ada.Password, "password", newer)), 401, "auth.missing"},
		{"password: wrong", send(token, "/auth/password", jsonOf("current", "wrong", "password", newer)), 401, "auth.login"},
		{"password: without the one in force", send(token, "/auth/password", jsonOf("password", newer)), 400, "account.invalid"},
		{"password: short", send(token, "/auth/password", jsonOf("current", ada.Password, "password", "short")), 422, "account.password"},
		{"mfa: no such flow", send("", "/auth/mfa/totp", jsonOf("flow", "none", "code", "000000")), 410, "account.flow"},
		{"mfa: no code", send("", "/auth/mfa/totp", jsonOf("flow", "none")), 400, "account.invalid"},
		{"mfa: recovery", send("", "/auth/mfa/recovery", jsonOf("flow", "none", "code", "x")), 410, "account.flow"},
		{"mfa: passkey", send("", "/auth/mfa/passkey/begin", jsonOf("flow", "none")), 410, "account.flow"},
		{"passkey: no such flow", send("", "/auth/passkey", `{"flow":"none","response":{}}`), 410, "account.flow"},
		{"passkey: no response", send("", "/auth/passkey", jsonOf("flow", "none")), 400, "account.invalid"},
		{"bootstrap: no such token", send("", "/auth/bootstrap", jsonOf("token", "none", "email", "x@json.example", "password", chosen)), 410, "account.flow"},
		{"factors: nobody", call{path: "/auth/factors"}, 401, "auth.missing"},
		{"totp: nobody", send("", "/auth/factors/totp/begin", ""), 401, "auth.missing"},
		{"totp: not begun", send(token, "/auth/factors/totp", jsonOf("flow", "none", "code", "000000")), 410, "account.flow"},
		{"codes: without a factor", send(token, "/auth/factors/codes", ""), 409, "account.conflict"},
		{"factor: unknown", send(token, "/auth/factors/none/remove", ""), 404, "account.unknown"},
		{"email: no address", send(token, "/auth/email", jsonOf("email", "nobody")), 400, "account.invalid"},
		{"email: nobody", send("", "/auth/email", jsonOf("email", "x@json.example")), 401, "auth.missing"},
		{"profile: no such language", send(token, "/auth/profile", jsonOf("locale", "xx")), 400, "account.invalid"},
		{"profile: roles", send(token, "/auth/profile", `{"roles":["zone-admin"]}`), 400, "account.invalid"},
		{"sessions: nobody", call{path: "/auth/sessions"}, 401, "auth.missing"},
		{"sessions: unknown", send(token, "/auth/sessions/none/revoke", ""), 404, "account.unknown"},
		{"keys: no scope", send(token, "/auth/keys", `{"name":"x","scopes":[]}`), 400, "account.invalid"},
		{"keys: a scope that is not offered", send(token, "/auth/keys", `{"name":"x","scopes":["zone.admin"]}`), 400, "account.invalid"},
		{"keys: for ever", send(token, "/auth/keys", `{"name":"x","scopes":["things.read"],"expires":"99999"}`), 400, "account.invalid"},
		{"keys: unknown", send(token, "/auth/keys/none/revoke", ""), 404, "account.unknown"},
		{"grants: unknown", send(token, "/auth/grants/none/revoke", ""), 404, "account.unknown"},
		{"delete: nobody", send("", "/auth/delete", ""), 401, "auth.missing"},
		{"logout: nobody", send("", "/auth/logout", ""), 401, "auth.missing"},
		{"vault: one factor", call{path: "/vault", bearer: token}, 401, "auth.step_up"},
		{"a session that is none", call{path: "/auth/me", bearer: "sps_" + strings.Repeat("A", 43)}, 401, "auth.invalid"},
	} {
		got := s.do(c.call)
		if got.Status != c.status || got.reason() != c.reason {
			t.Errorf("%s: %d %s %.200s, want %d %s", c.name, got.Status, got.reason(), got.Body, c.status, c.reason)
		}
		if cookies := got.Header["Set-Cookie"]; len(cookies) > 0 {
			t.Errorf("%s: cookies %q", c.name, cookies)
		}
	}
	if got := s.do(call{path: "/mine", bearer: token}); got.Status != 200 { // positive control
		t.Errorf("the session after all that: %d %s", got.Status, got.Body)
	}
	s.login(ada)
	if list := s.letters("x@json.example"); len(list) > 0 {
		t.Errorf("letters came of refusals: %q", list)
	}
}

// jsonRegister registers, confirms, logs in and out, and recovers.
func jsonRegister(t *testing.T, s *accountSite) {
	bea := account{Email: "bea@json.example", Password: chosen}
	var step struct{ Step string }
	s.json(send("", "/auth/register", loginBody(bea)), 202, &step)
	if step.Step != "verify" {
		t.Errorf("after a registration the step is %q", step.Step)
	}
	tokenOf := func(subject, path string) string { return queryOf(s.link(bea.Email, subject, path))[len("?token="):] }
	token := tokenOf("Confirm your address", "/auth/verify")
	var user struct {
		ID, Email string
		Roles     []string
	}
	s.json(send("", "/auth/verify", jsonOf("token", token)), 200, &user)
	if user.ID == "" || user.Email != bea.Email || len(user.Roles) != 0 {
		t.Errorf("the user is %+v", user)
	}
	if got := s.do(send("", "/auth/verify", jsonOf("token", token))); got.reason() != "account.flow" {
		t.Errorf("a link that was used: %d %s", got.Status, got.reason())
	}
	bea.ID = user.ID
	var in struct {
		Token     string
		ExpiresAt string `json:"expires_at"`
		User      struct{ ID, Email string }
	}
	got := s.json(send("", "/auth/login", loginBody(bea)), 200, &in)
	if !tokenForm.MatchString(in.Token) || in.ExpiresAt == "" || in.User.ID != bea.ID || len(got.Header["Set-Cookie"]) > 0 || got.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("a login: %s %v", got.Body, got.Header)
	}
	s.letter(bea.Email, "New login")
	var me struct{ ID, Email string }
	if s.json(call{path: "/auth/me", bearer: in.Token}, 200, &me); me.ID != bea.ID || me.Email != bea.Email {
		t.Errorf("me: %+v", me)
	}
	other := s.login(bea)
	got = s.json(send(in.Token, "/auth/logout", ""), 204, nil)
	if clear := got.Header.Get("Clear-Site-Data"); !strings.Contains(clear, "storage") {
		t.Errorf("Clear-Site-Data: %q", clear)
	}
	alive := func(token string) string { return s.do(call{path: "/mine", bearer: token}).reason() }
	if one, two := alive(in.Token), alive(other); one != "auth.revoked" || two != "" {
		t.Errorf("after a logout the session: %q, another: %q", one, two)
	}
	third := s.login(bea)
	s.json(send(third, "/auth/logout", `{"everywhere":true}`), 204, nil)
	if one, two := alive(third), alive(other); one != "auth.revoked" || two != "auth.revoked" {
		t.Errorf("after a logout everywhere: %q, another: %q", one, two)
	}

	known := s.json(send("", "/auth/recover", jsonOf("email", bea.Email)), 202, nil)
	unknown := s.json(send("", "/auth/recover", jsonOf("email", "nobody@json.example")), 202, nil)
	if known.Body != unknown.Body {
		t.Errorf("recovery tells who is known: %q, %q", known.Body, unknown.Body)
	}
	token = tokenOf("Choose a new password", "/auth/password")
	if got := s.do(send("", "/auth/password", jsonOf("token", token, "password", "short"))); got.reason() != "account.password" {
		t.Errorf("a short password: %d %s", got.Status, got.reason())
	}
	s.json(send("", "/auth/password", jsonOf("token", token, "password", newer)), 204, nil)
	if got := s.do(send("", "/auth/password", jsonOf("token", token, "password", chosen))); got.reason() != "account.flow" {
		t.Errorf("a link that was used: %d %s", got.Status, got.reason())
	}
	s.letter(bea.Email, "password")
	bea.Password = newer
	s.login(bea)
	if list := s.letters("nobody@json.example"); len(list) > 0 {
		t.Errorf("letters to nobody: %q", list)
	}
}

// jsonFactors holds a second factor and logs in with it.
func jsonFactors(t *testing.T, s *accountSite) {
	cyd := s.addUser("cyd@json.example")
	token := s.login(cyd)
	var begun struct{ Flow, Secret, URI, QR string }
	s.json(send(token, "/auth/factors/totp/begin", ""), 200, &begun)
	if !strings.HasPrefix(begun.URI, "otpauth://totp/") || !strings.HasPrefix(begun.QR, "<svg") {
		t.Errorf("the app: %+v", begun)
	}
	phone := newApp(t, begun.Secret)
	if got := s.do(send(token, "/auth/factors/totp", jsonOf("flow", begun.Flow, "code", "000000"))); got.reason() != "account.factor" {
		t.Errorf("a wrong first code: %d %s", got.Status, got.reason())
	}
	var made struct {
		Factor struct{ ID, Kind, Name string }
		Codes  []string `json:"recovery_codes"`
	}
	s.codes(phone, token, "/auth/factors/totp", 201, &made, "flow", begun.Flow, "name", "Phone")
	if made.Factor.Kind != "totp" || made.Factor.Name != "Phone" || len(made.Codes) != 10 {
		t.Errorf("the factor: %+v", made)
	}
	if got := s.do(send(token, "/auth/factors/codes", "")); got.reason() != "auth.step_up" {
		t.Errorf("new codes for a session of one factor: %d %s", got.Status, got.reason())
	}

	// The session is raised: it goes on under a new token.
	var ask struct {
		Password bool
		Factors  []string
	}
	if s.json(call{path: "/auth/step-up", bearer: token}, 200, &ask); ask.Password || fmt.Sprint(ask.Factors) != "[totp recovery]" {
		t.Errorf("a step-up asks for %+v", ask)
	}
	type step struct {
		Step, Flow, Token string
		Factors           []string
	}
	var next, raised step
	if s.json(send(token, "/auth/step-up", `{}`), 200, &next); next.Step != "mfa" || next.Flow == "" || next.Token != "" {
		t.Fatalf("a step-up: %+v", next)
	}
	if got := s.do(send("", "/auth/mfa/totp", jsonOf("flow", next.Flow, "code", phone.again()))); got.reason() != "account.flow" {
		t.Errorf("the flow of a session, without it: %d %s", got.Status, got.reason())
	}
	s.codes(phone, token, "/auth/mfa/totp", 200, &raised, "flow", next.Flow)
	if raised.Token == "" || raised.Token == token {
		t.Errorf("a session that was raised: %+v", raised)
	}
	if was, is := s.do(call{path: "/vault", bearer: token}), s.do(call{path: "/vault", bearer: raised.Token}); was.Status != 401 || is.Status != 200 {
		t.Errorf("the vault by the old token: %d %s, by the new one: %d %s", was.Status, was.reason(), is.Status, is.reason())
	}

	login := func() (next step) {
		t.Helper()
		s.json(send("", "/auth/login", loginBody(cyd)), 200, &next)
		if next.Step != "mfa" || next.Token != "" || fmt.Sprint(next.Factors) != "[totp recovery]" {
			t.Fatalf("a login: %+v", next)
		}
		return next
	}
	flow := login().Flow
	if got := s.do(call{path: "/mine", bearer: flow}); got.Status != 401 {
		t.Errorf("a flow as a session: %d", got.Status)
	}
	if got := s.do(send("", "/auth/mfa/totp", jsonOf("flow", flow, "code", phone.again()))); got.reason() != "account.factor" {
		t.Errorf("a code that was used: %d %s", got.Status, got.reason())
	}
	var in step
	s.codes(phone, "", "/auth/mfa/totp", 200, &in, "flow", flow)
	if got := s.do(call{path: "/vault", bearer: in.Token}); got.Status != 200 {
		t.Errorf("the vault: %d %s", got.Status, got.reason())
	}
	if got := s.do(send("", "/auth/mfa/recovery", jsonOf("flow", flow, "code", made.Codes[0]))); got.reason() != "account.flow" {
		t.Errorf("a flow that was used: %d %s", got.Status, got.reason())
	}
	s.json(send("", "/auth/mfa/recovery", jsonOf("flow", login().Flow, "code", made.Codes[0])), 200, &in)
	if got := s.do(send("", "/auth/mfa/recovery", jsonOf("flow", login().Flow, "code", made.Codes[0]))); got.reason() != "account.factor" {
		t.Errorf("a recovery code that was used: %d %s", got.Status, got.reason())
	}

	// A flow ends with its tries, whatever comes then.
	flow = login().Flow
	reasons := map[string]int{}
	for range 8 {
		reasons[s.do(send("", "/auth/mfa/recovery", jsonOf("flow", flow, "code", "aaaa-aaaa"))).reason()]++
	}
	if got := s.do(send("", "/auth/mfa/recovery", jsonOf("flow", flow, "code", made.Codes[1]))); got.Status == 200 || reasons["account.factor"] > 5 {
		t.Errorf("after %v a right code: %d %s", reasons, got.Status, got.reason())
	}

	// A letter never stands for a factor.
	s.json(send("", "/auth/recover", jsonOf("email", cyd.Email)), 202, nil)
	link := s.post.NextTo(t, cyd.Email, "Choose a new password").Link(t, "/auth/password").String()
	s.json(send("", "/auth/password", jsonOf("token", queryOf(link)[len("?token="):], "password", newer)), 204, nil)
	cyd.Password = newer
	login()
	if got := s.do(call{path: "/mine", bearer: in.Token}); got.reason() != "auth.revoked" {
		t.Errorf("a session from before the recovery: %d %s", got.Status, got.reason())
	}

	// What a browser is asked for a passkey.
	var ceremony struct {
		Flow    string
		Options json.RawMessage
	}
	s.json(send("", "/auth/passkey/begin", ""), 200, &ceremony)
	var options struct {
		PublicKey struct{ Challenge, RPID, UserVerification string }
		Challenge string
		RPID      string `json:"rpId"`
	}
	if err := json.Unmarshal(ceremony.Options, &options); err != nil || ceremony.Flow == "" ||
		options.PublicKey.Challenge+options.Challenge == "" || options.PublicKey.RPID+options.RPID != "localhost" || strings.Contains(string(ceremony.Options), "allowCredentials\":[{") {
		t.Errorf("a passkey is asked for by %s (%v)", ceremony.Options, err)
	}
}

// jsonAccount looks at what is kept, changes it and deletes it.
func jsonAccount(t *testing.T, s *accountSite) {
	dov, eli := s.addUser("dov@json.example"), s.addUser("eli@json.example")
	token, foreign := s.login(dov), s.login(eli)
	var kept struct {
		ID, Email, Name, Locale string
		Verified                bool
		Sessions                []struct {
			ID, Client, Method string
			Level              int
			Current            bool
		}
		Factors, Providers, Grants, Keys []any
	}
	s.json(send(token, "/auth/profile", jsonOf("name", "Dov", "locale", "de")), 200, nil)
	s.json(call{path: "/auth/account", bearer: token}, 200, &kept)
	if kept.ID != dov.ID || kept.Email != dov.Email || kept.Name != "Dov" || kept.Locale != "de" || !kept.Verified || len(kept.Sessions) != 1 ||
		!kept.Sessions[0].Current || kept.Sessions[0].Level != 1 || kept.Sessions[0].Method != "password" || kept.Factors == nil || kept.Grants == nil {
		t.Errorf("the account: %+v", kept)
	}
	if got := s.do(send(foreign, "/auth/sessions/"+kept.Sessions[0].ID+"/revoke", "")); got.reason() != "account.unknown" {
		t.Errorf("the session of another: %d %s", got.Status, got.reason())
	}
	second := s.login(dov)
	var revoked struct{ Revoked int }
	if s.json(send(token, "/auth/sessions/revoke-others", ""), 200, &revoked); revoked.Revoked != 1 {
		t.Errorf("revoked %+v", revoked)
	}
	if got := s.do(call{path: "/mine", bearer: second}); got.reason() != "auth.revoked" {
		t.Errorf("the other session: %d %s", got.Status, got.reason())
	}

	var key struct{ ID, Name, Key string }
	got := s.json(send(token, "/auth/keys", `{"name":"backup","scopes":["things.read"],"expires":"7"}`), 201, &key)
	if got := s.do(call{path: "/things", bearer: key.Key}); got.Status != 200 {
		t.Errorf("the key: %d %s; made: %s", got.Status, got.reason(), got.Body)
	}
	if list := s.json(call{path: "/auth/keys", bearer: token}, 200, nil); strings.Contains(list.Body, key.Key) || !strings.Contains(list.Body, key.ID) {
		t.Errorf("the keys: %s, made: %s", list.Body, got.Body)
	}
	if got := s.do(send(foreign, "/auth/keys/"+key.ID+"/revoke", "")); got.reason() != "account.unknown" {
		t.Errorf("the key of another: %d %s", got.Status, got.reason())
	}
	var grants struct{ Grants []any }
	if s.json(call{path: "/auth/grants", bearer: token}, 200, &grants); grants.Grants == nil || len(grants.Grants) > 0 {
		t.Errorf("the grants: %+v", grants)
	}

	s.json(send(token, "/auth/password", jsonOf("current", dov.Password, "password", newer)), 204, nil)
	dov.Password = newer
	if got := s.do(call{path: "/mine", bearer: token}); got.Status != 200 {
		t.Errorf("the session that changed the password: %d %s", got.Status, got.reason())
	}
	var due struct {
		DeleteAt string `json:"delete_at"`
	}
	if s.json(send(token, "/auth/delete", ""), 200, &due); due.DeleteAt == "" {
		t.Error("no day of the deletion is told")
	}
	for name, credential := range map[string]string{"session": token, "key": key.Key} {
		if got := s.do(call{path: "/things", bearer: credential}); got.Status != 401 {
			t.Errorf("the %s of an account that is to be deleted: %d %s", name, got.Status, got.reason())
		}
	}
	var in struct {
		Token    string
		DeleteAt string `json:"delete_at"`
	}
	if s.json(send("", "/auth/login", loginBody(dov)), 200, &in); in.DeleteAt != due.DeleteAt {
		t.Errorf("a login tells of a deletion at %q, want %q", in.DeleteAt, due.DeleteAt)
	}
	s.json(send(in.Token, "/auth/delete/cancel", ""), 204, nil)
	if s.json(call{path: "/auth/account", bearer: in.Token}, 200, &due); strings.Contains(s.do(call{path: "/auth/account", bearer: in.Token}).Body, "delete_at") {
		t.Error("the account is still to be deleted")
	}
}

// jsonNewDevice: the user is told of the first login from a network, not of more.
func jsonNewDevice(t *testing.T, s *accountSite) {
	fox := s.addUser("fox@json.example")
	s.login(fox)
	s.letter(fox.Email, "New login")
	s.login(fox) // no letter
	elsewhere := s.client(func(tr *http.Transport) {
		tr.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			return (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
		}
	})
	s.loginWith(elsewhere, fox)
	if m := s.letter(fox.Email, "New login"); !strings.Contains(m.Text, "127.0.0.2") || !strings.Contains(m.Text, "Go") {
		t.Errorf("the letter does not say from where:\n%s", m.Text)
	}
	s.loginWith(elsewhere, fox) // no letter
	s.json(send("", "/auth/recover", jsonOf("email", fox.Email)), 202, nil)
	s.letter(fox.Email, "Choose a new password")
	if list := s.letters(fox.Email); len(list) != 3 {
		t.Errorf("the letters are %q", list)
	}
}
