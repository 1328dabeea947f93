package broker

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"sallyport.dev/internal/broker/brokertest"
	"sallyport.dev/internal/problem"
)

// segment is a part of a JWS.
func segment(payload []byte) string { return base64.RawURLEncoding.EncodeToString(payload) }

// TestIDToken: each token that is not as it should be is refused, and each that is
// near to it is taken.
func TestIDToken(t *testing.T) {
	c := &clock{}
	i := brokertest.NewIssuer(t, c.now, false)
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	publicDER, err := x509.MarshalPKIXPublicKey(i.Key.Public())
	if err != nil {
		t.Fatal(err)
	}
	set := func(name string, value any) brokertest.Fault {
		return brokertest.Fault{Claims: func(c map[string]any) {
			if value == nil {
				delete(c, name)
			} else {
				c[name] = value
			}
		}}
	}
	both := func(a, b brokertest.Fault) brokertest.Fault {
		return brokertest.Fault{Claims: func(c map[string]any) { a.Claims(c); b.Claims(c) }}
	}
	signed := func(f func(payload []byte) string) brokertest.Fault { return brokertest.Fault{Sign: f} }
	unix := func(d time.Duration) int64 { return start.Add(d).Unix() }
	for _, k := range []struct {
		name  string
		fault brokertest.Fault
		want  problem.Reason
	}{
		{"good", brokertest.Fault{}, problem.OK},
		{"wrong iss", set("iss", "https://accounts.example"), problem.ProviderInvalid},
		{"iss with a slash more", set("iss", i.URL+"/"), problem.ProviderInvalid},
		{"no iss", set("iss", nil), problem.ProviderInvalid},
		{"wrong aud", set("aud", "another"), problem.ProviderInvalid},
		{"no aud", set("aud", nil), problem.ProviderInvalid},
		{"aud is a list of one", set("aud", []string{brokertest.ClientID}), problem.OK},
		{"several aud", set("aud", []string{brokertest.ClientID, "another"}), problem.ProviderInvalid},
		{"several aud with azp", both(set("aud", []string{brokertest.ClientID, "another"}), set("azp", brokertest.ClientID)), problem.OK},
		{"too many aud", both(set("aud", strings.Split(strings.Repeat(brokertest.ClientID+" ", 30), " ")), set("azp", brokertest.ClientID)), problem.ProviderInvalid},
		{"azp", set("azp", brokertest.ClientID), problem.OK},
		{"wrong azp", set("azp", "another"), problem.ProviderInvalid},
		{"azp is no text", set("azp", 7), problem.ProviderInvalid},
		{"wrong nonce", set("nonce", "another"), problem.ProviderInvalid},
		{"no nonce", set("nonce", nil), problem.ProviderInvalid},
		{"no sub", set("sub", nil), problem.ProviderInvalid},
		{"empty sub", set("sub", ""), problem.ProviderInvalid},
		{"sub is a number", set("sub", 7), problem.ProviderInvalid},
		{"long sub", set("sub", strings.Repeat("a", 256)), problem.ProviderInvalid},
		{"sub of two lines", set("sub", "a\nb"), problem.ProviderInvalid},
		{"no exp", set("exp", nil), problem.ProviderInvalid},
		{"expired", set("exp", unix(-time.Minute)), problem.ProviderInvalid},
		{"expired within the skew", set("exp", unix(-59*time.Second)), problem.OK},
		{"no iat", set("iat", nil), problem.ProviderInvalid},
		{"issued in the future", set("iat", unix(61*time.Second)), problem.ProviderInvalid},
		{"issued within the skew", set("iat", unix(60*time.Second)), problem.OK},
		{"not yet", set("nbf", unix(61*time.Second)), problem.ProviderInvalid},
		{"not yet within the skew", set("nbf", unix(60*time.Second)), problem.OK},
		{"login in the future", set("auth_time", unix(2*time.Minute)), problem.ProviderInvalid},
		{"wrong at_hash", set("at_hash", "AAAAAAAAAAAAAAAAAAAAAA"), problem.ProviderInvalid},
		{"at_hash is no text", set("at_hash", 7), problem.ProviderInvalid},
		{"no at_hash", set("at_hash", nil), problem.OK},
		{"another access token", brokertest.Fault{Token: func(t map[string]any) { t["access_token"] = "another" }}, problem.ProviderInvalid},
		{"none", signed(func(p []byte) string { return segment([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + segment(p) + "." }), problem.ProviderInvalid},
		{"HS256 with the public key", signed(func(p []byte) string {
			return brokertest.Sign(jose.HS256, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: publicDER}), "one", p)
		}), problem.ProviderInvalid},
		{"HS256 with the secret", signed(func(p []byte) string {
			return brokertest.Sign(jose.HS256, []byte(strings.Repeat(brokertest.ClientSecret, 4)), "one", p)
		}), problem.ProviderInvalid},
		{"unsigned", signed(func(p []byte) string { return segment([]byte(`{"alg":"ES256","kid":"one"}`)) + "." + segment(p) + "." }), problem.ProviderInvalid},
		{"claims changed", signed(func(p []byte) string {
			parts := strings.Split(brokertest.Sign(jose.ES256, i.Key, "one", p), ".")
			return parts[0] + "." + segment([]byte(strings.Replace(string(p), "jane@", "jack@", 1))) + "." + parts[2]
		}), problem.ProviderInvalid},
		{"a stranger's key", signed(func(p []byte) string { return brokertest.Sign(jose.ES256, stranger, "one", p) }), problem.ProviderInvalid},
		{"a stranger's key that it brings", signed(func(p []byte) string {
			s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: stranger}, &jose.SignerOptions{EmbedJWK: true})
			if err != nil {
				panic(err)
			}
			signed, err := s.Sign(p)
			if err != nil {
				panic(err)
			}
			text, _ := signed.CompactSerialize()
			return text
		}), problem.ProviderInvalid},
		{"unknown kid", signed(func(p []byte) string { return brokertest.Sign(jose.ES256, i.Key, "two", p) }), problem.ProviderInvalid},
		{"no kid, one key", signed(func(p []byte) string { return brokertest.Sign(jose.ES256, i.Key, "", p) }), problem.OK},
		{"another type", signed(func(p []byte) string {
			s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: i.Key, KeyID: "one"}}, (&jose.SignerOptions{}).WithType("at+jwt"))
			if err != nil {
				panic(err)
			}
			signed, err := s.Sign(p)
			if err != nil {
				panic(err)
			}
			text, _ := signed.CompactSerialize()
			return text
		}), problem.ProviderInvalid},
		{"a claim twice", signed(func(p []byte) string {
			return brokertest.Sign(jose.ES256, i.Key, "one", []byte(`{"sub":"root",`+string(p[1:])))
		}), problem.ProviderInvalid},
		{"no object", signed(func([]byte) string { return brokertest.Sign(jose.ES256, i.Key, "one", []byte("null")) }), problem.ProviderInvalid},
		{"no token", brokertest.Fault{Token: func(t map[string]any) { delete(t, "id_token") }}, problem.ProviderInvalid},
		{"no JWS", brokertest.Fault{Token: func(t map[string]any) { t["id_token"] = "a.b.c" }}, problem.ProviderInvalid},
		{"long token", brokertest.Fault{Claims: func(c map[string]any) { c["x"] = strings.Repeat("a", maxIDToken) }}, problem.ProviderInvalid},
	} {
		t.Run(k.name, func(t *testing.T) {
			w := newWorld(t, c, oidcOf(i))
			i.Set(k.fault)
			got, err := w.login("sso", i.CA)
			check(t, err, k.want)
			if err != nil && got != (Claims{}) {
				t.Errorf("claims of a refused login: %+v", got)
			}
			if err != nil && !strings.Contains(w.log.String(), `"reason":"`+k.want.Code()) {
				t.Errorf("the log does not say why: %s", w.log)
			}
			if strings.Contains(w.log.String(), brokertest.ClientSecret) {
				t.Error("the log shows the secret")
			}
		})
	}
}

// TestEd25519: an ID token of EdDSA is taken by both of its names (RFC 9864), with
// the hash that goes with it.
func TestEd25519(t *testing.T) {
	c := &clock{}
	i := brokertest.NewIssuer(t, c.now, false)
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, stranger, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	by := func(name string, key ed25519.PrivateKey) func([]byte) string {
		return func(p []byte) string {
			input := segment(fmt.Appendf(nil, `{"alg":%q,"typ":"JWT","kid":"ed"}`, name)) + "." + segment(p)
			return input + "." + segment(ed25519.Sign(key, []byte(input)))
		}
	}
	half := func(sum []byte) string { return segment(sum[:len(sum)/2]) }
	of512, of256 := sha512.Sum512([]byte("access")), sha256.Sum256([]byte("access"))
	for _, k := range []struct {
		name, hash string
		algorithms []string
		sign       func([]byte) string
		want       problem.Reason
	}{
		{"Ed25519", half(of512[:]), []string{"EdDSA"}, by("Ed25519", private), problem.OK},
		{"EdDSA", half(of512[:]), []string{"EdDSA"}, by("EdDSA", private), problem.OK},
		{"the hash of another algorithm", half(of256[:]), []string{"EdDSA"}, by("Ed25519", private), problem.ProviderInvalid},
		{"a stranger's key", half(of512[:]), []string{"EdDSA"}, by("Ed25519", stranger), problem.ProviderInvalid},
		{"not allowed", half(of512[:]), []string{"ES256"}, by("Ed25519", private), problem.ProviderInvalid},
		{"another name", half(of512[:]), []string{"EdDSA"}, by("Ed448", private), problem.ProviderInvalid},
	} {
		i.Set(brokertest.Fault{
			Sign: k.sign, Keys: func([]any) []any { return []any{brokertest.JWK(public, "ed")} },
			Claims: func(c map[string]any) { c["at_hash"] = k.hash },
			Token:  func(t map[string]any) { t["access_token"] = "access" },
		})
		p := oidcOf(i)
		p.Algorithms = k.algorithms
		_, err := newWorld(t, c, p).login("sso", i.CA)
		t.Run(k.name, func(t *testing.T) { check(t, err, k.want) })
	}
}
