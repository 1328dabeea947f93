package e2e

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const matrixMap = `
zone: shop.example
journal: {size: 64MiB}
listeners:
  public: {address: "@public@", limits: {header_time: 1min}}
  partner: {address: "@partner@", limits: {header_time: 1min}}
  admin: {address: "@admin@"}
services:
  plain:
    upstream: http://@plain@
    routes:
      GET /open: anonymous
      GET /user: user
      POST /user: user
      GET /staff: {allow: user, roles: [support, boss]}
      POST /notify: {allow: key, scopes: [notify]}
      GET /both: {allow: key, scopes: [read, write]}
      GET /bare: key
      GET /either: {allow: [user, key], scopes: [read]}
      GET /keystaff: {allow: key, scopes: [read], roles: [support]}
      GET /machine: {allow: client, scopes: [read]}
      GET /inside: service
      GET /mixed: {allow: [user, service]}
      GET /soon: {allow: user, once: true}
      GET /elsewhere: {allow: user, listener: partner}
`

// The classes of good credentials, in the order of the columns below.
var good = []string{"none", "user", "staff", "key notify", "key read write", "key other"}

// matrix says what each good class gets of each route. The order of the checks
// is route, kind, role, scope.
var matrix = []struct{ method, path, want string }{
	{"GET", "/open", "ok ok ok access.scope access.scope access.scope"}, // a key on a route without scopes is refused
	{"GET", "/user", "auth.missing ok ok access.kind access.kind access.kind"},
	{"POST", "/user", "auth.missing ok ok access.kind access.kind access.kind"},
	{"GET", "/staff", "auth.missing access.role ok access.kind access.kind access.kind"},
	{"POST", "/notify", "auth.missing access.kind access.kind ok access.scope access.scope"},
	{"GET", "/both", "auth.missing access.kind access.kind access.scope ok access.scope"},
	{"GET", "/bare", "auth.missing access.kind access.kind access.scope access.scope access.scope"},
	{"GET", "/either", "auth.missing ok ok access.scope ok access.scope"},
	{"GET", "/keystaff", "auth.missing access.kind access.kind access.role access.role access.role"},
	{"GET", "/machine", "auth.missing access.kind access.kind access.kind access.kind access.kind"},
	{"GET", "/mixed", "auth.missing ok ok access.kind access.kind access.kind"},
	{"GET", "/inside", "route.unknown route.unknown route.unknown route.unknown route.unknown route.unknown"},
	{"GET", "/elsewhere", "route.unknown route.unknown route.unknown route.unknown route.unknown route.unknown"},
	{"GET", "/nowhere", "route.unknown route.unknown route.unknown route.unknown route.unknown route.unknown"},
	{"DELETE", "/user", "route.method route.method route.method route.method route.method route.method"},
	{"GET", "/soon", "zone.not_enforced zone.not_enforced zone.not_enforced zone.not_enforced zone.not_enforced zone.not_enforced"},
}

// statusOf is the status that goes with a reason.
var statusOf = map[string]int{
	"ok": 200, "auth.missing": 401, "auth.invalid": 401, "auth.revoked": 401, "auth.expired": 401, "auth.ambiguous": 400,
	"access.kind": 403, "access.role": 403, "access.scope": 403,
	"route.unknown": 404, "route.method": 405, "zone.not_enforced": 503,
}

// spelled is one way to send a credential.
type spelled struct {
	class     string // of good, or the reason that it is refused with
	principal string // sub of a good one
	header    http.Header
}

func bearer(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }
func cookie(token string) http.Header { return http.Header{"Cookie": {"__Host-session=" + token}} }
func xKey(key string) http.Header     { return http.Header{"X-Api-Key": {key}} }

func both(a, b http.Header) http.Header {
	a = a.Clone()
	for name, values := range b {
		a[name] = append(a[name], values...)
	}
	return a
}

// spellings makes every credential class of the matrix.
func spellings(t *testing.T, z, other *zoned) map[string]spelled {
	t.Helper()
	client := z.client()
	user, staff := z.addUser("user@shop.example"), z.addUser("staff@shop.example", "support")
	userToken, staffToken, gone := z.loginWith(client, user), z.loginWith(client, staff), z.loginWith(client, user)
	if got := z.do(call{method: "POST", path: "/auth/logout", bearer: gone, client: client}); got.Status != 204 {
		t.Fatalf("logout: %d", got.Status)
	}
	notify, readWrite := z.createKey("n", "--scope", "notify"), z.createKey("rw", "--scope", "read", "--scope", "write")
	otherScope, revoked := z.createKey("o", "--scope", "elsewhere"), z.createKey("r", "--scope", "notify")
	z.must("key", "revoke", revoked.ID)
	short := z.createKey("short", "--scope", "notify", "--expires", "1s")
	until(t, "the short key is expired", func() bool {
		return z.do(call{method: "POST", path: "/notify", bearer: short.Key, client: client}).reason() == "auth.expired"
	})
	foreign, foreignKey := other.login(other.addUser("user@shop.example")), other.createKey("n", "--scope", "notify")

	n, rw, o := "key_"+notify.ID, "key_"+readWrite.ID, "key_"+otherScope.ID
	return map[string]spelled{
		"none":                         {"none", "anonymous", nil},
		"session":                      {"user", user.ID, bearer(userToken)},
		"session, scheme in lower":     {"user", user.ID, http.Header{"Authorization": {"bearer " + userToken}}},
		"cookie":                       {"user", user.ID, cookie(userToken)},
		"cookie among others":          {"user", user.ID, http.Header{"Cookie": {"a=1; __Host-session=" + userToken + "; b=2"}}},
		"session with role":            {"staff", staff.ID, bearer(staffToken)},
		"cookie with role":             {"staff", staff.ID, cookie(staffToken)},
		"key":                          {"key notify", n, bearer(notify.Key)},
		"key in X-API-Key":             {"key notify", n, xKey(notify.Key)},
		"key with two scopes":          {"key read write", rw, bearer(readWrite.Key)},
		"key with another scope":       {"key other", o, xKey(otherScope.Key)},
		"session after logout":         {"auth.revoked", "", bearer(gone)},
		"cookie after logout":          {"auth.revoked", "", cookie(gone)},
		"key revoked":                  {"auth.revoked", "", bearer(revoked.Key)},
		"key expired":                  {"auth.expired", "", xKey(short.Key)},
		"session cut":                  {"auth.invalid", "", bearer(userToken[:len(userToken)-1])},
		"session changed":              {"auth.invalid", "", bearer("sps_A" + strings.Repeat("b", 42))},
		"key changed":                  {"auth.invalid", "", bearer(changeLast(notify.Key))},
		"nonsense":                     {"auth.invalid", "", bearer("nonsense")},
		"JWT with alg none":            {"auth.invalid", "", bearer("eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.")},
		"nothing after Bearer":         {"auth.invalid", "", http.Header{"Authorization": {"Bearer "}}},
		"Basic":                        {"auth.invalid", "", http.Header{"Authorization": {"Basic YTpi"}}},
		"session of another zone":      {"auth.invalid", "", bearer(foreign)},
		"cookie of another zone":       {"auth.invalid", "", cookie(foreign)},
		"key of another zone":          {"auth.invalid", "", bearer(foreignKey.Key)},
		"key as cookie":                {"auth.invalid", "", cookie(notify.Key)},
		"session as X-API-Key":         {"auth.invalid", "", xKey(userToken)},
		"empty cookie":                 {"auth.invalid", "", cookie("")},
		"session and cookie":           {"auth.ambiguous", "", both(bearer(userToken), cookie(userToken))},
		"session and key":              {"auth.ambiguous", "", both(bearer(userToken), xKey(notify.Key))},
		"two sessions":                 {"auth.ambiguous", "", both(bearer(userToken), bearer(staffToken))},
		"two keys":                     {"auth.ambiguous", "", both(xKey(notify.Key), xKey(notify.Key))},
		"two cookies in one field":     {"auth.ambiguous", "", http.Header{"Cookie": {"__Host-session=" + userToken + "; __Host-session=" + staffToken}}},
		"two cookies in two fields":    {"auth.ambiguous", "", both(cookie(userToken), cookie(staffToken))},
		"good session and bad cookie":  {"auth.ambiguous", "", both(bearer(userToken), cookie("sps_x"))},
		"two sessions joined by comma": {"auth.invalid", "", http.Header{"Authorization": {"Bearer " + userToken + ", Bearer " + staffToken}}},
	}
}

// until asks again until a condition holds that time alone brings.
func until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	untilIn(t, patience, what, holds)
}

// untilIn is until for what takes longer.
func untilIn(t testing.TB, bound time.Duration, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(bound); !holds() || isTwin(t) && !holds(); { // at each of two processes
		if time.Now().After(deadline) {
			t.Fatalf("it never came to be that %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// TestMatrix tries every kind of route with every class of credential: status,
// reason, one record with the same reason, and the service is asked only when
// the answer is ok.
func TestMatrix(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, nil)
	given := map[string]string{"plain": up.address}
	z, other := startZone(t, matrixMap, given), startZone(t, matrixMap, given)
	all := spellings(t, z, other)

	type cell struct {
		name, want, principal, route string
		got                          answer
	}
	var mu sync.Mutex
	var cells []cell
	var work sync.WaitGroup
	for _, name := range slices.Sorted(maps.Keys(all)) {
		s, client := all[name], z.client()
		work.Go(func() {
			for _, rt := range matrix {
				wants := strings.Fields(rt.want)
				c := cell{name: rt.method + " " + rt.path + " with " + name, principal: s.principal, route: rt.method + " " + rt.path}
				if i := slices.Index(good, s.class); i >= 0 {
					c.want = wants[i]
				} else if c.want, c.principal = s.class, "anonymous"; strings.HasPrefix(wants[0], "route.") || strings.HasPrefix(wants[0], "zone.") {
					c.want = wants[0] // the route is judged before the credential
				}
				c.got = z.ask(call{method: rt.method, path: rt.path, header: s.header, client: client})
				mu.Lock()
				cells = append(cells, c)
				mu.Unlock()
			}
		})
	}
	work.Wait()
	if want := len(all) * len(matrix); len(cells) != want {
		t.Fatalf("%d cells, want %d", len(cells), want)
	}
	records, reasons := z.byID(), map[string]int{}
	for _, c := range cells {
		reasons[c.want]++
		asked := len(up.of(c.got.ID))
		if c.got.Err != nil || c.got.Status != statusOf[c.want] {
			t.Errorf("%s: %d %s %v, want %d %s", c.name, c.got.Status, c.got.reason(), c.got.Err, statusOf[c.want], c.want)
			continue
		}
		if (c.want == "ok") != (asked == 1) || asked > 1 {
			t.Errorf("%s: %s, and the service was asked %d times", c.name, c.want, asked)
		}
		if c.want != "ok" {
			c.got.checkProblem(t, c.name, c.want)
		}
		rs := records[c.got.ID]
		if len(rs) != 1 {
			t.Errorf("%s: %d records, want one: %+v", c.name, len(rs), rs)
			continue
		}
		r := rs[0]
		if strings.HasPrefix(c.want, "route.") {
			c.route, c.principal = "", "anonymous"
		} else if c.want == "zone.not_enforced" {
			c.principal = "anonymous" // refused before anybody was asked
		}
		if r.Reason != c.want || r.Status != c.got.Status || r.Principal != c.principal || r.Route != c.route || r.Listener != "public" || r.Client != "127.0.0.1" {
			t.Errorf("%s: the record is %+v, want reason %s, status %d, principal %s, route %q", c.name, r, c.want, c.got.Status, c.principal, c.route)
		}
	}
	for reason := range statusOf { // a matrix that lost a column would pass
		if reasons[reason] == 0 {
			t.Errorf("no cell expects %s", reason)
		}
	}
}

// checkProblem holds a refusal to RFC 9457 as the interface has it, and to what
// may be told.
func (a answer) checkProblem(t testing.TB, name, reason string) {
	t.Helper()
	doc := fieldsOf(t, a.Body)
	if a.reason() != reason || doc["status"] != float64(a.Status) || doc["correlation_id"] != a.ID || doc["title"] == "" || a.Header.Get("X-Correlation-Id") != a.ID {
		t.Errorf("%s: %s with correlation id %s, want the problem document of %s for %s", name, a.Body, a.Header.Get("X-Correlation-Id"), reason, a.ID)
	}
	if (a.Status == 401) != (a.Header.Get("WWW-Authenticate") != "") {
		t.Errorf("%s: %d with WWW-Authenticate %q", name, a.Status, a.Header.Get("WWW-Authenticate"))
	}
	for _, said := range []string{"Server", "X-Powered-By", "Sallyport-Reason", "Sallyport-Client"} {
		if a.Header.Get(said) != "" {
			t.Errorf("%s: the answer says %s: %s", name, said, a.Header.Get(said))
		}
	}
}
