package e2e

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestOpenIDRefusals: what outside programs and those between them and the zone must
// not get, each beside what is right.
func TestOpenIDRefusals(t *testing.T) {
	t.Parallel()
	z, world, _ := startRelying(t)
	const page = "400 The app asked for something that is not possible" // the client is told nothing, and the browser led nowhere
	compare(t, z.suite("openid-refused.mjs", world), []finding{
		{"PKCE", `{"right":"code iss state","missing":"invalid_request","plain":"invalid_request","method left out":"invalid_request","public client":"invalid_request","short challenge":"invalid_request",
			"no verifier":"400 invalid_grant","another verifier":"400 invalid_grant","challenge as verifier":"400 invalid_grant"}`},
		{"redirect URIs", `{"https://web.example/cb":"code iss state",` + allAre(page,
			"https://web.example/cb/", "https://web.example/cb?x=1", "https://web.example/cb#x", "https://web.example/CB", "https://WEB.example/cb", "https://web.example:443/cb",
			"https://web.example./cb", "https://web.example/cb/../cb", "https://web.example/c%62", "http://web.example/cb", "https://web.example@evil.example/cb",
			"https://evil.example/cb", "https://web.example.evil.example/cb", "//web.example/cb", "javascript:alert(1)", " https://web.example/cb", "none") + `}`},
		{"authorization requests", `{"right":"code iss state","unknown client":"401 The app asked for something that is not possible","implicit":"unsupported_response_type","hybrid":"unsupported_response_type",
			"fragment":"invalid_request","request object":"request_not_supported","scope of others":"invalid_scope","PAR left out":"invalid_request","denied":"access_denied",
			"assurance out of reach":"login_required","hint of nobody":"invalid_request",` +
			allAre(page, "request_uri of elsewhere", "pushed by nobody", "parameter twice", "redirect twice") + `}`},
		{"another browser", `{"next":true,"status":410,"to":null}`},
		{"codes", `{"right":200,"without a secret":"401 invalid_client","wrong secret":"401 invalid_client","two ways":"400 invalid_request","more scopes":"400 invalid_scope","as JSON":"415 invalid_request",
			"by GET":405,"password grant":"400 unsupported_grant_type",` + allAre("400 invalid_grant", "another client", "public client", "another redirect", "no redirect") + `}`},
		{"code replay", `{"before":200,"again":"400 invalid_grant","after":"auth.revoked","refresh":"400 invalid_grant"}`},
		{"eight redemptions at once", `{"won":true,"lost":["400 invalid_grant"],"alive":0}`}, // seven are replays: whoever was first loses what it got
		{"client assertions", `{"right":200,"used before":[200,"401 invalid_client"],` + allAre("401 invalid_client",
			"none", "HS256 with the public key", "another key", "a key it brings", "token endpoint as audience", "two audiences", "audience elsewhere", "no audience",
			"another subject", "another client", "no jti", "expired", "for ever", "not yet") + `}`},
		{"clients", `{"right":200,"public":"400 unauthorized_client","not its grant":"400 unauthorized_client","unknown":"401 invalid_client","more scopes":"400 invalid_scope","scopes of users":"400 invalid_scope",
			"device of others":"unauthorized_client","introspection by a public client":"invalid_client","introspection by nobody":401}`},
		{"wrong tokens", `{"userinfo":{"right":"200 undefined","refresh":"401 invalid_token","ID":"401 invalid_token","machine":"403 insufficient_scope","none":"401 undefined","query":"401 undefined","session":"401 invalid_token","cookie":"401 undefined"},
			"route":{"right":200,"JWT":200,"less scopes":"access.scope",` + allAre("auth.invalid", "refresh", "ID", "none", "unsigned", "changed", "signed by another", "HS256") + `},
			"refresh":{"access":"400 invalid_grant","another client":"400 invalid_grant","more scopes":"400 invalid_scope","right":200}}`},
		{"DPoP proofs", `{"refresh":"invalid_dpop_proof","unproved":"400 invalid_dpop_proof","own":"dpop","right":200,"bearer":"auth.invalid","bearer with proof":"auth.invalid","no nonce":"auth.nonce","nonce of another":"auth.nonce",` +
			allAre("auth.proof", "again", "no proof", "method", "address", "host", "no token hash", "another token", "old", "type", "none", "no jti", "another key", "key not its own") + `}`},
	})
}

// allAre are the members of a JSON object that have one value.
func allAre(value string, names ...string) string {
	var list []string
	for _, name := range names {
		n, _ := json.Marshal(name) // strings always marshal
		v, _ := json.Marshal(value)
		list = append(list, string(n)+":"+string(v))
	}
	return strings.Join(list, ",")
}
