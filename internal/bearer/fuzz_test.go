package bearer

import (
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// offline is a world whose issuer has published its keys already.
func offline(t testing.TB, s signer, roles *zone.RoleMap) *world {
	t.Helper()
	p := zone.Provider{Name: "sso", Kind: Kind, Issuer: "https://sso.example", Audience: "shop-api", Algorithms: []string{"ES256", "RS256"}, Roles: roles, JWKS: "http://127.0.0.1:1/keys"}
	w := newWorld(t, Config{}, p)
	keys, err := parseKeys(mustJSON(t, object{"keys": []object{s.jwk()}}), p.Algorithms)
	if err != nil {
		t.Fatal(err)
	}
	i := w.list[0]
	i.keys, i.fetched, i.looked = keys, start, start
	return w
}

func offlineClaims() object {
	return object{"iss": "https://sso.example", "aud": "shop-api", "sub": "alice", "exp": start.Add(time.Hour).Unix()}
}

// FuzzVerify throws whole tokens at a verifier whose key the fuzzer does not
// hold: only the seeds that were signed may pass.
func FuzzVerify(f *testing.F) {
	s := newSigner(f, "k", "ES256")
	w := offline(f, s, nil)
	good := s.token(f, s.header(), offlineClaims())
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add(good + ".")
	f.Add(s.token(f, with(s.header(), object{"alg": "none"}), offlineClaims()))
	f.Add(s.token(f, with(s.header(), object{"kid": "x"}), offlineClaims()))
	f.Add(s.raw(f, []byte(`{"alg":"ES256","alg":"none"}`), []byte(`{"iss":1}`)))
	f.Add("..")
	f.Fuzz(func(t *testing.T, token string) {
		p, until, err := w.Verify(t.Context(), token)
		switch problem.ReasonOf(err) {
		case problem.OK:
			if token != good {
				t.Fatalf("accepted a token that was never signed: %q", token)
			}
		case problem.AuthInvalid, problem.AuthExpired:
			if p.Subject != "" || !until.IsZero() {
				t.Fatalf("refused with %+v", p)
			}
		default:
			t.Fatalf("%v", err)
		}
	})
}

// FuzzClaims signs any header and claims with the right key: what is accepted
// keeps every promise of the package.
func FuzzClaims(f *testing.F) {
	s := newSigner(f, "k", "ES256")
	w := offline(f, s, &zone.RoleMap{Claim: "/a/b", Map: map[string][]string{"x": {"one", "two"}, "y": {"two"}}})
	header, payload := string(mustJSON(f, s.header())), string(mustJSON(f, offlineClaims()))
	f.Add(header, payload)
	f.Add(header, strings.Replace(payload, `"alice"`, `"alice","a":{"b":["y","x",1]}`, 1))
	f.Add(header, strings.Replace(payload, `"shop-api"`, `["shop-api","b"]`, 1))
	f.Add(`{"alg":"ES256"}`, payload+" ")
	f.Add("null", "[]")
	f.Fuzz(func(t *testing.T, header, payload string) {
		token := s.raw(t, []byte(header), []byte(payload))
		p, until, err := w.Verify(t.Context(), token)
		if err != nil {
			return
		}
		name, sub, ok := strings.Cut(p.Subject, ":")
		if !ok || name != "sso" || !visible(sub) || p.Kind != policy.User || p.OAuth || p.Scopes != nil || p.Level != 1 ||
			!until.After(start) || len(token) > maxToken || p.Client != "" && !strings.HasPrefix(p.Client, "sso:") {
			t.Fatalf("accepted %s.%s as %+v until %v", header, payload, p, until)
		}
		for _, role := range p.Roles {
			if role != "one" && role != "two" {
				t.Fatalf("roles %v", p.Roles)
			}
		}
	})
}

// FuzzParseKeys: no set makes it panic, and what it takes can verify.
func FuzzParseKeys(f *testing.F) {
	for _, a := range []string{"ES256", "EdDSA", "RS256"} {
		f.Add(mustJSON(f, object{"keys": []object{newSigner(f, "k", a).jwk()}}))
	}
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AQAB"},{"kty":"RSA","n":"AQAB","e":"AQ","d":"AQ"},null,{}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		set, err := parseKeys(data, every())
		if err != nil {
			return
		}
		for _, k := range set.keys {
			own, err := algorithmsOf(k.public)
			if err != nil || len(k.algorithms) == 0 || len(k.algorithms) > len(own) {
				t.Fatalf("took a key for %v: %v", k.algorithms, err)
			}
		}
	})
}
