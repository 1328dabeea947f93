package e2e

import "testing"

// TestOpenIDKeysAreApart: what the zone signs for the outside is signed by other keys
// than inside tokens, so that neither can be taken for the other.
func TestOpenIDKeysAreApart(t *testing.T) {
	t.Parallel()
	z, world, up := startRelying(t)
	world["inside"] = z.insideKeys()
	got := z.do(call{path: "/open"})
	in := up.of(got.ID)
	if got.Status != 200 || len(in) != 1 || in[0].Header.Get("Txn-Token") == "" {
		t.Fatalf("no inside token: %d %s", got.Status, got.Body)
	}
	world["token"] = in[0].Header.Get("Txn-Token")
	compare(t, z.suite("openid-keys.mjs", world), []finding{
		{"keys", `{"outside":true,"inside":true,"names":[],"keys":[],"secret":0,"use":["EC sig ES256"],"own":"accepted","access":"accepted","id":"accepted",
			"insideOutside":"ERR_JWKS_NO_MATCHING_KEY","accessInside":"ERR_JWKS_NO_MATCHING_KEY","idInside":"ERR_JWKS_NO_MATCHING_KEY","asAccess":401,"asInside":401}`},
	})
}
