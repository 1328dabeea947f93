package gateway

import (
	"testing"

	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

func TestAuthorizeStage(t *testing.T) {
	d := openDoor(t, []*zone.Route{
		{Method: "GET", Path: "/admin", Allow: zone.AllowUser, Roles: []string{"admin"}},
		{Method: "GET", Path: "/things", Allow: zone.AllowUser | zone.AllowKey, Scopes: []string{"things.read"}},
		{Method: "POST", Path: "/things", Allow: zone.AllowKey, Scopes: []string{"things.write"}},
		{Method: "GET", Path: "/things/{id}", Allow: zone.AllowUser, Params: []zone.Param{
			{Name: "id", Kind: zone.ParamInt}, {Name: "sort", Kind: zone.ParamEnum, Enum: []string{"up", "down"}},
		}},
		{Method: "GET", Path: "/users/{user}", Allow: zone.AllowUser, Owner: zone.Owner{Kind: zone.OwnerPath, Arg: "user"}},
	})
	h := d.client(false)
	alice, root, key := "Authorization: Bearer "+aliceToken, "Authorization: Bearer "+rootToken, "X-Api-Key: "+keyValue
	for _, c := range []struct {
		method, target, who string
		want                problem.Reason
	}{
		{"GET", "/admin", root, problem.OK},
		{"GET", "/admin", alice, problem.AccessRole},
		{"GET", "/admin", key, problem.AccessKind},
		{"GET", "/admin", "", problem.AuthMissing},
		{"GET", "/things", alice, problem.OK},
		{"GET", "/things", key, problem.OK},
		{"GET", "/things", "", problem.AuthMissing},
		{"POST", "/things", key, problem.AccessScope},
		{"POST", "/things", alice, problem.AccessKind},
		{"GET", "/things/7", alice, problem.OK},
		{"GET", "/things/7?sort=up&other=x", alice, problem.OK},
		{"GET", "/things/seven", alice, problem.RequestParam},
		{"GET", "/things/7?sort=sideways", alice, problem.RequestParam},
		{"GET", "/things/7?sort=up&sort=sideways", alice, problem.RequestParam},
		{"GET", "/things/7?s%6frt=sideways", alice, problem.RequestParam}, // decoded before it is compared
		{"GET", "/users/alice", alice, problem.OK},
		{"GET", "/users/alice", root, problem.OwnerDenied},
		{"GET", "/users/Alice", alice, problem.OwnerDenied},
		{"GET", "/users/anonymous", "", problem.AuthMissing},
		{"GET", "/things/seven", "", problem.AuthMissing}, // what a route takes is nobody else's business
	} {
		var fields []string
		if c.who != "" {
			fields = append(fields, c.who)
		}
		got := d.do(h, c.method, c.target, "", fields...)
		if c.want == problem.OK {
			if got.status != 200 {
				t.Errorf("%s %s as %s: got %d %s", c.method, c.target, c.who, got.status, got.body)
			}
			continue
		}
		d.refused(c.method+" "+c.target+" as "+c.who, got, c.want)
	}
}
