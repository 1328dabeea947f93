package bearer

import (
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// seeded is a world whose issuer has published its keys already, and is asked no more.
func seeded(t testing.TB, s signer, roles *zone.RoleMap) (*world, object) {
	t.Helper()
	r := startIssuer(t, s)
	p := r.provider("sso")
	p.Roles = roles
	w := newWorld(t, Config{}, p)
	if err := w.looked(); err != nil {
		t.Fatal(err)
	}
	r.publish()
	return w, object{"iss": r.URL, "aud": "shop-api", "sub": "alice", "exp": start.Add(time.Hour).Unix()}
}

// FuzzVerify throws whole tokens at a verifier whose key the fuzzer does not
// hold: only the seeds that were signed may pass.
func FuzzVerify(f *testing.F) {
	s := newSigner(f, "k", "ES256")
	w, claims := seeded(f, s, nil)
	good := s.token(f, s.header(), claims)
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add(good + ".")
	f.Add(s.token(f, with(s.header(), object{"alg": "none"}), claims))
	f.Add(s.token(f, with(s.header(), object{"kid": "x"}), claims))
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
	w, claims := seeded(f, s, &zone.RoleMap{Claim: "/a/b", Map: map[string][]string{"x": {"one", "two"}, "y": {"two"}}})
	header, payload := string(mustJSON(f, s.header())), string(mustJSON(f, claims))
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
