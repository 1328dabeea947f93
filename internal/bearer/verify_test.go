package bearer

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/outward"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

func TestAccepted(t *testing.T) {
	signers := map[string]signer{}
	var all []signer
	for _, a := range []string{"ES256", "ES384", "RS256", "PS256", "EdDSA"} {
		signers[a] = newSigner(t, "key of "+a, a)
		all = append(all, signers[a])
	}
	r := startIssuer(t, all...)
	w := newWorld(t, Config{}, r.provider("sso"))
	ann := policy.Principal{Kind: policy.User, Subject: "sso:alice", Client: "sso:shop-web", Level: 1, Method: "bearer"}
	for _, c := range []struct {
		name           string
		signer         string
		header, claims object
		want           policy.Principal
	}{
		{"ES256", "ES256", nil, nil, ann},
		{"ES384", "ES384", nil, nil, ann},
		{"RS256", "RS256", nil, nil, ann},
		{"PS256", "PS256", nil, nil, ann},
		{"EdDSA", "EdDSA", nil, nil, ann},
		{"an access token by its type", "ES256", object{"typ": "at+jwt"}, nil, ann},
		{"the whole media type in capitals", "ES256", object{"typ": "application/AT+JWT"}, nil, ann},
		{"no type", "ES256", object{"typ": nil}, nil, ann},
		{"a thumbprint beside the kid", "ES256", object{"x5t": "abc"}, nil, ann},
		{"an address of keys, not looked at", "ES256", object{"jku": "https://evil.example/keys"}, nil, ann},
		{"a list of audiences", "ES256", nil, object{"aud": []string{"other", "shop-api"}}, ann},
		{"no client", "ES256", nil, object{"azp": nil}, with1(ann, func(p *policy.Principal) { p.Client = "" })},
		{"client_id", "ES256", nil, object{"azp": nil, "client_id": "app"}, with1(ann, func(p *policy.Principal) { p.Client = "sso:app" })},
		{"both names of the client", "ES256", nil, object{"client_id": "shop-web"}, ann},
		{"fractions of a second", "ES256", nil, object{"exp": float64(start.Unix()) + 0.5}, ann},
		{"no iat", "ES256", nil, object{"iat": nil}, ann},
		{"a subject of Auth0", "ES256", nil, object{"sub": "auth0|5f7c8e"}, with1(ann, func(p *policy.Principal) { p.Subject = "sso:auth0|5f7c8e" })},
		{"a subject with colons", "ES256", nil, object{"sub": "a:b:c"}, with1(ann, func(p *policy.Principal) { p.Subject = "sso:a:b:c" })},
		{"the time of the login", "ES256", nil, object{"auth_time": start.Add(-time.Hour).Unix()}, with1(ann, func(p *policy.Principal) { p.AuthTime = start.Add(-time.Hour) })},
		{"a login in the future", "ES256", nil, object{"auth_time": start.Add(time.Hour).Unix()}, ann},
		{"claims that are not mapped", "ES256", nil, object{"roles": []string{"admin"}, "scope": "admin", "groups": "admin", "acr": "2"}, ann},
		{"an access token of Keycloak with nonce", "ES256", nil, object{"typ": "Bearer", "nonce": "n"}, ann},
		{"an access token of Cognito", "ES256", nil, object{"token_use": "access"}, ann},
	} {
		s := signers[c.signer]
		token := s.token(t, with(s.header(), c.header), with(r.claims(), c.claims))
		for _, again := range []string{"", ", remembered"} {
			p, until, err := w.Verify(t.Context(), token)
			if err != nil {
				t.Errorf("%s%s: %v, want accepted\n%s", c.name, again, err, w.log)
				break
			}
			p.AuthTime = p.AuthTime.UTC()
			if !reflect.DeepEqual(p, c.want) {
				t.Errorf("%s%s: got %+v, want %+v", c.name, again, p, c.want)
			}
			if most := start.Add(5 * time.Minute); until.After(most) {
				t.Errorf("%s%s: until %v, want at most exp %v", c.name, again, until, most)
			}
		}
	}
	if n := r.keySets.Load(); n != 1 {
		t.Errorf("the issuer was asked for its keys %d times, want 1", n)
	}
}

func with1(p policy.Principal, change func(*policy.Principal)) policy.Principal {
	change(&p)
	return p
}

// TestRefused is GW-15: whatever is not this issuer's access token for this zone
// is refused. Each row differs by one thing from the token that was accepted
// just before.
func TestRefused(t *testing.T) {
	good, stranger := newSigner(t, "k1", "ES256"), newSigner(t, "k1", "ES256")
	ofRSA := newSigner(t, "k2", "RS256")
	r := startIssuer(t, good, ofRSA)
	w := newWorld(t, Config{}, r.provider("sso"))
	head, body := good.header(), r.claims()
	signed := func(header, claims object) string { return good.token(t, with(head, header), with(body, claims)) }
	parts := strings.Split(signed(nil, nil), ".")
	far := start.Add(time.Hour).Unix()
	unsigned := func(header object, signature func(input string) []byte) string {
		input := b64(mustJSON(t, with(head, header))) + "." + parts[1]
		return input + "." + b64(signature(input))
	}
	nothing := func(string) []byte { return nil }
	for _, c := range []struct {
		name  string
		token string
		want  problem.Reason
	}{
		// Signatures.
		{"alg none", unsigned(object{"alg": "none"}, nothing), problem.AuthInvalid},
		{"alg none in capitals with a signature", unsigned(object{"alg": "NONE"}, func(string) []byte { return []byte("x") }), problem.AuthInvalid},
		{"no alg", signed(object{"alg": nil}, nil), problem.AuthInvalid},
		{"alg as a list", signed(object{"alg": []string{"ES256"}}, nil), problem.AuthInvalid},
		{"HS256 with the public key as it is published", unsigned(object{"alg": "HS256"}, func(in string) []byte { return hmacSHA256(mustJSON(t, good.jwk()), in) }), problem.AuthInvalid},
		{"HS256 with the point of the public key", unsigned(object{"alg": "HS256"}, func(in string) []byte { return hmacSHA256([]byte(good.jwk()["x"].(string)), in) }), problem.AuthInvalid},
		{"HS256 with the modulus of the RSA key", unsigned(object{"alg": "HS256", "kid": "k2"}, func(in string) []byte { return hmacSHA256([]byte(ofRSA.jwk()["n"].(string)), in) }), problem.AuthInvalid},
		{"HS256 with nothing", unsigned(object{"alg": "HS256"}, func(in string) []byte { return hmacSHA256(nil, in) }), problem.AuthInvalid},
		{"the algorithm of another key", unsigned(object{"alg": "RS256"}, func(in string) []byte { return good.signature(t, "ES256", in) }), problem.AuthInvalid},
		{"another algorithm of the key, which is not allowed", signer{"k2", "RS512", ofRSA.private}.token(t, object{"alg": "RS512", "kid": "k2"}, body), problem.AuthInvalid},
		{"a stranger's signature", stranger.token(t, head, body), problem.AuthInvalid},
		{"no signature", unsigned(nil, nothing), problem.AuthInvalid},
		{"zeros for a signature", unsigned(nil, func(string) []byte { return make([]byte, 64) }), problem.AuthInvalid},
		{"a signature in DER", unsigned(nil, func(in string) []byte {
			return append([]byte{0x30, 0x44, 2, 32}, good.signature(t, "ES256", in)...)
		}), problem.AuthInvalid},
		{"claims of another token", parts[0] + "." + b64(mustJSON(t, with(body, object{"sub": "bob"}))) + "." + parts[2], problem.AuthInvalid},
		{"a header of another token", b64(mustJSON(t, with(head, object{"x": "y"}))) + "." + parts[1] + "." + parts[2], problem.AuthInvalid},
		// Keys that the token brings or names.
		{"its own key in jwk", stranger.token(t, with(head, object{"jwk": stranger.jwk()}), body), problem.AuthInvalid},
		{"its own key in jwk, with no kid", stranger.token(t, with(head, object{"jwk": stranger.jwk(), "kid": nil}), body), problem.AuthInvalid},
		{"an address in jku", stranger.token(t, with(head, object{"jku": r.URL + "/keys"}), body), problem.AuthInvalid},
		{"an address in x5u", stranger.token(t, with(head, object{"x5u": r.URL + "/keys"}), body), problem.AuthInvalid},
		{"a certificate in x5c", stranger.token(t, with(head, object{"x5c": []string{"MIIB"}}), body), problem.AuthInvalid},
		{"a path as kid", stranger.token(t, with(head, object{"kid": "../../../../dev/null"}), body), problem.AuthInvalid},
		{"SQL as kid", stranger.token(t, with(head, object{"kid": "k1' UNION SELECT 'x"}), body), problem.AuthInvalid},
		{"a kid with NUL", stranger.token(t, with(head, object{"kid": "k1\x00"}), body), problem.AuthInvalid},
		{"a kid that is no text", signed(object{"kid": 1}, nil), problem.AuthInvalid},
		{"an empty kid", signed(object{"kid": ""}, nil), problem.AuthInvalid},
		{"a long kid", signed(object{"kid": strings.Repeat("k", outward.MaxKeyID+1)}, nil), problem.AuthInvalid},
		{"no kid and a stranger's signature", stranger.token(t, with(head, object{"kid": nil}), body), problem.AuthInvalid},
		// Headers that change how the rest is to be read.
		{"crit", signed(object{"crit": []string{"exp"}}, nil), problem.AuthInvalid},
		{"empty crit", signed(object{"crit": []string{}}, nil), problem.AuthInvalid},
		{"b64", signed(object{"b64": false, "crit": []string{"b64"}}, nil), problem.AuthInvalid},
		{"b64 alone", signed(object{"b64": false}, nil), problem.AuthInvalid},
		{"zip", signed(object{"zip": "DEF"}, nil), problem.AuthInvalid},
		{"typ of an inside token", signed(object{"typ": "txntoken+jwt"}, nil), problem.AuthInvalid},
		{"typ of a logout token", signed(object{"typ": "logout+jwt"}, nil), problem.AuthInvalid},
		{"typ of a DPoP proof", signed(object{"typ": "dpop+jwt"}, nil), problem.AuthInvalid},
		{"empty typ", signed(object{"typ": ""}, nil), problem.AuthInvalid},
		{"typ that is no text", signed(object{"typ": []string{"JWT"}}, nil), problem.AuthInvalid},
		// Claims.
		{"another issuer", signed(nil, object{"iss": "https://other.example"}), problem.AuthInvalid},
		{"the issuer with a slash", signed(nil, object{"iss": r.URL + "/"}), problem.AuthInvalid},
		{"the issuer in capitals", signed(nil, object{"iss": strings.ToUpper(r.URL)}), problem.AuthInvalid},
		{"no issuer", signed(nil, object{"iss": nil}), problem.AuthInvalid},
		{"a list of issuers", signed(nil, object{"iss": []string{r.URL}}), problem.AuthInvalid},
		{"another audience", signed(nil, object{"aud": "other-api"}), problem.AuthInvalid},
		{"an audience that begins alike", signed(nil, object{"aud": "shop-api-admin"}), problem.AuthInvalid},
		{"audiences in one text", signed(nil, object{"aud": "other shop-api"}), problem.AuthInvalid},
		{"no audience", signed(nil, object{"aud": nil}), problem.AuthInvalid},
		{"an empty list of audiences", signed(nil, object{"aud": []string{}}), problem.AuthInvalid},
		{"audiences that are not all texts", signed(nil, object{"aud": []any{"shop-api", 1}}), problem.AuthInvalid},
		{"an audience within a list within a list", signed(nil, object{"aud": []any{[]string{"shop-api"}}}), problem.AuthInvalid},
		{"too many audiences", signed(nil, object{"aud": append(make([]string, maxAudience), "shop-api")}), problem.AuthInvalid},
		{"expired", signed(nil, object{"exp": start.Add(-time.Second).Unix()}), problem.AuthExpired},
		{"expired this moment", signed(nil, object{"exp": start.Unix()}), problem.AuthExpired},
		{"no exp", signed(nil, object{"exp": nil}), problem.AuthInvalid},
		{"exp as text", signed(nil, object{"exp": fmt.Sprint(far)}), problem.AuthInvalid},
		{"exp null", good.raw(t, mustJSON(t, head), []byte(`{"iss":"`+r.URL+`","aud":"shop-api","sub":"a","exp":null}`)), problem.AuthInvalid},
		{"exp 0", signed(nil, object{"exp": 0}), problem.AuthInvalid},
		{"exp negative", signed(nil, object{"exp": -far}), problem.AuthInvalid},
		{"exp after all time", signed(nil, object{"exp": 1e300}), problem.AuthInvalid},
		{"exp that no float has", good.raw(t, mustJSON(t, head), []byte(`{"iss":"`+r.URL+`","aud":"shop-api","sub":"a","exp":1e999}`)), problem.AuthInvalid},
		{"not yet", signed(nil, object{"nbf": start.Add(leeway + time.Second).Unix(), "exp": far}), problem.AuthInvalid},
		{"nbf as text", signed(nil, object{"nbf": "0"}), problem.AuthInvalid},
		{"issued in the future", signed(nil, object{"iat": start.Add(leeway + time.Second).Unix(), "exp": far}), problem.AuthInvalid},
		{"no sub", signed(nil, object{"sub": nil}), problem.AuthInvalid},
		{"empty sub", signed(nil, object{"sub": ""}), problem.AuthInvalid},
		{"sub as number", signed(nil, object{"sub": 7}), problem.AuthInvalid},
		{"a long sub", signed(nil, object{"sub": strings.Repeat("s", maxSubject+1)}), problem.AuthInvalid},
		{"sub with a line break", signed(nil, object{"sub": "alice\r\nX-User-Roles: admin"}), problem.AuthInvalid},
		{"sub with a space", signed(nil, object{"sub": "alice smith"}), problem.AuthInvalid},
		{"sub with NUL", signed(nil, object{"sub": "alice\x00"}), problem.AuthInvalid},
		{"sub beyond ASCII", signed(nil, object{"sub": "al\u0456ce"}), problem.AuthInvalid},
		{"azp and client_id that differ", signed(nil, object{"client_id": "other"}), problem.AuthInvalid},
		{"azp that is no text", signed(nil, object{"azp": []string{"shop-web"}}), problem.AuthInvalid},
		{"azp with a line break", signed(nil, object{"azp": "a\nb"}), problem.AuthInvalid},
		// Tokens that are not for calling.
		{"an ID token by nonce", signed(nil, object{"nonce": "n"}), problem.AuthInvalid},
		{"an ID token by at_hash", signed(object{"typ": "at+jwt"}, object{"at_hash": "h"}), problem.AuthInvalid},
		{"an ID token by c_hash", signed(nil, object{"c_hash": "h"}), problem.AuthInvalid},
		{"an ID token of Keycloak", signed(nil, object{"typ": "ID"}), problem.AuthInvalid},
		{"a refresh token of Keycloak", signed(nil, object{"typ": "Refresh"}), problem.AuthInvalid},
		{"an ID token of Cognito", signed(nil, object{"token_use": "id"}), problem.AuthInvalid},
		{"a logout token", signed(nil, object{"events": object{"http://schemas.openid.net/event/backchannel-logout": object{}}}), problem.AuthInvalid},
		{"a token bound to a key (DPoP)", signed(object{"typ": "at+jwt"}, object{"cnf": object{"jkt": "x"}}), problem.AuthInvalid},
		{"a token bound to a certificate", signed(nil, object{"cnf": object{"x5t#S256": "x"}}), problem.AuthInvalid},
		// Forms.
		{"sub twice", good.raw(t, mustJSON(t, head), []byte(`{"iss":"`+r.URL+`","aud":"shop-api","exp":`+fmt.Sprint(far)+`,"sub":"alice","sub":"bob"}`)), problem.AuthInvalid},
		{"sub twice, once escaped", good.raw(t, mustJSON(t, head), []byte(`{"iss":"`+r.URL+`","aud":"shop-api","exp":`+fmt.Sprint(far)+`,"sub":"alice","\u0073ub":"bob"}`)), problem.AuthInvalid},
		{"a duplicate further inside", good.raw(t, mustJSON(t, head), []byte(`{"iss":"`+r.URL+`","aud":"shop-api","exp":`+fmt.Sprint(far)+`,"sub":"alice","x":[{"a":1,"a":2}]}`)), problem.AuthInvalid},
		{"alg twice", good.raw(t, []byte(`{"alg":"ES256","kid":"k1","alg":"ES256"}`), mustJSON(t, body)), problem.AuthInvalid},
		{"Sub for sub", signed(nil, object{"sub": nil, "Sub": "alice"}), problem.AuthInvalid},
		{"claims as a list", good.raw(t, mustJSON(t, head), []byte(`[]`)), problem.AuthInvalid},
		{"claims null", good.raw(t, mustJSON(t, head), []byte(`null`)), problem.AuthInvalid},
		{"claims and more", good.raw(t, mustJSON(t, head), append(mustJSON(t, body), '{', '}')), problem.AuthInvalid},
		{"claims that are not UTF-8", good.raw(t, mustJSON(t, head), []byte("{\"sub\":\"\xff\"}")), problem.AuthInvalid},
		{"no claims", good.raw(t, mustJSON(t, head), nil), problem.AuthInvalid},
		{"deep claims", good.raw(t, mustJSON(t, head), []byte(strings.Repeat("[", 5000))), problem.AuthInvalid},
		{"two segments", parts[0] + "." + parts[1], problem.AuthInvalid},
		{"four segments", strings.Join(parts, ".") + ".x", problem.AuthInvalid},
		{"five segments", strings.Join(parts, ".") + ".x.y", problem.AuthInvalid},
		{"nothing", "", problem.AuthInvalid},
		{"dots", "..", problem.AuthInvalid},
		{"padding", parts[0] + "=." + parts[1] + "." + parts[2], problem.AuthInvalid},
		{"a line break", parts[0] + "\n." + parts[1] + "." + parts[2], problem.AuthInvalid},
		{"JSON serialization", string(mustJSON(t, object{"protected": parts[0], "payload": parts[1], "signature": parts[2]})), problem.AuthInvalid},
		{"an opaque token", "sps_" + strings.Repeat("a", 43), problem.AuthInvalid},
		{"a huge token", signed(nil, object{"x": strings.Repeat("x", maxToken)}), problem.AuthInvalid},
	} {
		w.accepted(c.name+": positive control", signed(nil, object{"jti": c.name}))
		w.refused(c.name, c.token, c.want)
		w.refused(c.name+", again", c.token, c.want)
	}
}

// TestLargestToken: what is just within the bound is taken.
func TestLargestToken(t *testing.T) {
	s := newSigner(t, "k", "ES256")
	r := startIssuer(t, s)
	w := newWorld(t, Config{}, r.provider("sso"))
	at := func(n int) string {
		return s.token(t, s.header(), with(r.claims(), object{"x": strings.Repeat("x", n)}))
	}
	fill := 3 * (maxToken - len(at(0))) / 4
	for len(at(fill)) > maxToken {
		fill--
	}
	if got := at(fill); len(got) < maxToken-4 {
		t.Fatalf("%d bytes, want nearly %d", len(got), maxToken)
	}
	w.accepted("the largest", at(fill))
	w.refused("one more", at(fill+4), problem.AuthInvalid)
}

// TestCrossProvider: an issuer speaks for its own users only, with whatever key
// and name, and two providers never share a subject.
func TestCrossProvider(t *testing.T) {
	a, b := newSigner(t, "shared", "ES256"), newSigner(t, "shared", "ES256")
	ra, rb := startIssuer(t, a), startIssuer(t, b)
	w := newWorld(t, Config{}, ra.provider("a"), rb.provider("a-b"))
	ofA := w.accepted("a's own", a.token(t, a.header(), ra.claims()))
	ofB := w.accepted("b's own", b.token(t, b.header(), rb.claims()))
	if ofA.Subject != "a:alice" || ofB.Subject != "a-b:alice" {
		t.Errorf("subjects %q and %q", ofA.Subject, ofB.Subject)
	}
	w.refused("b's key for a's issuer", b.token(t, b.header(), ra.claims()), problem.AuthInvalid)
	w.refused("a's key for b's issuer", a.token(t, a.header(), rb.claims()), problem.AuthInvalid)
	w.refused("b's key for a's issuer with b beside it", b.token(t, b.header(), with(ra.claims(), object{"iss": []string{ra.URL, rb.URL}})), problem.AuthInvalid)

	// The audience is each one's own.
	p := rb.provider("a-b")
	p.Audience = "other-api"
	w = newWorld(t, Config{}, ra.provider("a"), p)
	w.accepted("b's own audience", b.token(t, b.header(), with(rb.claims(), object{"aud": "other-api"})))
	w.refused("a's audience with b", b.token(t, b.header(), rb.claims()), problem.AuthInvalid)
	w.refused("b's audience with a", a.token(t, a.header(), with(ra.claims(), object{"aud": "other-api"})), problem.AuthInvalid)
}

func TestLeeway(t *testing.T) {
	s := newSigner(t, "k", "ES256")
	r := startIssuer(t, s)
	w := newWorld(t, Config{}, r.provider("sso"))
	token := func(claims object) string { return s.token(t, s.header(), with(r.claims(), claims)) }
	w.accepted("nbf within the leeway", token(object{"nbf": start.Add(leeway).Unix()}))
	w.accepted("iat within the leeway", token(object{"iat": start.Add(leeway).Unix()}))
	short := token(object{"exp": start.Add(10 * time.Second).Unix()})
	w.accepted("before it expires", short)
	w.clock.advance(10*time.Second - 1)
	w.accepted("the last moment", short)
	w.clock.advance(1)
	w.refused("remembered, and expired", short, problem.AuthExpired)
}

func TestRoles(t *testing.T) {
	s := newSigner(t, "k", "ES256")
	r := startIssuer(t, s)
	groups := map[string][]string{"shop-support": {"support"}, "chiefs": {"admin", "support"}, "7": {"seven"}, "support": {"other"}}
	for _, c := range []struct {
		claim  string
		claims object
		want   []string
	}{
		{"groups", object{"groups": []string{"shop-support"}}, []string{"support"}},
		{"groups", object{"groups": "shop-support"}, []string{"support"}},
		{"groups", object{"groups": []string{"chiefs", "shop-support", "unknown", "admin"}}, []string{"admin", "support"}},
		{"groups", object{"groups": []string{"unknown"}}, nil},
		{"groups", object{"groups": []string{"Chiefs", "chiefs ", ""}}, nil},
		{"groups", object{"groups": "chiefs shop-support"}, nil},
		{"groups", object{"groups": []any{7, nil, true, []string{"chiefs"}, object{"chiefs": 1}}}, nil},
		{"groups", object{"groups": 7}, nil},
		{"groups", object{"groups": object{"chiefs": true}}, nil},
		{"groups", object{"groups": nil, "Groups": "chiefs", "roles": "chiefs"}, nil},
		{"https://shop.example/roles", object{"https://shop.example/roles": []string{"chiefs"}}, []string{"admin", "support"}},
		{"/realm_access/roles", object{"realm_access": object{"roles": []string{"shop-support"}}}, []string{"support"}},
		{"/realm_access/roles", object{"/realm_access/roles": "chiefs", "realm_access": "roles"}, nil},
		{"/realm_access/roles", object{"realm_access": []any{object{"roles": "chiefs"}}}, nil},
		{"/a~1b/c~0d", object{"a/b": object{"c~d": "chiefs"}}, []string{"admin", "support"}},
		{"/x", object{"x": "chiefs"}, []string{"admin", "support"}},
	} {
		p := r.provider("sso")
		p.Roles = &zone.RoleMap{Claim: c.claim, Map: groups}
		w := newWorld(t, Config{}, p)
		got := w.accepted(c.claim, s.token(t, s.header(), with(r.claims(), c.claims))).Roles
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s of %v: roles %v, want %v", c.claim, c.claims, got, c.want)
		}
		// Without a map there are none, whatever the token says.
		w = newWorld(t, Config{}, r.provider("sso"))
		if got := w.accepted("no map", s.token(t, s.header(), with(r.claims(), c.claims))).Roles; got != nil {
			t.Errorf("%v without a map: roles %v, want none", c.claims, got)
		}
	}
	if !reflect.DeepEqual(groups["chiefs"], []string{"admin", "support"}) {
		t.Errorf("the map was changed: %v", groups)
	}
}

func TestClients(t *testing.T) {
	s := newSigner(t, "k", "ES256")
	r := startIssuer(t, s)
	p := r.provider("sso")
	p.Clients = []string{"app", "shop-web"}
	w := newWorld(t, Config{}, p)
	token := func(claims object) string { return s.token(t, s.header(), with(r.claims(), claims)) }
	w.accepted("azp", token(nil))
	w.accepted("client_id", token(object{"azp": nil, "client_id": "app"}))
	w.refused("another client", token(object{"azp": "evil"}), problem.AuthInvalid)
	w.refused("no client", token(object{"azp": nil}), problem.AuthInvalid)
	w.refused("one of two", token(object{"client_id": "evil"}), problem.AuthInvalid)
}

// TestEd25519: EdDSA is taken by both of its names (RFC 9864), where the map allows it.
func TestEd25519(t *testing.T) {
	s := newSigner(t, "k", "EdDSA")
	r := startIssuer(t, s)
	p := r.provider("sso")
	w := newWorld(t, Config{}, p)
	token := func(name string) string {
		by := s
		by.algorithm = name
		return by.token(t, by.header(), with(r.claims(), object{"jti": name}))
	}
	w.accepted("EdDSA", token("EdDSA"))
	w.accepted("Ed25519", token("Ed25519"))
	w.refused("Ed448", token("Ed448"), problem.AuthInvalid)
	w.refused("in other letters", token("ED25519"), problem.AuthInvalid)
	w.refused("by a stranger", newSigner(t, "k", "EdDSA").token(t, with(s.header(), object{"alg": "Ed25519"}), r.claims()), problem.AuthInvalid)
	r.publishRaw(with(s.jwk(), object{"alg": "Ed25519"}))
	newWorld(t, Config{}, p).accepted("a key that says so", token("EdDSA"))
	r.publishRaw(with(s.jwk(), object{"alg": "ES256"}))
	newWorld(t, Config{}, p).refused("a key that says otherwise", token("Ed25519"), problem.AuthInvalid)
	p.Algorithms = []string{"ES256"}
	newWorld(t, Config{}, p).refused("not allowed", token("Ed25519"), problem.AuthInvalid)
}
