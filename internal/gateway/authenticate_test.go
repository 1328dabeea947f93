package gateway

import (
	"bufio"
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// clock is a clock that stands still until it is set.
type clock struct {
	begin  sync.Once
	start  time.Time
	offset atomic.Int64
}

func (c *clock) now() time.Time {
	c.begin.Do(func() { c.start = time.Now() })
	return c.start.Add(time.Duration(c.offset.Load()))
}

func (c *clock) advance(d time.Duration) { c.offset.Add(int64(d)) }

func userDoor(t *testing.T, edit ...func(*Config)) *door {
	t.Helper()
	return openDoor(t, []*zone.Route{
		{Method: "GET", Path: "/me", Allow: zone.AllowUser},
		{Method: "POST", Path: "/me", Allow: zone.AllowUser},
		{Method: "GET", Path: "/open", Allow: zone.AllowAnonymous},
	}, edit...)
}

func TestPrincipalIsRemembered(t *testing.T) {
	var c clock
	d := userDoor(t, func(cfg *Config) { cfg.Clock = c.now })
	h := d.client(false)
	get := func(want int) {
		t.Helper()
		if got := d.do(h, "GET", "/me", "", "Authorization: Bearer "+aliceToken); got.status != want {
			t.Fatalf("got %d %s, want %d", got.status, got.body, want)
		}
	}
	for range 5 {
		get(200)
	}
	if n, m := d.auth.count(), d.tokens.count(); n != 1 || m != 1 {
		t.Errorf("5 requests: asked %d times, minted %d tokens; want 1, 1", n, m)
	}
	c.advance(29 * time.Second)
	get(200)
	if n := d.auth.count(); n != 1 {
		t.Errorf("after 29 s: asked %d times, want 1", n)
	}
	c.advance(2 * time.Second)
	get(200)
	if n := d.auth.count(); n != 2 {
		t.Errorf("after 31 s: asked %d times, want 2", n)
	}
	// The same credential in another place is another question.
	if got := d.do(h, "GET", "/me", "", "Cookie: __Host-session="+aliceToken); got.status != 200 {
		t.Errorf("as a cookie: got %d", got.status)
	}
	if n := d.auth.count(); n != 3 {
		t.Errorf("as a cookie: asked %d times, want 3", n)
	}
}

func TestPrincipalNotBelievedPastItsSession(t *testing.T) {
	var c clock
	d := userDoor(t, func(cfg *Config) { cfg.Clock = c.now })
	d.auth.until = c.now().Add(10 * time.Second)
	h := d.client(false)
	if got := d.do(h, "GET", "/me", "", "Authorization: Bearer "+aliceToken); got.status != 200 {
		t.Fatalf("positive control: got %d", got.status)
	}
	c.advance(11 * time.Second)
	d.refused("past the end", d.do(h, "GET", "/me", "", "Authorization: Bearer "+aliceToken), problem.AuthExpired)
}

func TestForget(t *testing.T) {
	for _, c := range []struct {
		what   string
		forget func(*Gateway)
		asked  int
	}{
		{"nothing", func(*Gateway) {}, 1},
		{"the credential", func(g *Gateway) { g.Forget(hashOf(aliceToken)) }, 2},
		{"the subject", func(g *Gateway) { g.ForgetSubject("alice") }, 2},
		{"another credential", func(g *Gateway) { g.Forget(hashOf(rootToken)) }, 1},
		{"another subject", func(g *Gateway) { g.ForgetSubject("root") }, 1},
	} {
		var stands clock // what is remembered does not grow old meanwhile
		d := userDoor(t, func(cfg *Config) { cfg.Clock = stands.now })
		h := d.client(false)
		for range 2 {
			if got := d.do(h, "GET", "/me", "", "Authorization: Bearer "+aliceToken); got.status != 200 {
				t.Fatalf("forgetting %s: got %d", c.what, got.status)
			}
			c.forget(d.gateway)
		}
		if n, m := d.auth.count(), d.tokens.count(); n != c.asked || m != c.asked {
			t.Errorf("forgetting %s: asked %d times, minted %d tokens; want %d of each", c.what, n, m, c.asked)
		}
	}
}

// TestRevocationBeatsLookup: a look-up that was under way when its credential was
// revoked says what was true before. Nothing of it may be remembered, and no
// request that began afterwards may wait for it.
func TestRevocationBeatsLookup(t *testing.T) {
	d := userDoor(t)
	under, revoked := make(chan struct{}), make(chan struct{})
	var asked atomic.Int64
	d.auth.before = func(Credential) {
		if asked.Add(1) == 1 { // the first look-up is slow
			close(under)
			<-revoked
		}
	}
	first := make(chan result, 1)
	go func() {
		first <- d.do(d.client(false), "GET", "/me", "", "Authorization: Bearer "+aliceToken)
	}()
	<-under
	d.auth.set(aliceToken, policy.Principal{Kind: policy.User, Subject: "alice-after"})
	d.gateway.Forget(hashOf(aliceToken))
	// It began after the revocation: it must not join the question that is under way.
	if got := d.do(d.client(false), "GET", "/me", "", "Authorization: Bearer "+aliceToken); got.status != 200 || d.last().Principal != "alice-after" {
		t.Errorf("request after the revocation: got %d as %s", got.status, d.last().Principal)
	}
	d.gateway.Forget(hashOf(aliceToken))
	d.auth.set(aliceToken, policy.Principal{Kind: policy.User, Subject: "alice-before"}) // what the slow one will have seen
	close(revoked)
	<-first
	d.auth.set(aliceToken, policy.Principal{Kind: policy.User, Subject: "alice-now"})
	if got := d.do(d.client(false), "GET", "/me", "", "Authorization: Bearer "+aliceToken); got.status != 200 || d.last().Principal != "alice-now" {
		t.Errorf("the outdated look-up was remembered: got %d as %s", got.status, d.last().Principal)
	}
}

// TestLookupsAreShared: many requests that ask the same at a time ask once, and
// one of them that is given up does not take the answer from the others.
func TestLookupsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &door{t: t}
		g, err := New(testConfig(d, testZone("127.0.0.1:1")))
		if err != nil {
			t.Fatal(err)
		}
		hold := make(chan struct{})
		d.auth.before = func(Credential) { <-hold }
		cred := Credential{Kind: BearerCredential, Value: aliceToken, Hash: hashOf(aliceToken)}
		var ok, given atomic.Int64
		impatient, giveUp := context.WithCancel(t.Context())
		for i := range 20 {
			ctx := t.Context()
			if i%2 == 0 {
				ctx = impatient
			}
			go func() {
				e, err := g.lookup(ctx, credentialKey{cred.Hash, cred.Kind}, cred)
				switch {
				case err == nil && e.principal.Subject == "alice":
					ok.Add(1)
				case errors.Is(err, context.Canceled):
					given.Add(1)
				}
			}()
		}
		synctest.Wait() // all ask
		giveUp()
		synctest.Wait()
		close(hold)
		synctest.Wait()
		if n := d.auth.count(); n != 1 || ok.Load() != 10 || given.Load() != 10 {
			t.Errorf("20 requests, half of them given up: asked %d times, %d answered, %d given up; want 1, 10, 10", n, ok.Load(), given.Load())
		}
	})
}

func TestRefusedCredentials(t *testing.T) {
	for _, c := range []struct {
		err  error
		want problem.Reason
	}{
		{problem.New(problem.AuthInvalid, nil), problem.AuthInvalid},
		{problem.New(problem.AuthExpired, nil), problem.AuthExpired},
		{problem.New(problem.AuthRevoked, nil), problem.AuthRevoked},
		{problem.New(problem.AuthUnavailable, errors.New("planted cause")), problem.AuthUnavailable},
		{errors.New("planted cause"), problem.AuthUnavailable},
	} {
		d := userDoor(t)
		d.auth.err = c.err
		h := d.client(false)
		for i, target := range []string{"/me", "/open"} { // also where none is needed
			got := d.do(h, "GET", target, "", "Authorization: Bearer "+aliceToken)
			d.refused(c.err.Error(), got, c.want)
			if strings.Contains(got.body, "planted") {
				t.Errorf("%v: the answer tells %s", c.err, got.body)
			}
			challenge := got.header.Get("WWW-Authenticate")
			if (c.want.Status() == 401) != strings.Contains(challenge, `Bearer realm="shop.example", error="invalid_token"`) {
				t.Errorf("%v: WWW-Authenticate %q", c.err, challenge)
			}
			if n := d.auth.count(); n != i+1 {
				t.Errorf("%v: asked %d times after %d requests; a refusal must not be remembered", c.err, n, i+1)
			}
		}
		if n := len(d.service.all()); n != 0 {
			t.Errorf("%v: the service received %d requests", c.err, n)
		}
	}
}

func TestAuthenticatorThatPanics(t *testing.T) {
	d := userDoor(t)
	d.auth.before = func(Credential) { panic("planted") }
	d.refused("panic", d.do(d.client(false), "GET", "/me", "", "Authorization: Bearer "+aliceToken), problem.AuthUnavailable)
	if !strings.Contains(d.log.String(), "planted") {
		t.Error("the panic is not in the log")
	}
}

func TestNobodyIsNoPrincipal(t *testing.T) {
	d := userDoor(t)
	d.auth.set(aliceToken, policy.Principal{Subject: "alice"}) // the zero kind is anonymous
	d.refused("zero kind", d.do(d.client(false), "GET", "/open", "", "Authorization: Bearer "+aliceToken), problem.AuthInvalid)
}

// TestCrossSite: with a cookie, another site's requests are refused where they
// could change anything; with a credential in a header they are not the browser's.
func TestCrossSite(t *testing.T) {
	login := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("in")) })
	d := userDoor(t, func(c *Config) {
		c.Locals = []Local{
			{Listener: "public", Service: "identity", Method: "POST", Path: "/auth/login", Allow: zone.AllowAnonymous, Handler: login},
			{Listener: "public", Service: "identity", Method: "GET", Path: "/auth/login", Allow: zone.AllowAnonymous, Handler: login},
		}
	})
	h := d.client(false)
	cookie, bearer := "Cookie: __Host-session="+aliceToken, "Authorization: Bearer "+aliceToken
	for _, c := range []struct {
		method, target string
		fields         []string
		refused        bool
	}{
		{"POST", "/me", []string{cookie, "Sec-Fetch-Site: same-origin"}, false},
		{"POST", "/me", []string{cookie, "Sec-Fetch-Site: none"}, false},
		{"POST", "/me", []string{cookie, "Origin: https://shop.example"}, false},
		{"POST", "/me", []string{cookie}, false}, // no browser
		{"POST", "/me", []string{cookie, "Sec-Fetch-Site: cross-site"}, true},
		{"POST", "/me", []string{cookie, "Sec-Fetch-Site: same-site"}, true}, // a sibling is not this host
		{"POST", "/me", []string{cookie, "Origin: https://evil.example"}, true},
		{"POST", "/me", []string{cookie, "Origin: null"}, true},
		{"POST", "/me", []string{cookie, "Sec-Fetch-Site: cross-site", "Origin: https://shop.example"}, true},
		{"GET", "/me", []string{cookie, "Sec-Fetch-Site: cross-site"}, false}, // a link from elsewhere; GET changes nothing
		{"POST", "/me", []string{bearer, "Sec-Fetch-Site: cross-site"}, false},
		{"POST", "/auth/login", []string{"Sec-Fetch-Site: same-origin"}, false},
		{"POST", "/auth/login", nil, false},
		{"POST", "/auth/login", []string{"Sec-Fetch-Site: cross-site"}, true}, // would log the victim in as somebody else
		{"POST", "/auth/login", []string{"Origin: https://evil.example"}, true},
		{"POST", "/auth/login", []string{cookie, "Sec-Fetch-Site: cross-site"}, true},
		{"GET", "/auth/login", []string{"Sec-Fetch-Site: cross-site"}, false},
	} {
		got := d.do(h, c.method, c.target, "", c.fields...)
		what := c.method + " " + c.target + " " + strings.Join(c.fields, "; ")
		switch {
		case c.refused:
			d.refused(what, got, problem.AuthCrossSite)
		case got.status != 200:
			t.Errorf("%s: got %d %s", what, got.status, got.body)
		}
	}
	for _, s := range d.service.all() {
		if s.header["Cookie"] != nil {
			t.Errorf("the service received the cookie: %v", s.header)
		}
	}
}

// TestStaleCookie: a browser whose session is over can reach the login page, and
// is told to forget the cookie everywhere.
func TestStaleCookie(t *testing.T) {
	login := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			w.Header().Add("Set-Cookie", "__Host-session=sps_new; Path=/; Secure; HttpOnly; SameSite=Lax")
		}
		w.Header().Add("Set-Cookie", "__Host-flow=f; Path=/; Secure; HttpOnly; SameSite=Lax")
		_, _ = w.Write([]byte(policy.PrincipalFrom(r.Context()).Subject + " " + r.Header.Get("Cookie")))
	})
	d := userDoor(t, func(c *Config) {
		for _, m := range []string{"GET", "POST"} {
			c.Locals = append(c.Locals, Local{Listener: "public", Service: "identity", Method: m, Path: "/auth/login", Allow: zone.AllowAnonymous, Handler: login})
		}
		c.Locals = append(c.Locals, Local{Listener: "public", Service: "identity", Method: "GET", Path: "/auth/me", Allow: zone.AllowUser, Handler: login})
	})
	h := d.client(false)
	cleared := func(r result) bool {
		for _, c := range r.header["Set-Cookie"] {
			if strings.HasPrefix(c, "__Host-session=;") && strings.Contains(c, "Max-Age=0") {
				return true
			}
		}
		return false
	}
	stale, live := "Cookie: a=b; __Host-session=sps_gone", "Cookie: a=b; __Host-session="+aliceToken
	got := d.do(h, "GET", "/auth/login", "", live)
	if got.status != 200 || got.body != "alice a=b" || cleared(got) {
		t.Errorf("a live cookie: got %d %q %v", got.status, got.body, got.header["Set-Cookie"])
	}
	got = d.do(h, "GET", "/auth/login", "", stale)
	if got.status != 200 || got.body != "anonymous a=b" || !cleared(got) || len(got.header["Set-Cookie"]) != 2 {
		t.Errorf("a stale cookie on the login page: got %d %q %v", got.status, got.body, got.header["Set-Cookie"])
	}
	got = d.do(h, "POST", "/auth/login", "", stale)
	if got.status != 200 || cleared(got) {
		t.Errorf("a stale cookie at login: got %d %v, want the new session alone", got.status, got.header["Set-Cookie"])
	}
	d.refused("a stale cookie and another site", d.do(h, "POST", "/auth/login", "", stale, "Sec-Fetch-Site: cross-site"), problem.AuthCrossSite)
	for _, target := range []string{"/auth/me", "/me", "/open"} {
		got = d.do(h, "GET", target, "", stale)
		d.refused("a stale cookie at "+target, got, problem.AuthInvalid)
		if !cleared(got) {
			t.Errorf("%s: the cookie was not cleared", target)
		}
	}
	got = d.do(h, "GET", "/auth/login", "", "Authorization: Bearer sps_gone")
	d.refused("a stale bearer token", got, problem.AuthInvalid)
}

// TestContinueOnlyAfterJudgement: the body is asked for when it is wanted.
func TestContinueOnlyAfterJudgement(t *testing.T) {
	d := userDoor(t)
	const head = "POST /me HTTP/1.1\r\nHost: shop.example\r\nExpect: 100-continue\r\nContent-Length: 4\r\n"
	got := d.raw(head + "\r\n")
	d.refused("without a credential", got, problem.AuthMissing)
	if !got.closed {
		t.Error("the connection was kept, though nobody knows whether a body follows")
	}
	c := d.dial("shop.example", "http/1.1")
	_, _ = c.Write([]byte(head + "Authorization: Bearer " + aliceToken + "\r\n\r\n"))
	br := bufio.NewReader(c)
	if line, err := br.ReadString('\n'); line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("with one: got %q %v", line, err)
	}
	_, _ = br.ReadString('\n')
	_, _ = c.Write([]byte("body"))
	if line, err := br.ReadString('\n'); line != "HTTP/1.1 200 OK\r\n" {
		t.Errorf("with the body: got %q %v", line, err)
	}
	if all := d.service.all(); len(all) != 1 || all[0].body != "body" || all[0].header["Expect"] != nil {
		t.Errorf("the service received %+v", all)
	}
}

// TestTokenOfAnotherIssuer: a JWT comes to the authenticator as it was sent, is
// believed until its exp at most, and does not go inward.
func TestTokenOfAnotherIssuer(t *testing.T) {
	var c clock
	d := userDoor(t, func(cfg *Config) { cfg.Clock = c.now })
	token := aJWT[:len(aJWT)-1] + strings.Repeat("x", 4<<10) // larger than any credential of ours
	d.auth.set(token, policy.Principal{Kind: policy.User, Subject: "sso:alice"})
	d.auth.until = c.now().Add(10 * time.Second)
	var seen atomic.Value
	d.auth.before = func(c Credential) { seen.Store(c) }
	h := d.client(false)
	get := func() result { return d.do(h, "GET", "/me", "", "Authorization: Bearer "+token) }
	if got := get(); got.status != 200 || d.last().Principal != "sso:alice" {
		t.Fatalf("got %d %s as %q, want 200 as sso:alice", got.status, got.body, d.last().Principal)
	}
	if got, _ := seen.Load().(Credential); got.Kind != BearerCredential || string(got.Value) != token {
		t.Errorf("the authenticator saw kind %d and %d bytes, want a bearer of %d", got.Kind, len(got.Value), len(token))
	}
	// It is asked for again well before it expires, and refused from then on.
	c.advance(6 * time.Second)
	if got := get(); got.status != 200 || d.auth.count() != 2 {
		t.Errorf("after 6 of 10 s: got %d, asked %d times; want 200, 2", got.status, d.auth.count())
	}
	c.advance(4*time.Second + 500*time.Millisecond)
	d.refused("past exp", get(), problem.AuthExpired)
	for _, place := range []string{"X-Api-Key: ", "Cookie: __Host-session="} {
		d.refused("as "+place, d.do(h, "GET", "/me", "", place+aJWT), problem.AuthInvalid)
	}
}
