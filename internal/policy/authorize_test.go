package policy

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

func route(allow zone.Allow, roles, scopes string) *zone.Route {
	return &zone.Route{Method: "GET", Path: "/", Allow: allow, Roles: strings.Fields(roles), Scopes: strings.Fields(scopes)}
}

func who(kind Kind, roles, scopes string) *Principal {
	return &Principal{Kind: kind, Subject: "s", Roles: strings.Fields(roles), Scopes: strings.Fields(scopes)}
}

func level(n int, p *Principal) *Principal { p.Level = n; return p }

func mfa(rt *zone.Route) *zone.Route { rt.MFA = true; return rt }

func maxAge(rt *zone.Route) *zone.Route { rt.MaxAge = time.Hour; return rt }

func TestRecent(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		maxAge time.Duration
		login  time.Time
		want   problem.Reason
	}{
		{0, time.Time{}, problem.OK},
		{time.Minute, now.Add(-time.Minute), problem.OK},
		{time.Minute, now.Add(-time.Minute - 1), problem.AuthStepUp},
		{time.Minute, time.Time{}, problem.AuthStepUp},
	} {
		if got := Recent(&zone.Route{MaxAge: tt.maxAge}, &Principal{AuthTime: tt.login}, now); got != tt.want {
			t.Errorf("max_age %v, login %v: %v, want %v", tt.maxAge, tt.login, got, tt.want)
		}
	}
}

func oauth(p *Principal) *Principal { p.OAuth = true; return p }

func TestAuthorize(t *testing.T) {
	const (
		anonymous = zone.AllowAnonymous
		user      = zone.AllowUser
		key       = zone.AllowKey
		client    = zone.AllowClient
		service   = zone.AllowService
		unknown   = Kind(200)
	)
	for _, tt := range []struct {
		name string
		rt   *zone.Route
		p    *Principal
		want problem.Reason
	}{
		// Each line that allows is followed by the one that differs in a single fact and is refused.
		{"anonymous", route(anonymous, "", ""), who(Anonymous, "", ""), problem.OK},
		{"anonymous, user's route", route(user, "", ""), who(Anonymous, "", ""), problem.AuthMissing},
		{"nobody", route(anonymous, "", ""), nil, problem.OK},
		{"nobody, user's route", route(user, "", ""), nil, problem.AuthMissing},
		{"route without allow", route(0, "", ""), who(User, "", ""), problem.AccessKind},
		{"route without allow, anonymous", route(0, "", ""), who(Anonymous, "", ""), problem.AuthMissing},

		{"user", route(user, "", ""), who(User, "", ""), problem.OK},
		{"user on a key's route", route(key, "", "a"), who(User, "", "a"), problem.AccessKind},
		{"user on an anonymous route", route(anonymous, "", ""), who(User, "", ""), problem.OK},
		{"unknown kind on an anonymous route", route(anonymous, "", ""), who(unknown, "", ""), problem.AccessKind},
		{"unknown kind where all are taken", route(255, "", "a"), who(unknown, "", "a"), problem.AccessKind},
		{"any of the list", route(user|key, "", "a"), who(Key, "", "a"), problem.OK},
		{"none of the list", route(user|client, "", "a"), who(Key, "", "a"), problem.AccessKind},
		{"service", route(service, "", ""), who(Service, "", ""), problem.OK},
		{"user on a service's route", route(service, "", ""), who(User, "", ""), problem.AccessKind},
		{"anonymous on a service's route", route(service, "", ""), who(Anonymous, "", ""), problem.AuthMissing},

		{"role", route(user, "admin support", ""), who(User, "support", ""), problem.OK},
		{"other role", route(user, "admin support", ""), who(User, "supporter", ""), problem.AccessRole},
		{"no role", route(user, "admin", ""), who(User, "", ""), problem.AccessRole},
		{"role of anonymous", route(anonymous, "admin", ""), who(Anonymous, "", ""), problem.AuthMissing},
		{"two factors", mfa(route(user, "", "")), level(2, who(User, "", "")), problem.OK},
		{"one factor", mfa(route(user, "", "")), level(1, who(User, "", "")), problem.AuthStepUp},
		{"no level", mfa(route(user, "", "")), who(User, "", ""), problem.AuthStepUp},
		{"a key has one factor", mfa(route(key, "", "a")), level(1, who(Key, "", "a")), problem.AuthStepUp},
		{"nobody has none", mfa(route(anonymous, "", "")), nil, problem.AuthMissing},
		{"role before factor", mfa(route(user, "admin", "")), level(1, who(User, "", "")), problem.AccessRole},
		{"kind before role", route(key, "admin", ""), who(User, "", ""), problem.AccessKind},
		{"role before scope", route(key, "admin", "a"), who(Key, "", ""), problem.AccessRole},

		{"key with scope", route(key, "", "a"), who(Key, "", "a b"), problem.OK},
		{"key without scope", route(key, "", "a"), who(Key, "", "b"), problem.AccessScope},
		{"key with all scopes", route(key, "", "a b"), who(Key, "", "a b"), problem.OK},
		{"key with one of two scopes", route(key, "", "a b"), who(Key, "", "a"), problem.AccessScope},
		{"key on a route without scopes", route(key, "", ""), who(Key, "", "a"), problem.AccessScope},
		{"key on an anonymous route without scopes", route(anonymous, "", ""), who(Key, "", "a"), problem.AccessScope},
		{"session is not limited by scopes", route(user, "", "a"), who(User, "", ""), problem.OK},
		{"OAuth user is", route(user, "", "a"), oauth(who(User, "", "")), problem.AccessScope},
		{"OAuth user with scope", route(user, "", "a"), oauth(who(User, "", "a")), problem.OK},
		{"OAuth user on a route without scopes", route(user, "", ""), oauth(who(User, "", "a")), problem.AccessScope},
		{"client with scope", route(client, "", "a"), oauth(who(Client, "", "a")), problem.OK},
		{"client without scope", route(client, "", "a"), oauth(who(Client, "", "")), problem.AccessScope},
		{"client is limited even unmarked", route(client, "", ""), who(Client, "", ""), problem.AccessScope},
	} {
		if got := Authorize(tt.rt, tt.p); got != tt.want {
			t.Errorf("%s: Authorize(allow %v roles %q scopes %q, %+v) = %v, want %v", tt.name, tt.rt.Allow, tt.rt.Roles, tt.rt.Scopes, tt.p, got, tt.want)
		}
	}
}

func TestAuthorizeCall(t *testing.T) {
	const (
		user    = zone.AllowUser
		service = zone.AllowService
	)
	for _, tt := range []struct {
		name string
		rt   *zone.Route
		p    *Principal
		want problem.Reason
	}{
		{"user behind a caller", route(service, "", ""), who(User, "", ""), problem.OK},
		{"user behind a caller, route not for services", route(zone.AllowKey, "", ""), who(User, "", ""), problem.AccessKind},
		{"anonymous behind a caller", route(service, "", ""), who(Anonymous, "", ""), problem.OK},
		{"anonymous behind a caller, user's route", route(user, "", ""), who(Anonymous, "", ""), problem.AuthMissing},
		{"user on a user's route", route(user, "", ""), who(User, "", ""), problem.OK},
		{"nobody behind a caller", route(service, "", ""), nil, problem.OK},
		{"role behind a caller", route(service, "admin", ""), who(User, "admin", ""), problem.OK},
		{"no role behind a caller", route(service|user, "admin", ""), who(User, "", ""), problem.AccessRole},
		{"nobody where a role is asked", route(service, "admin", ""), nil, problem.AuthMissing},
		{"key behind a caller", route(service, "", ""), who(Key, "", ""), problem.OK},
		{"key without a declared scope", route(service, "", "a"), who(Key, "", ""), problem.AccessScope},
		{"key with it", route(service, "", "a"), who(Key, "", "a"), problem.OK},
		{"key on a user's route", route(user, "", ""), who(Key, "", ""), problem.AccessKind},
		{"two factors behind a caller", mfa(route(service|user, "", "")), level(2, who(User, "", "")), problem.OK},
		{"one factor behind a caller", mfa(route(service|user, "", "")), level(1, who(User, "", "")), problem.AuthStepUp},
		{"one factor, user's route", mfa(route(user, "", "")), level(1, who(User, "", "")), problem.AuthStepUp},
		{"a login of no known age", maxAge(route(user, "", "")), level(2, who(User, "", "")), problem.AuthStepUp},
		{"a login of no known age behind a caller", maxAge(route(service|user, "", "")), level(2, who(User, "", "")), problem.AuthStepUp},
		{"a key of no known age", maxAge(route(zone.AllowKey|user, "", "a")), who(Key, "", "a"), problem.AuthStepUp},
		{"a service where logins must be fresh", maxAge(route(service|user, "", "")), who(Service, "", ""), problem.OK},
		{"role before age", maxAge(route(user, "admin", "")), who(User, "", ""), problem.AccessRole},
		{"unknown kind behind a caller", route(service, "", ""), who(Kind(255), "", ""), problem.AccessKind},
		{"unknown kind with everything", route(service, "admin", "a"), who(Kind(6), "admin", "a"), problem.AccessKind},
	} {
		if got := AuthorizeCall(tt.rt, tt.p); got != tt.want {
			t.Errorf("%s: AuthorizeCall(allow %v roles %q scopes %q, %+v) = %v, want %v", tt.name, tt.rt.Allow, tt.rt.Roles, tt.rt.Scopes, tt.p, got, tt.want)
		}
	}
}

func TestCallers(t *testing.T) {
	for _, tt := range []struct {
		callers Callers
		service string
		want    problem.Reason
	}{
		{Callers{"orders", "catalog"}, "catalog", problem.OK},
		{Callers{"orders", "catalog"}, "payments", problem.InsideCall},
		{Callers{"orders"}, "Orders", problem.InsideCall},
		{Callers{"orders"}, "", problem.InsideCall},
		{Callers{""}, "", problem.InsideCall},
		{nil, "orders", problem.InsideCall},
	} {
		if got := tt.callers.Check(tt.service); got != tt.want {
			t.Errorf("%q.Check(%q) = %v, want %v", tt.callers, tt.service, got, tt.want)
		}
	}
}

func TestOwns(t *testing.T) {
	for _, c := range []struct {
		p     *Principal
		owner string
		want  bool
	}{
		{&Principal{Kind: User, Subject: "u1"}, "u1", true},
		{&Principal{Kind: Key, Subject: "key_a"}, "key_a", true},
		{&Principal{Kind: User, Subject: "u1"}, "u2", false},
		{&Principal{Kind: User, Subject: "u1"}, "U1", false},
		{&Principal{Kind: User, Subject: "u1"}, "", false},
		{&Principal{Kind: User, Subject: ""}, "", false},
		{&Principal{Kind: User, Subject: AnonymousSubject}, AnonymousSubject, false},
		{&Principal{Kind: Anonymous, Subject: AnonymousSubject}, AnonymousSubject, false},
		{&Principal{}, "", false},
		{nil, "", false},
	} {
		if got := Owns(c.p, c.owner); got != c.want {
			t.Errorf("Owns(%+v, %q) = %v, want %v", c.p, c.owner, got, c.want)
		}
	}
}

func TestFrom(t *testing.T) {
	home := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")}
	for _, c := range []struct {
		networks []netip.Prefix
		client   string // empty: not known
		want     bool
	}{
		{nil, "192.0.2.7", true},
		{nil, "", true},
		{home, "192.0.2.7", true},
		{home, "::ffff:192.0.2.7", true},
		{home, "192.0.3.7", false},
		{home, "2001:db8:1::7", true},
		{home, "2001:db9::7", false},
		{home, "fe80::1%eth0", false},
		{home, "", false},
	} {
		var client netip.Addr
		if c.client != "" {
			client = netip.MustParseAddr(c.client)
		}
		if got := (&Principal{Networks: c.networks}).From(client); got != c.want {
			t.Errorf("from %q with %v: %v, want %v", c.client, c.networks, got, c.want)
		}
	}
}
