package apikey

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// TestRightsAreTheMaps: what a map can ask for can be given, and nothing else:
// each name is judged by the map's own parser too.
func TestRightsAreTheMaps(t *testing.T) {
	inMap := func(key, name string) bool {
		quoted, err := json.Marshal(name) // JSON is YAML
		if err != nil {
			t.Fatal(err)
		}
		_, err = zone.Parse("zone.yaml", fmt.Appendf(nil, "zone: shop.example\nservices:\n  a:\n    upstream: http://127.0.0.1:1\n"+
			"    routes:\n      GET /a: {allow: [user, key], %s: [%s]}\n", key, quoted))
		return err == nil
	}
	w := whose{anybody: true}
	for _, c := range []struct {
		name        string
		role, scope bool
	}{
		{"admin", true, true}, {"a", true, true}, {"Support", true, true}, {"7th", true, true}, {"order_admin", true, true},
		{"orders.write", true, true}, {"orders:write", true, true}, {"a-", true, true}, {strings.Repeat("a", 100), true, true},
		{"orders/write", false, true},
		{"", false, false}, {"-a", false, false}, {".a", false, false}, {"_a", false, false}, {":a", false, false}, {"/a", false, false},
		{"a b", false, false}, {"a,b", false, false}, {"a\n", false, false}, {"rôle", false, false}, {strings.Repeat("a", 101), false, false},
		{"a\x00", false, false}, {"a\\b", false, false}, {"a\"b", false, false},
	} {
		for key, judge := range map[string]struct {
			check func([]string) ([]string, error)
			want  bool
		}{"roles": {w.checkRoles, c.role}, "scopes": {w.checkScopes, c.scope}} {
			_, err := judge.check([]string{c.name})
			if (err == nil) != judge.want || inMap(key, c.name) != judge.want {
				t.Errorf("%s %q: given %v, in a map %v, want %v", key, c.name, err == nil, inMap(key, c.name), judge.want)
			}
		}
	}
	many := make([]string, namesMax+1)
	for i := range many {
		many[i] = fmt.Sprint("s", i)
	}
	for n, want := range map[int]problem.Reason{namesMax: problem.OK, namesMax + 1: problem.AdminInvalid} {
		_, err := w.checkScopes(many[:n])
		wantReason(t, fmt.Sprint(n, " scopes"), err, want)
	}
	if got, err := w.checkScopes([]string{"b", "a", "b"}); err != nil || joinNames(got) != "a b" {
		t.Errorf("checkScopes of b a b = %q, %v, want sorted, each once", got, err)
	}
}
