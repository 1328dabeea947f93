package e2e

import (
	"encoding/json"
	"strings"
	"testing"
)

// wrongClient is what openid-client calls the 401 for a client that does not show who it is.
const wrongClient = "OAUTH_WWW_AUTHENTICATE_CHALLENGE"

// TestOpenIDClientAdded: a client that an administrator adds while the zone runs has
// all that one of the map has; its secret is renewed without a gap, and it is gone
// with all that it was given at once.
func TestOpenIDClientAdded(t *testing.T) {
	t.Parallel()
	z, world, _ := startRelying(t)
	secret := func(args ...string) string {
		t.Helper()
		var made struct{ ID, Secret string }
		if err := json.Unmarshal([]byte(z.must(append(args, "--format", "json")...)), &made); err != nil || made.ID != "added" || len(made.Secret) < 43 {
			t.Fatalf("%q: %v", args, err)
		}
		return made.Secret
	}
	find := func(cases ...string) map[string]json.RawMessage {
		t.Helper()
		world["cases"] = cases
		return z.suite("openid-added.mjs", world)
	}

	first := secret("client", "add", "added", "--title", "An app of later", "--redirect-uri", "https://added.example/cb",
		"--scope", "email", "--scope", "offline_access", "--scope", "things.read")
	world["added"] = first
	world["secrets"] = map[string]string{"its own": first, "another": first[1:] + "A", "of another client": relyingSecret}
	compare(t, find("whole flow", "secrets"), []finding{
		{"whole flow", `{"iss":true,"aud":"added","sub":true,"scope":"email offline_access openid things.read","email":"alice@shop.example","visit":200,"active":true,"asked":true,"more":"invalid_scope"}`},
		{"secrets", `{"its own":true,"another":"` + wrongClient + `","of another client":"` + wrongClient + `"}`},
	})
	if list := z.must("client", "list"); !strings.Contains(list, "added") || strings.Contains(list, first) {
		t.Errorf("client list:\n%s", list)
	}
	if _, errs, code := z.run("client", "add", "added", "--redirect-uri", "https://evil.example/cb"); code != 1 {
		t.Errorf("added once more: %d %s", code, errs)
	}

	second := secret("client", "rotate", "added", "--overlap", "1h")
	world["added"], world["secrets"] = second, map[string]string{"the one before": first, "the new one": second}
	compare(t, find("secrets"), []finding{{"secrets", `{"the one before":true,"the new one":true}`}})
	third := secret("client", "rotate", "added", "--overlap", "0s")
	world["added"], world["secrets"] = third, map[string]string{"the first": first, "the one before": second, "the new one": third}
	found := find("secrets", "kept")
	var kept struct {
		Access, Refresh string
		Visit           int
	}
	if err := json.Unmarshal(found["kept"], &kept); err != nil || kept.Visit != 200 {
		t.Fatalf("tokens: %v %s", err, found["kept"])
	}
	delete(found, "kept")
	compare(t, found, []finding{{"secrets", `{"the first":"` + wrongClient + `","the one before":"` + wrongClient + `","the new one":true}`}})

	world["kept"] = map[string]string{"access": kept.Access, "refresh": kept.Refresh}
	z.must("client", "remove", "added")
	compare(t, find("gone"), []finding{
		{"gone", `{"visit":"auth.revoked","refresh":"` + wrongClient + `","introspection":"` + wrongClient + `","login":"401 The app asked for something that is not possible","other":200}`},
	})
	if _, errs, code := z.run("client", "remove", "added"); code != 1 {
		t.Errorf("removed once more: %d %s", code, errs)
	}
}
