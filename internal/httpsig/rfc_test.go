package httpsig

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"testing"

	"sallyport.dev/internal/es256"
)

// The keys and signatures of RFC 9421 appendix B.

const rfcSharedSecret = "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==" // B.1.5

const rfcP256 = `-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqIVYZVLCrPZHGHjP17CTW0/+D9Lf
w0EkjqF7xB4FivAxzic30tMM4GF+hR6Dxh71Z50VGGdldkkDXZCnTNnoXQ==
-----END PUBLIC KEY-----` // B.1.3

func decode64(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRFC9421HMAC(t *testing.T) { // B.2.5
	base := appendBase(nil, []component{
		{"date", "Tue, 20 Apr 2021 02:07:55 GMT"},
		{"@authority", "example.com"},
		{"content-type", "application/json"},
	}, `("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret"`)
	const want = `"date": Tue, 20 Apr 2021 02:07:55 GMT
"@authority": example.com
"content-type": application/json
"@signature-params": ("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret"`
	if string(base) != want {
		t.Errorf("base\n%s\nwant\n%s", base, want)
	}
	key := newKeyed(decode64(t, rfcSharedSecret))
	for range 2 { // the kept state gives the same again
		sum := key.sum(base)
		if got := base64.StdEncoding.EncodeToString(sum[:]); got != "pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=" {
			t.Errorf("mac %s", got)
		}
	}
}

func TestRFC9421ECDSA(t *testing.T) { // B.2.4
	block, _ := pem.Decode([]byte(rfcP256))
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	base := appendBase(nil, []component{
		{"@status", "200"},
		{"content-type", "application/json"},
		{"content-digest", "sha-512=:mEWXIS7MaLRuGgxOBdODa3xqM1XdEvxoYhvlCFJ41QJgJc4GTsPp29l5oGX69wWdXymyU0rjJuahq4l5aGgfLQ==:"},
		{"content-length", "23"},
	}, `("@status" "content-type" "content-digest" "content-length");created=1618884473;keyid="test-key-ecc-p256"`)
	signature := [es256.Size]byte(decode64(t, "wNmSUAhwb5LxtOtOpNa6W5xj067m5hFrj0XQ4fvpaCLx0NKocgPquLgyahnzDnDAUy5eCdlYUEkLIj+32oiasw=="))
	if !es256.Verify(public.(*ecdsa.PublicKey), base, &signature) {
		t.Error("the RFC's signature does not hold")
	}
	base[0] ^= 1
	if es256.Verify(public.(*ecdsa.PublicKey), base, &signature) {
		t.Error("it holds for another base")
	}
}

// The base of this profile, spelled out once (RFC 9421 section 2.5).
func TestBaseOfTheProfile(t *testing.T) {
	m := Message{Method: "GET", Target: "/a?b", Authority: "Shop.Example:443", Token: "tok", Correlation: "cor",
		Client: `"::1";listener=public`, Digest: EmptyDigest}
	cs, n, err := m.components(routeMAC)
	if err != nil {
		t.Fatal(err)
	}
	in := parameters{created: 1790000000, counter: 12}
	out, end := appendUnsigned(nil, MAC, routeMAC, &in, cs[:n])
	const params = `("@method" "@request-target" "@authority" "txn-token" "x-correlation-id" "sallyport-client" "content-digest")` +
		`;created=1790000000;nonce="12";tag="sallyport-mac"`
	const want = `"@method": GET
"@request-target": /a?b
"@authority": shop.example
"txn-token": tok
"x-correlation-id": cor
"sallyport-client": "::1";listener=public
"content-digest": sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:
"@signature-params": ` + params
	if got := string(out[end:]); got != want {
		t.Errorf("base\n%s\nwant\n%s", got, want)
	}
	if got, want := string(out[:end]), "Signature-Input: mac="+params+"\r\n"; got != want {
		t.Errorf("line %q, want %q", got, want)
	}
	in = parameters{created: 1790000000, expires: 1790000060, nonce: "AAAAAAAAAAAAAAAAAAAAAA"}
	if got, want := string(in.append(nil, Signature, Profile{NoDigest: true})), coveredStream+
		`;created=1790000000;expires=1790000060;nonce="AAAAAAAAAAAAAAAAAAAAAA";tag="wimse-workload-to-workload"`; got != want {
		t.Errorf("signature parameters %s, want %s", got, want)
	}
}
