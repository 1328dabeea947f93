package identity

import (
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/broker"
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// ada is who the provider says has logged in.
func ada() broker.Claims {
	return broker.Claims{Issuer: "https://search.example", Subject: "sub-ada", Email: "ada@shop.example", EmailVerified: true, Name: "Ada"}
}

// leaves posts the button of a provider and returns the handle of its answer.
func (b *pageBrowser) leaves(name string) string {
	b.w.t.Helper()
	rec := b.post("/auth/providers/"+name, "next", "/shop")
	to, ok := strings.CutPrefix(rec.Header().Get("Refresh"), "0; url=")
	u, err := url.Parse(to)
	if rec.Code != 200 || !ok || err != nil || u.Host != name+".example" {
		b.w.t.Fatalf("the button of %s: %d %v %s", name, rec.Code, rec.Header(), rec.Body)
	}
	return u.Query().Get("state")
}

// returns has the browser come back with the answer of OpenID Connect.
func (b *pageBrowser) returns(name, handle string) *httptest.ResponseRecorder {
	b.w.t.Helper()
	return b.do("GET", "/auth/providers/"+name+"/callback?code=c&state="+handle, "", "Sec-Fetch-Site", "cross-site")
}

func (w *world) wantConnected(user string, want int) {
	w.t.Helper()
	if n := w.number("SELECT COUNT(*) FROM connections WHERE user_id = ?", user); n != want {
		w.t.Errorf("%d connections, want %d", n, want)
	}
}

func TestProviderMakesAccount(t *testing.T) {
	w := newMailWorld(t)
	w.useBroker(ada())
	b := w.browser()
	if rec := b.get("/auth/login"); !strings.Contains(rec.Body.String(), "/auth/providers/search") {
		t.Error("the login page has no button")
	}
	handle := b.leaves("search")
	rec := b.returns("search", handle)
	if rec.Code != 303 || rec.Header().Get("Location") != "/shop" {
		t.Fatalf("the answer: %d %v %s", rec.Code, rec.Header(), rec.Body)
	}
	u, err := w.id.User(t.Context(), "ada@shop.example")
	if err != nil || !u.Verified || len(u.Roles) != 0 || u.Name != "Ada" || b.loggedIn() != u.ID {
		t.Errorf("%+v %v; logged in is %q", u, err, b.loggedIn())
	}
	w.expect("the answer again", b.returns("search", handle), 410, problem.AccountFlow)

	w.useBroker(broker.Claims{Issuer: "https://search.example", Subject: "sub-ada", Email: "moved@elsewhere.example"})
	again := w.browser()
	if rec := again.returns("search", again.leaves("search")); rec.Code != 303 || again.loggedIn() != u.ID {
		t.Errorf("by issuer and subject alone: %d", rec.Code)
	}
	if n := w.number("SELECT COUNT(*) FROM users"); n != 1 {
		t.Errorf("%d users", n)
	}
}

// TestProviderMakesNone: what must not make an account, and tells nothing of others.
func TestProviderMakesNone(t *testing.T) {
	unverified := ada()
	unverified.EmailVerified = false
	none := ada()
	none.Email = ""
	odd := ada()
	odd.Email = "ada@shop.example\r\nBcc: x@y.example"
	for name, c := range map[string]struct {
		claims broker.Claims
		mode   zone.Registration
		exists bool
	}{
		"unverified": {unverified, zone.RegistrationOpen, false}, "unverified and taken": {unverified, zone.RegistrationOpen, true},
		"without an address": {none, zone.RegistrationOpen, false}, "no address": {odd, zone.RegistrationOpen, false},
		"invited": {ada(), zone.RegistrationInvited, false}, "closed": {ada(), zone.RegistrationClosed, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newMailWorld(t)
			w.id.zone.Identity.Registration = c.mode
			w.useBroker(c.claims)
			if c.exists {
				w.addUser("ada@shop.example", goodPassword)
			}
			before := w.number("SELECT COUNT(*) FROM users")
			b := w.browser()
			w.expect("the answer", b.returns("search", b.leaves("search")), 409, problem.AccountConflict)
			if b.loggedIn() != "" || w.number("SELECT COUNT(*) FROM users") != before || w.number("SELECT COUNT(*) FROM connections") != 0 {
				t.Error("somebody is in")
			}
		})
	}
}

// TestProviderFlowIsBound: an answer counts in the browser that asked, at the
// provider that was asked, in its time.
func TestProviderFlowIsBound(t *testing.T) {
	w := newMailWorld(t)
	w.useBroker(ada())
	b := w.browser()
	handle := b.leaves("search")
	thief := w.browser()
	thief.get("/auth/login")
	w.expect("another browser", thief.returns("search", handle), 410, problem.AccountFlow)
	w.expect("another provider", b.returns("hub", b.leaves("search")), 410, problem.AccountFlow)
	if rec := b.returns("search", handle); rec.Code != 303 {
		t.Errorf("its own browser, after another tried: %d", rec.Code)
	}
	late := w.browser()
	handle = late.leaves("search")
	w.now.advance(providerLife)
	w.expect("late", late.returns("search", handle), 410, problem.AccountFlow)
	w.expect("a flow of nothing", late.returns("search", "x"), 410, problem.AccountFlow)
	w.expect("a provider that is not listed", late.post("/auth/providers/evil"), 404, problem.ProviderUnknown)
	w.expect("its answer", late.returns("evil", handle), 404, problem.ProviderUnknown)
	w.expect("JSON", w.post("/auth/providers/search", "{}"), 415, problem.RequestContent)
}

func TestProviderRefuses(t *testing.T) {
	w := newMailWorld(t)
	fake := w.useBroker(ada())
	fake.err = problem.New(problem.ProviderDenied, nil)
	b := w.browser()
	handle := b.leaves("search")
	w.expect("denied", b.returns("search", handle), 403, problem.ProviderDenied)
	fake.err = nil
	w.expect("its flow is spent", b.returns("search", handle), 410, problem.AccountFlow)
}

// TestSAML: the answer comes by a POST of another site without cookies, and is for
// the browser that asked.
func TestSAML(t *testing.T) {
	w := newMailWorld(t)
	c := ada()
	c.EmailVerified = false // which SAML cannot say
	w.useBroker(c)
	u := w.addUser("ada@shop.example", goodPassword)
	b := w.browser()
	b.loginAs(u.ID, 1)
	acs := func(b *pageBrowser, handle string) *httptest.ResponseRecorder {
		return b.do("POST", "/auth/providers/school/acs", "SAMLResponse=x&RelayState="+handle, "Sec-Fetch-Site", "cross-site", "Origin", "https://school.example")
	}
	handle := b.leaves("school")
	rec := acs(b, handle)
	to := rec.Header().Get("Location")
	if rec.Code != 303 || !strings.HasPrefix(to, "/auth/providers/school/callback?flow=") || len(rec.Result().Cookies()) != 0 {
		t.Fatalf("acs: %d %v %s", rec.Code, rec.Header(), rec.Body)
	}
	w.wantConnected(u.ID, 0)
	w.expect("acs again", acs(b, handle), 410, problem.AccountFlow)
	thief := w.browser()
	thief.loginAs(u.ID, 1)
	w.expect("another browser", thief.get(to), 410, problem.AccountFlow)
	if rec := b.get(to); rec.Code != 303 || rec.Header().Get("Location") != "/auth/account?notice=provider_linked" {
		t.Fatalf("the browser after it: %d %s", rec.Code, rec.Body)
	}
	w.wantConnected(u.ID, 1)
	w.expect("once more", b.get(to), 410, problem.AccountFlow)
	w.oneLetter("ada@shop.example", "School")
	w.expect("acs of another kind", b.do("POST", "/auth/providers/search/acs", "SAMLResponse=x&RelayState="+b.leaves("search"), "Sec-Fetch-Site", "cross-site"), 404, problem.ProviderUnknown)
	if rec := w.do(ask{method: "GET", path: "/auth/providers/school/metadata"}); rec.Code != 200 || rec.Header().Get("Content-Type") != "application/samlmetadata+xml" {
		t.Errorf("metadata: %d", rec.Code)
	}
	login := w.browser()
	rec = acs(login, login.leaves("school"))
	if rec = login.get(rec.Header().Get("Location")); rec.Code != 303 || login.loggedIn() != u.ID {
		t.Errorf("login by SAML: %d", rec.Code)
	}
	routes := w.id.Routes()
	if i := slices.IndexFunc(routes, func(r Route) bool { return r.CrossSite }); i < 0 || !strings.HasSuffix(routes[i].Path, "/acs") || slices.ContainsFunc(routes[i+1:], func(r Route) bool { return r.CrossSite }) {
		t.Error("other routes than acs are open to other sites")
	}
}

func TestConnectFromAccount(t *testing.T) {
	w := newMailWorld(t)
	w.useBroker(ada())
	u, eve := w.addUser("ada@shop.example", goodPassword), w.addUser("eve@shop.example", goodPassword)
	b := w.browser()
	b.loginAs(u.ID, 1)
	handle := b.leaves("search")
	own := b.cookies[CookieName]
	b.loginAs(eve.ID, 1) // somebody else logs in meanwhile
	w.expect("another user", b.returns("search", handle), 410, problem.AccountFlow)
	b.cookies[CookieName] = own
	if rec := b.returns("search", b.leaves("search")); rec.Code != 303 || rec.Header().Get("Location") != "/auth/account?notice=provider_linked" {
		t.Fatalf("connect: %d %s", rec.Code, rec.Body)
	}
	w.wantConnected(u.ID, 1)
	w.oneLetter("ada@shop.example", "Search")

	thief := w.browser()
	thief.loginAs(eve.ID, 1)
	w.expect("who opens another account", thief.returns("search", thief.leaves("search")), 409, problem.AccountConflict)
	w.wantConnected(eve.ID, 0)

	second := ada()
	second.Subject = "sub-other"
	w.useBroker(second)
	w.expect("a second of the provider", b.returns("search", b.leaves("search")), 409, problem.AccountConflict)

	w.now.advance(freshFor + time.Second)
	if rec := b.post("/auth/providers/hub"); rec.Code != 303 || !strings.HasPrefix(rec.Header().Get("Location"), "/auth/step-up") {
		t.Errorf("an old login: %d %v", rec.Code, rec.Header())
	}
}

func TestLink(t *testing.T) {
	w := newMailWorld(t)
	w.useBroker(ada())
	u := w.addUser("ada@shop.example", goodPassword)
	b := w.browser()
	rec := b.returns("search", b.leaves("search"))
	token := flowIn(rec.Body.String())
	if rec.Code != 200 || !isFlow(token) || b.loggedIn() != "" {
		t.Fatalf("the page: %d %s", rec.Code, rec.Body)
	}
	w.wantConnected(u.ID, 0)
	const path = "/auth/providers/search/link"
	thief := w.browser()
	thief.get("/auth/login")
	w.expect("another browser, with the password", thief.post(path, "flow", token, "password", goodPassword), 410, problem.AccountFlow)
	w.expect("at another provider", b.post("/auth/providers/hub/link", "flow", token, "password", goodPassword), 410, problem.AccountFlow)
	if rec := b.post(path, "flow", token, "password", "not the password"); rec.Code != 401 || !strings.Contains(rec.Body.String(), token) {
		t.Errorf("a wrong password: %d", rec.Code)
	}
	w.wantConnected(u.ID, 0)
	rec = b.post(path, "flow", token, "password", goodPassword)
	if rec.Code != 303 || rec.Header().Get("Location") != "/shop" || b.loggedIn() != u.ID {
		t.Fatalf("link: %d %v %s", rec.Code, rec.Header(), rec.Body)
	}
	w.wantConnected(u.ID, 1)
	if kinds := w.letters.take(); !slices.Contains(kinds, "provider-linked") {
		t.Errorf("letters %q", kinds)
	}
	w.expect("again", b.post(path, "flow", token, "password", goodPassword), 410, problem.AccountFlow)
	phone := w.browser()
	if rec := phone.returns("search", phone.leaves("search")); rec.Code != 303 || phone.loggedIn() != u.ID {
		t.Errorf("from then on: %d", rec.Code)
	}
}

// TestLinkTries: five wrong passwords end the answer.
func TestLinkTries(t *testing.T) {
	w := newMailWorld(t)
	w.useBroker(ada())
	u := w.addUser("ada@shop.example", goodPassword)
	b := w.browser()
	token := flowIn(b.returns("search", b.leaves("search")).Body.String())
	for range linkTries {
		b.post("/auth/providers/search/link", "flow", token, "password", "not the password")
	}
	w.expect("the right one after it", b.post("/auth/providers/search/link", "flow", token, "password", goodPassword), 410, problem.AccountFlow)
	w.wantConnected(u.ID, 0)
}

// TestLinkWithFactor: the password alone leaves no other way in behind.
func TestLinkWithFactor(t *testing.T) {
	w := newMailWorld(t)
	w.useBroker(ada())
	u := w.addUser("ada@shop.example", goodPassword)
	app := w.giveApp(u.ID)
	b := w.browser()
	token := flowIn(b.returns("search", b.leaves("search")).Body.String())
	rec := b.post("/auth/providers/search/link", "flow", token, "password", goodPassword)
	step := flowIn(rec.Body.String())
	if rec.Code != 200 || !isFlow(step) || b.loggedIn() != "" {
		t.Fatalf("after the password: %d %s", rec.Code, rec.Body)
	}
	w.wantConnected(u.ID, 0)
	w.expect("past the factor", b.get("/auth/providers/search/link?flow="+token), 303, problem.AuthMissing)
	one := w.own(u.ID)
	b.cookies[CookieName] = one
	w.expect("with one factor", b.get("/auth/providers/search/link?flow="+token), 303, problem.AuthStepUp)
	delete(b.cookies, CookieName)
	w.wantConnected(u.ID, 0)
	rec = b.post("/auth/mfa/totp", "flow", step, "code", w.code(app), "next", "/")
	to := rec.Header().Get("Location")
	if rec.Code != 303 || b.loggedIn() != u.ID {
		t.Fatalf("the factor: %d %s", rec.Code, rec.Body)
	}
	if !strings.HasPrefix(to, "/auth/providers/search/link?flow=") {
		t.Fatalf("it leads to %q", to)
	}
	if rec := b.get(to); rec.Code != 303 || rec.Header().Get("Location") != "/auth/account?notice=provider_linked" {
		t.Errorf("link: %d %s", rec.Code, rec.Body)
	}
	w.wantConnected(u.ID, 1)

	phone := w.browser() // a provider is one factor: the other is asked for
	rec = phone.returns("search", phone.leaves("search"))
	if rec.Code != 200 || !isFlow(flowIn(rec.Body.String())) || phone.loggedIn() != "" {
		t.Errorf("login by the provider: %d", rec.Code)
	}
}

// TestNoTakeover are the ways in which somebody at a provider has tried to get at an
// account of another (research: linking by an address that nobody verified).
func TestNoTakeover(t *testing.T) {
	t.Run("local address never shown", func(t *testing.T) {
		w := newMailWorld(t)
		w.useBroker(ada())
		u, err := w.id.addUser(t.Context(), "ada@shop.example", goodPassword, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		b := w.browser()
		w.expect("the answer", b.returns("search", b.leaves("search")), 409, problem.AccountConflict)
		w.wantConnected(u.ID, 0)
	})
	t.Run("address given up between answer and password", func(t *testing.T) {
		w := newMailWorld(t)
		w.useBroker(ada())
		u := w.addUser("ada@shop.example", goodPassword)
		b := w.browser()
		token := flowIn(b.returns("search", b.leaves("search")).Body.String())
		w.exec("UPDATE users SET email = 'new@shop.example', email_key = 'new@shop.example'")
		w.expect("link", b.post("/auth/providers/search/link", "flow", token, "password", goodPassword), 410, problem.AccountFlow)
		w.wantConnected(u.ID, 0)
	})
	t.Run("password changed meanwhile", func(t *testing.T) {
		w := newMailWorld(t)
		w.useBroker(ada())
		u := w.addUser("ada@shop.example", goodPassword)
		b := w.browser()
		token := flowIn(b.returns("search", b.leaves("search")).Body.String())
		if err := w.id.SetPassword(t.Context(), u.ID, "another long password"); err != nil {
			t.Fatal(err)
		}
		w.expect("link", b.post("/auth/providers/search/link", "flow", token, "password", "another long password"), 410, problem.AccountFlow)
		w.wantConnected(u.ID, 0)
	})
	t.Run("flow of one account, password of another", func(t *testing.T) {
		w := newMailWorld(t)
		w.useBroker(ada())
		u := w.addUser("ada@shop.example", goodPassword)
		w.addUser("eve@shop.example", "the password of eve")
		b := w.browser()
		token := flowIn(b.returns("search", b.leaves("search")).Body.String())
		if rec := b.post("/auth/providers/search/link", "flow", token, "password", "the password of eve"); rec.Code != 401 {
			t.Errorf("link: %d", rec.Code)
		}
		w.wantConnected(u.ID, 0)
	})
	t.Run("disabled", func(t *testing.T) {
		w := newMailWorld(t)
		w.useBroker(ada())
		u := w.addUser("ada@shop.example", goodPassword)
		b := w.browser()
		b.loginAs(u.ID, 1)
		b.returns("search", b.leaves("search"))
		w.wantConnected(u.ID, 1)
		if err := w.id.SetDisabled(t.Context(), u.ID, true); err != nil {
			t.Fatal(err)
		}
		other := w.browser()
		w.expect("the answer", other.returns("search", other.leaves("search")), 403, problem.ProviderDenied)
		if other.loggedIn() != "" {
			t.Error("logged in")
		}
	})
	t.Run("same subject at another issuer", func(t *testing.T) {
		w := newMailWorld(t)
		w.useBroker(ada())
		u := w.addUser("ada@shop.example", goodPassword)
		b := w.browser()
		b.loginAs(u.ID, 1)
		b.returns("search", b.leaves("search"))
		c := ada()
		c.Issuer, c.Email, c.EmailVerified = "https://github.com", "thief@elsewhere.example", false
		w.useBroker(c)
		thief := w.browser()
		w.expect("the answer", thief.returns("hub", thief.leaves("hub")), 409, problem.AccountConflict)
		if thief.loggedIn() != "" {
			t.Error("logged in")
		}
	})
	t.Run("link posted from another site", func(t *testing.T) {
		w := newMailWorld(t)
		w.useBroker(ada())
		b := w.browser()
		rec := b.do("POST", "/auth/providers/search", "", "Sec-Fetch-Site", "cross-site")
		w.expect("begun elsewhere", rec, 403, problem.AuthCrossSite)
	})
}

func TestUnlink(t *testing.T) {
	w := newMailWorld(t)
	w.useBroker(ada())
	b := w.browser()
	b.returns("search", b.leaves("search")) // an account without a password
	u, err := w.id.User(t.Context(), "ada@shop.example")
	if err != nil {
		t.Fatal(err)
	}
	const path = "/auth/providers/search/unlink"
	w.expect("the last way in", b.post(path), 409, problem.AccountConflict)
	w.wantConnected(u.ID, 1)
	w.expect("nobody", w.post(path, "{}"), 401, problem.AuthMissing)
	if rec := b.post(passwordPath, "password", "another long password"); rec.Code != 303 {
		t.Fatalf("a first password: %d %s", rec.Code, rec.Body)
	}
	if rec := b.post(path); rec.Code != 303 || rec.Header().Get("Location") != "/auth/account?notice=provider_unlinked" {
		t.Errorf("unlink: %d %s", rec.Code, rec.Body)
	}
	w.wantConnected(u.ID, 0)
	w.expect("again", b.post(path), 404, problem.AccountUnknown)
	if !w.logsIn("ada@shop.example", "another long password") {
		t.Error("the password does not open the account")
	}
}

// TestProviderAgain: who has nothing but a provider to show goes there again, and
// comes back as who they were.
func TestProviderAgain(t *testing.T) {
	w := newMailWorld(t)
	fake := w.useBroker(ada())
	b := w.browser()
	b.returns("search", b.leaves("search"))
	user := b.loggedIn()
	w.now.advance(freshFor + time.Second)
	if rec := b.get("/auth/delete"); rec.Code != 303 || !strings.HasPrefix(rec.Header().Get("Location"), "/auth/step-up") {
		t.Fatalf("an old login: %d %v", rec.Code, rec.Header())
	}
	if rec := b.get("/auth/step-up?next=/auth/delete"); !strings.Contains(rec.Body.String(), "/auth/providers/search") {
		t.Fatalf("the step-up: %d %s", rec.Code, rec.Body)
	}
	handle := b.leaves("search")
	if asked := fake.asked[len(fake.asked)-1]; !asked.Fresh {
		t.Error("the provider was not asked to log in anew")
	}
	fake.claims.Subject = "sub-eve"
	w.expect("as somebody else", b.returns("search", handle), 409, problem.AccountConflict)
	fake.claims.Subject = "sub-ada"
	if rec := b.returns("search", b.leaves("search")); rec.Code != 303 || b.loggedIn() != user {
		t.Fatalf("again: %d", rec.Code)
	}
	if rec := b.get("/auth/delete"); rec.Code != 200 {
		t.Errorf("after it: %d", rec.Code)
	}
	if rec := b.post("/auth/providers/hub"); rec.Code != 200 {
		t.Errorf("connecting another one: %d", rec.Code)
	}
}
