package guard

import (
	"strings"
	"testing"

	"sallyport.dev/zone"
)

func TestCompileRoute(t *testing.T) {
	base := func(change func(*zone.SliceRoute)) *zone.SliceRoute {
		sr := &zone.SliceRoute{Method: "GET", Path: "/a/{id}/{rest...}", Allow: []string{"user"}}
		change(sr)
		return sr
	}
	owner := func(kind, arg string) func(*zone.SliceRoute) {
		return func(sr *zone.SliceRoute) { sr.Owner = &zone.SliceOwner{Kind: kind, Arg: arg} }
	}
	for _, tt := range []struct {
		name   string
		sr     *zone.SliceRoute
		closed string // in the cause; empty: open
		hold   int
	}{
		{"plain", base(func(*zone.SliceRoute) {}), "", defaultHold},
		{"limit", base(func(sr *zone.SliceRoute) { sr.BodyLimit = 100 }), "", defaultHold},
		{"limit beyond all bounds", base(func(sr *zone.SliceRoute) { sr.BodyLimit = 1 << 40 }), "", maxHold},
		{"path owner", base(owner("path", "id")), "", defaultHold},
		{"path owner of the rest", base(owner("path", "rest")), "", defaultHold},
		{"path owner of nothing", base(owner("path", "user")), "no wildcard user", defaultHold},
		{"response owner", base(owner("response", "/a")), "", defaultHold},
		{"response owner with a bad pointer", base(owner("response", "a")), "pointer", defaultHold},
		{"response owner of a write", base(func(sr *zone.SliceRoute) { owner("response", "/a")(sr); sr.Method = "PUT" }), "GET only", defaultHold},
		{"read owner", base(owner("read", "/a")), "", defaultHold},
		{"read owner with a bad pointer", base(owner("read", "/~")), "pointer", defaultHold},
		{"code owner", base(owner("code", "")), "", defaultHold},
		{"unknown owner", base(owner("body", "/a")), "owner: body", defaultHold},
		{"unknown caller", base(func(sr *zone.SliceRoute) { sr.Allow = append(sr.Allow, "robot") }), "allow: robot", defaultHold},
		{"unknown restriction", base(func(sr *zone.SliceRoute) { sr.Critical = []string{"geo"} }), "critical: geo", defaultHold},
		{"bad param", base(func(sr *zone.SliceRoute) { sr.Params = []zone.SliceParam{{Name: "id", Kind: "regexp", Regexp: "("}} }), "param", defaultHold},
		{"not enforced", base(func(sr *zone.SliceRoute) { sr.NotEnforced = []string{"mfa", "once"} }), "mfa, once", defaultHold},
	} {
		ru := compileRoute(tt.sr)
		if tt.closed == "" && ru.closed != "" || !strings.Contains(ru.closed, tt.closed) || ru.hold != tt.hold {
			t.Errorf("%s: closed %q, hold %d; want %q, %d", tt.name, ru.closed, ru.hold, tt.closed, tt.hold)
		}
	}
}

func TestPrincipalKinds(t *testing.T) {
	words := map[Kind]string{Anonymous: "anonymous", User: "user", Key: "key", Client: "client", Service: "service", unknownKind: "unknown"}
	for k, want := range words {
		if got := k.String(); got != want {
			t.Errorf("Kind(%d).String() = %q, want %q", k, got, want)
		}
	}
}

func TestOwns(t *testing.T) {
	for _, tt := range []struct {
		p     Principal
		owner string
		want  bool
	}{
		{Principal{Kind: User, Subject: "u1"}, "u1", true},
		{Principal{Kind: Key, Subject: "key_1"}, "key_1", true},
		{Principal{Kind: User, Subject: "u1"}, "u2", false},
		{Principal{Kind: User, Subject: "u1"}, "U1", false},
		{Principal{Kind: User, Subject: "u1"}, "u1 ", false},
		{Principal{Kind: User, Subject: "u1"}, "", false},
		{Principal{Kind: User, Subject: ""}, "", false},
		{Principal{Kind: Anonymous, Subject: "u1"}, "u1", false},
		{Principal{Kind: User, Subject: "anonymous"}, "anonymous", false},
		{Principal{}, "", false},
	} {
		if got := tt.p.owns(tt.owner); got != tt.want {
			t.Errorf("%+v owns %q: %v, want %v", tt.p, tt.owner, got, tt.want)
		}
	}
}
