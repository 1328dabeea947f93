package outward

import (
	"math/big"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

func every() []string {
	return []string{"ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA"}
}

func named(list []string) []jose.SignatureAlgorithm {
	var all []jose.SignatureAlgorithm
	for _, a := range list {
		all = append(all, jose.SignatureAlgorithm(a))
	}
	return all
}

func TestParseKeys(t *testing.T) {
	of := jwkOf(t, newKey(t, jose.RS256).Public(), "a")
	ec, wide, ed := jwkOf(t, newKey(t, jose.ES256).Public(), "a"), jwkOf(t, newKey(t, jose.ES512).Public(), "a"), jwkOf(t, newKey(t, jose.EdDSA).Public(), "a")
	modulus := func(bits uint) object {
		n := new(big.Int).Lsh(big.NewInt(1), bits-1)
		return object{"n": b64(n.Add(n, big.NewInt(1)).Bytes())}
	}
	beside := jwkOf(t, newKey(t, jose.ES384).Public(), "beside")
	for _, c := range []struct {
		name    string
		key     object
		allowed []string
		want    string // algorithms; empty: passed over
	}{
		{"P-256", ec, every(), "ES256"},
		{"P-521", wide, every(), "ES512"},
		{"Ed25519", ed, every(), "EdDSA"},
		{"Ed25519 by its name of RFC 9864", with(ed, object{"alg": "Ed25519"}), every(), "EdDSA"},
		{"Ed25519 by its older name", with(ed, object{"alg": "EdDSA"}), every(), "EdDSA"},
		{"RSA", of, every(), "RS256 RS384 RS512 PS256 PS384 PS512"},
		{"RSA for what is allowed", of, []string{"PS256", "ES256"}, "PS256"},
		{"RSA for its own algorithm", with(of, object{"alg": "RS256"}), every(), "RS256"},
		{"without use and kid", with(ec, object{"use": nil, "kid": nil}), every(), "ES256"},
		{"key_ops", with(ec, object{"key_ops": []string{"verify"}}), every(), "ES256"},
		{"a certificate that is none", with(ec, object{"x5c": []string{"MIIB"}, "x5t": "a", "x5u": "http://x"}), every(), "ES256"},

		{"Ed25519 that is not allowed", with(ed, object{"alg": "Ed25519"}), []string{"ES256"}, ""},
		{"Ed25519 that says Ed448", with(ed, object{"alg": "Ed448"}), every(), ""},
		{"another algorithm of its own than is allowed", with(of, object{"alg": "RS512"}), []string{"RS256"}, ""},
		{"an algorithm of another type", with(ec, object{"alg": "RS256"}), every(), ""},
		{"the algorithm of another curve", with(ec, object{"alg": "ES384"}), every(), ""},
		{"a symmetric algorithm", with(of, object{"alg": "HS256"}), append(every(), "HS256"), ""},
		{"alg none", with(of, object{"alg": "none"}), append(every(), "none"), ""},
		{"alg that is no text", with(of, object{"alg": 1}), every(), ""},
		{"none that is allowed", ec, []string{"RS256"}, ""},
		{"for encryption", with(ec, object{"use": "enc"}), every(), ""},
		{"use that is no text", with(ec, object{"use": 1}), every(), ""},
		{"key_ops without verify", with(ec, object{"key_ops": []string{"sign"}}), every(), ""},
		{"key_ops that are no list", with(ec, object{"key_ops": "verify"}), every(), ""},
		{"private EC", with(ec, object{"d": "AQAB"}), every(), ""},
		{"private RSA", with(of, object{"p": "AQAB"}), every(), ""},
		{"symmetric", object{"kty": "oct", "k": "c2VjcmV0", "kid": "a"}, append(every(), "HS256"), ""},
		{"symmetric without its secret", object{"kty": "oct", "kid": "a"}, every(), ""},
		{"RSA of 1024 bits", with(of, modulus(1024)), every(), ""},
		{"RSA of 2047 bits", with(of, modulus(2047)), every(), ""},
		{"RSA of 2048 bits", with(of, modulus(2048)), []string{"RS256"}, "RS256"},
		{"RSA of 8193 bits", with(of, modulus(8193)), every(), ""},
		{"RSA with the exponent 1", with(of, object{"e": "AQ"}), every(), ""},
		{"RSA with an even exponent", with(of, object{"e": "AQAA"}), every(), ""},
		{"RSA with a long exponent", with(of, object{"e": b64([]byte{1, 0, 0, 0, 0, 0, 0, 0, 3})}), every(), ""},
		{"RSA without modulus", with(of, object{"n": nil}), every(), ""},
		{"a point that is not on the curve", with(ec, object{"x": ec["y"]}), every(), ""},
		{"a point of another curve", with(ec, object{"crv": "P-384"}), every(), ""},
		{"a curve that is not for JWS", with(ec, object{"crv": "P-224"}), every(), ""},
		{"Ed25519, too short", with(ed, object{"x": "AQAB"}), every(), ""},
		{"X25519", with(ed, object{"crv": "X25519"}), every(), ""},
		{"an unknown type", object{"kty": "AKP", "kid": "a", "pub": "x"}, every(), ""},
		{"no type", object{"kid": "a"}, every(), ""},
		{"nothing", object{}, every(), ""},
		{"a kid that is no text", with(ec, object{"kid": 1}), every(), ""},
		{"a long kid", with(ec, object{"kid": strings.Repeat("k", MaxKeyID+1)}), every(), ""},
	} {
		// A key that is passed over does not take the others with it.
		set, err := parseKeys(mustJSON(t, object{"keys": []object{c.key, beside}}), append(named(c.allowed), jose.ES384))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		var got []string
		for _, k := range set.keys {
			if k.id == "beside" {
				continue
			}
			for _, a := range k.algorithms {
				got = append(got, string(a))
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: algorithms %v, want %q; skipped %q", c.name, got, c.want, set.skipped)
		}
		if passed := c.want == ""; passed != (len(set.skipped) == 1) || set.keys[len(set.keys)-1].id != "beside" {
			t.Errorf("%s: %d keys, skipped %q", c.name, len(set.keys), set.skipped)
		}
	}
}

func TestParseKeysRefuses(t *testing.T) {
	one := string(mustJSON(t, jwkOf(t, newKey(t, jose.ES256).Public(), "a")))
	for name, text := range map[string]string{
		"nothing":          "",
		"a page":           "<html>404</html>",
		"null":             "null",
		"a list":           "[" + one + "]",
		"no keys":          "{}",
		"keys null":        `{"keys":null}`,
		"keys in capitals": `{"KEYS":[` + one + `]}`,
		"a key as text":    `{"keys":["a"]}`,
		"keys twice":       `{"keys":[],"keys":[` + one + `]}`,
		"kid twice":        `{"keys":[{"kid":"a","kid":"b"}]}`,
		"more behind":      `{"keys":[]}{}`,
		"too many keys":    `{"keys":[` + strings.Repeat(one+",", maxKeys) + one + `]}`,
	} {
		if set, err := parseKeys([]byte(text), named(every())); err == nil {
			t.Errorf("%s: %d keys, want an error", name, len(set.keys))
		}
	}
	for name, text := range map[string]string{
		"one":            `{"keys":[` + one + `],"more":1}`,
		"all":            `{"keys":[` + strings.Repeat(one+",", maxKeys-1) + one + `]}`,
		"all taken back": `{"keys":[]}`,
	} {
		if _, err := parseKeys([]byte(text), named(every())); err != nil {
			t.Errorf("%s: %v, want none", name, err)
		}
	}
}

func TestFind(t *testing.T) {
	of := func(id string, algorithms ...jose.SignatureAlgorithm) key { return key{id: id, algorithms: algorithms} }
	for _, c := range []struct {
		name  string
		keys  []key
		kid   string // empty: none
		found int
		known bool
	}{
		{"by name", []key{of("a", jose.ES256), of("b", jose.ES256)}, "a", 1, true},
		{"another name", []key{of("a", jose.ES256)}, "b", 0, false},
		{"a name in capitals", []key{of("a", jose.ES256)}, "A", 0, false},
		{"a key without name", []key{of("", jose.ES256)}, "a", 0, false},
		{"of another algorithm", []key{of("a", jose.RS256)}, "a", 0, true},
		{"two of one name", []key{of("a", jose.ES256), of("a", jose.ES256)}, "a", 2, true},
		{"a crowd of one name", []key{of("a", jose.ES256), of("a", jose.ES256), of("a", jose.ES256), of("a", jose.ES256), of("a", jose.ES256)}, "a", maxSameName, true},
		{"no name, one key", []key{of("a", jose.ES256)}, "", 1, true},
		{"no name, one key that suits", []key{of("a", jose.ES256), of("b", jose.RS256)}, "", 1, true},
		{"no name, two keys", []key{of("a", jose.ES256), of("b", jose.ES256)}, "", 0, true},
		{"no name, no key", []key{of("a", jose.RS256)}, "", 0, false},
		{"no keys", nil, "a", 0, false},
	} {
		found, known := (&KeySet{keys: c.keys}).find(jose.Header{Algorithm: "ES256", KeyID: c.kid})
		if len(found) != c.found || known != c.known {
			t.Errorf("%s: %d keys, known %v; want %d, %v", c.name, len(found), known, c.found, c.known)
		}
	}
}
