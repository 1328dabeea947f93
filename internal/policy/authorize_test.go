package policy

import (
	"strings"
	"testing"

	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

func route(allow zone.Allow, roles, scopes string) *zone.Route {
	return &zone.Route{Method: "GET", Path: "/", Allow: allow, Roles: strings.Fields(roles), Scopes: strings.Fields(scopes)}
}

func who(kind Kind, roles, scopes string) *Principal {
	return &Principal{Kind: kind, Subject: "s", Roles: strings.Fields(roles), Scopes: strings.Fields(scopes)}
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
