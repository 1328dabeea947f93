package e2e

import "testing"

// TestOpenIDFlows: an outside program gets by openid-client all that the discovery
// document promises, and its tokens open the routes of the zone that they are for.
func TestOpenIDFlows(t *testing.T) {
	t.Parallel()
	z, world, _ := startRelying(t)
	compare(t, z.suite("openid-flows.mjs", world), []finding{
		{"discovery", `{"issuer":true,"pkce":["S256"],"responses":["code"],"modes":["query"],"iss":true,"password":false,"elsewhere":[]}`},
		{"code", `{"iss":true,"type":"bearer","expires":600,"access":"spa_","refresh":"spr_","scope":"email offline_access openid things.read","sub":true,"aud":"web","acr":"1",
			"claims":"acr aud auth_time exp iat iss nonce sid sub","sid":true,"again":["GET /oauth/authorize 303"],
			"pages":["GET /oauth/authorize 303","GET /auth/login 200","POST /auth/login 200","GET /oauth/authorize/* 200","POST /oauth/consent 200"]}`},
		{"posted request", `{"status":303,"answer":"code iss state","state":true}`},
		{"userinfo", `{"email":"alice@shop.example","verified":true,"less":["sub"]}`},
		{"refresh rotation", `{"rotated":true,"access":true,"visit":200,"less":"things.read","write":"access.scope","written":200}`},
		{"overlap", `{"same":true,"access":true,"children":1,"alive":true}`},
		{"reuse", `{"before":200,"again":"invalid_grant","child":"invalid_grant","active":[false,false,false],"visit":"auth.revoked"}`},
		{"introspection", `{"active":true,"client":"web","scope":"openid things.read","type":"Bearer","sub":true,"iss":true,"life":600,"stranger":false,"refresh":false,"nothing":false}`},
		{"revocation", `{"before":200,"stranger":"access_denied","still":200,"after":"auth.revoked","refresh":"invalid_grant","access":"auth.revoked","grant":"invalid_grant","unknown":"accepted"}`},
		{"client credentials", `{"type":"bearer","refresh":false,"id":false,"machine":200,"mine":"access.kind","basic":200,"wrong":"OAUTH_WWW_AUTHENTICATE_CHALLENGE"}`},
		{"private_key_jwt, DPoP and nonce", `{"attempts":[400,200],"type":"dpop","own":200,"thief":"401 dpop invalid_dpop_proof","bearer":"auth.invalid","scheme":"auth.proof","jkt":true,"introspected":"DPoP"}`},
		// RFC 9449 section 5: a refresh token of a confidential client is bound to the client, not to the key.
		{"PAR and DPoP", `{"type":"dpop","sub":true,"route":200,"bearer":401,"next":"dpop","otherKey":"accepted"}`},
		{"device", `{"waits":["authorization_pending","slow_down"],"complete":false,"uri":true,"code":8,"expires":300,"visit":200,"twice":"slow_down","denied":"access_denied","unknown":"invalid_grant",
			"pages":["GET /oauth/device 303","GET /auth/login 200","POST /auth/login 200","GET /oauth/device 200","POST /oauth/device 200","POST /oauth/consent 200","GET /oauth/device 200","POST /oauth/device 200","POST /oauth/consent 200"]}`},
		{"token exchange", `{"issued":"urn:ietf:params:oauth:token-type:access_token","client":"desk","sub":true,"scope":"things.read","visited":200,"refresh":false,
			"more":"invalid_scope","again":"invalid_request","inside":"invalid_request","elsewhere":"invalid_target","id":"invalid_request","stranger":"unauthorized_client","ended":"auth.revoked"}`},
		{"JWT access token", `{"alg":"ES256","client":"spa","sub":true,"scope":"openid things.read","before":200,"idToken":"auth.invalid","after":"auth.revoked","names":"acr aud auth_time client_id exp grant_id iat iss jti scope sub"}`},
		{"prompt and max_age", `{"nobody":"login_required","silent":"code","asks":"consent_required","quiet":["GET /oauth/authorize"],"old":true,"later":true,"again":true,"consent":"code","hinted":"code",
			"aged":["GET /oauth/authorize","GET /auth/step-up","POST /auth/step-up","GET /oauth/authorize/*"],
			"prompted":["GET /oauth/authorize","GET /auth/step-up","POST /auth/step-up","GET /oauth/authorize/*"],"consented":["GET /oauth/authorize","POST /oauth/consent"]}`},
		{"acr_values", `{"first":["2",["mfa"]],"second":["2",["mfa"]],"silent":["2",["mfa"]],"told":"2","factorless":"ends","essential":"unmet_authentication_requirements"}`},
	})
}

// TestOAuthProtocol: the same at the level of the protocol, where oauth4webapi holds
// each answer to its standard.
func TestOAuthProtocol(t *testing.T) {
	t.Parallel()
	z, world, _ := startRelying(t)
	compare(t, z.suite("oauth-protocol.mjs", world), []finding{
		{"metadata", `{"same":true}`},
		{"code and refresh", `{"email":"alice@shop.example","rotated":true,"id":true}`},
		{"DPoP with the nonce of the server", `{"type":"dpop","nonces":["use_dpop_nonce"],"status":200,"client":"spa","scope":"openid things.read","bound":["jkt"],"next":"dpop"}`},
		{"PAR, DPoP and private_key_jwt", `{"type":"dpop","active":true,"bound":["jkt"]}`},
		{"introspection and revocation", `{"before":true,"after":false}`},
		{"client credentials", `{"type":"bearer","scope":"things.read"}`},
		{"device", `{"type":"bearer","id":true}`},
		{"errors", `{"grant":"ResponseBodyError 400 invalid_grant","client":"WWWAuthenticateChallengeError 401 basic","userinfo":"WWWAuthenticateChallengeError 401 bearer",
			"route":"WWWAuthenticateChallengeError 401 bearer","nobody":401,"refusal":"AuthorizationResponseError invalid_scope"}`},
	})
}

// TestOpenIDLogout: a logout that a client asks for ends the session, what was
// granted in it, and is told to clients that want to know; no page can log anybody
// out by itself, nor lead them anywhere.
func TestOpenIDLogout(t *testing.T) {
	t.Parallel()
	z, world, _ := startRelying(t)
	const no = "400 The app asked for something that is not possible"
	compare(t, z.suite("openid-logout.mjs", world), []finding{
		{"with a hint", `{"before":[200,200],"to":"https://web.example/bye?state=st","pages":["GET /oauth/logout 303"],"me":401,"visit":"auth.revoked","active":false,"refresh":"invalid_grant",
			"offline":200,"kept":"accepted",
			"told":{"method":"POST","type":"application/x-www-form-urlencoded","events":["http://schemas.openid.net/event/backchannel-logout"],"nonce":false,"sub":true,"alg":"ES256"}}`},
		{"without a hint", `{"stays":true,"me":200,"to":"https://web.example/bye","after":401,"visit":"auth.revoked"}`},
		{"with the hint of another session", `{"status":200,"asks":true,"mine":200,"other":200}`},
		{"to elsewhere", `{"answers":{"https://evil.example/bye":"` + no + `","https://web.example/bye/":"` + no + `","https://web.example/bye?x=1":"` + no + `","https://web.example/cb":"` + no + `","javascript:alert(1)":"` + no + `"},
			"other":"` + no + `","me":200}`},
		{"of the account", `{"status":303,"clear":"\"storage\", \"cache\"","visit":"auth.revoked","told":1}`},
		{"everywhere", `{"status":303,"visits":["auth.revoked","auth.revoked"],"refresh":"invalid_grant","told":2}`},
	})
}
