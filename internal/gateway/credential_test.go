package gateway

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"sallyport.dev/internal/problem"
)

// aJWT has the form of a token of another issuer.
const aJWT = "eyJhbGciOiJFUzI1NiIsImtpZCI6ImEifQ.eyJpc3MiOiJodHRwczovL3Nzby5leGFtcGxlIn0.c2lnbmF0dXJl-_A"

func TestExtract(t *testing.T) {
	for _, c := range []struct {
		fields string // "Name: value" separated by |
		kind   CredentialKind
		value  string
		want   problem.Reason
	}{
		{"", NoCredential, "", problem.OK},
		{"Cookie: theme=dark; lang=en", NoCredential, "", problem.OK},
		{"Authorization: Bearer sps_abc", BearerCredential, "sps_abc", problem.OK},
		{"Authorization: bearer   spk_abc", BearerCredential, "spk_abc", problem.OK},
		{"Authorization: BEARER ey.J9-_~+/==", BearerCredential, "ey.J9-_~+/==", problem.OK},
		{"Authorization: Bearer " + aJWT, BearerCredential, aJWT, problem.OK},
		{"Authorization: Bearer " + strings.Repeat("a", maxBearer), BearerCredential, strings.Repeat("a", maxBearer), problem.OK},
		{"X-Api-Key: spk_abc", KeyCredential, "spk_abc", problem.OK},
		{"X-Api-Key: spk_" + strings.Repeat("a", maxCredential-4), KeyCredential, "spk_" + strings.Repeat("a", maxCredential-4), problem.OK},
		{"Cookie: __Host-session=sps_abc", CookieCredential, "sps_abc", problem.OK},
		{"Cookie: a=b; __Host-session=sps_abc; c=d", CookieCredential, "sps_abc", problem.OK},
		{"Cookie: a=b|Cookie: __Host-session=sps_abc", CookieCredential, "sps_abc", problem.OK},
		{"Cookie: a=b;__Host-session = sps_abc", CookieCredential, "sps_abc", problem.OK}, // as cookiesInward reads it
		{"Cookie: x__Host-session=sps_abc; __host-session=sps_abc", NoCredential, "", problem.OK},

		{"Authorization: Bearer sps_a|X-Api-Key: spk_b", 0, "", problem.AuthAmbiguous},
		{"Authorization: Bearer sps_a|Cookie: __Host-session=sps_a", 0, "", problem.AuthAmbiguous},
		{"X-Api-Key: spk_b|Cookie: __Host-session=sps_a", 0, "", problem.AuthAmbiguous},
		{"Authorization: Bearer sps_a|Authorization: Bearer sps_a", 0, "", problem.AuthAmbiguous},
		{"X-Api-Key: spk_b|X-Api-Key: spk_b", 0, "", problem.AuthAmbiguous},
		{"Cookie: __Host-session=sps_a; __Host-session=sps_b", 0, "", problem.AuthAmbiguous},
		{"Cookie: __Host-session=sps_a|Cookie: __Host-session=sps_b", 0, "", problem.AuthAmbiguous},

		{"Authorization: ", 0, "", problem.AuthInvalid},
		{"Authorization: Bearer", 0, "", problem.AuthInvalid},
		{"Authorization: Bearer ", 0, "", problem.AuthInvalid},
		{"Authorization: Bearer sps_a sps_b", 0, "", problem.AuthInvalid},
		{"Authorization: Bearer sps_a, sps_b", 0, "", problem.AuthInvalid},
		{"Authorization: Bearer \"sps_a\"", 0, "", problem.AuthInvalid},
		{"Authorization: Bearer =", 0, "", problem.AuthInvalid},
		{"Authorization: Bearer a=b", 0, "", problem.AuthInvalid},
		{"Authorization: Bearer sps_\u00e9", 0, "", problem.AuthInvalid},
		{"Authorization: Basic dXNlcjpwdw==", 0, "", problem.AuthInvalid},
		{"Authorization: Digest x=y", 0, "", problem.AuthInvalid},
		{"Authorization: sps_abc", 0, "", problem.AuthInvalid},
		{"Authorization: Bearersps_abc", 0, "", problem.AuthInvalid},
		{"X-Api-Key: ", 0, "", problem.AuthInvalid},
		{"X-Api-Key: sps_abc", 0, "", problem.AuthInvalid}, // a session is no key
		{"X-Api-Key: spk_a, spk_b", 0, "", problem.AuthInvalid},
		{"Cookie: __Host-session=", 0, "", problem.AuthInvalid},
		{"Cookie: __Host-session", 0, "", problem.AuthInvalid},
		{"Cookie: __Host-session=spk_abc", 0, "", problem.AuthInvalid},
		{"Cookie: __Host-session=\"sps_abc\"", 0, "", problem.AuthInvalid},
		{"Authorization: Bearer " + strings.Repeat("a", maxBearer+1), 0, "", problem.AuthInvalid},
		{"X-Api-Key: spk_" + strings.Repeat("a", maxCredential), 0, "", problem.AuthInvalid},
		{"Cookie: __Host-session=sps_" + strings.Repeat("a", maxCredential), 0, "", problem.AuthInvalid},
		{"X-Api-Key: " + aJWT, 0, "", problem.AuthInvalid}, // a token of another issuer is a bearer and nothing else
		{"Cookie: __Host-session=" + aJWT, 0, "", problem.AuthInvalid},
		{"Authorization: Bearer " + aJWT + "|Cookie: __Host-session=sps_a", 0, "", problem.AuthAmbiguous},
	} {
		h := http.Header{}
		for f := range strings.SplitSeq(c.fields, "|") {
			if name, value, ok := strings.Cut(f, ": "); ok {
				h[name] = append(h[name], value)
			}
		}
		got, reason := extract(h)
		if reason != c.want {
			t.Errorf("%.60q: got %s, want %s", c.fields, reason, c.want)
			continue
		}
		if reason != problem.OK {
			if got.Value != "" {
				t.Errorf("%.60q: refused, and its value kept", c.fields)
			}
			continue
		}
		if got.Kind != c.kind || string(got.Value) != c.value {
			t.Errorf("%q: got %d %q, want %d %q", c.fields, got.Kind, string(got.Value), c.kind, c.value)
		}
		if want := sha256.Sum256([]byte(c.value)); c.value != "" && got.Hash != want {
			t.Errorf("%q: hash %x, want %x", c.fields, got.Hash, want)
		}
	}
}

func TestCredentialIsNotPrinted(t *testing.T) {
	c, reason := extract(http.Header{"Authorization": {"Bearer sps_planted"}})
	if reason != problem.OK || string(c.Value) != "sps_planted" {
		t.Fatalf("positive control: %s", reason)
	}
	if s := fmt.Sprintf("%v %+v %#v %s", c, c, c, c.Value); strings.Contains(s, "planted") {
		t.Errorf("printed as %s", s)
	}
}

func TestHashOfLongValues(t *testing.T) {
	for _, n := range []int{0, 1, 127, 128, 129, 4096} {
		s := strings.Repeat("x", n)
		if hashOf(s) != sha256.Sum256([]byte(s)) {
			t.Errorf("hash of %d bytes differs", n)
		}
	}
}

// FuzzExtract: whatever stands in the fields, one credential is well formed and
// two are refused, and what counts as our cookie never goes inward.
func FuzzExtract(f *testing.F) {
	f.Add("Bearer sps_abc", "", "")
	f.Add("", "spk_abc", "a=b; __Host-session=sps_abc")
	f.Add("", "", "__Host-session=sps_a;__Host-session =x")
	f.Fuzz(func(t *testing.T, authorization, key, cookie string) {
		h := http.Header{}
		for name, v := range map[string]string{"Authorization": authorization, headerAPIKey: key, "Cookie": cookie} {
			if v != "" {
				h[name] = []string{v}
			}
		}
		c, reason := extract(h)
		if reason == problem.OK && c.Kind != NoCredential && !isToken68(string(c.Value)) {
			t.Errorf("accepted the credential %q", string(c.Value))
		}
		if reason == problem.OK && c.Kind == NoCredential && (authorization != "" || key != "") {
			t.Errorf("overlooked %q %q", authorization, key)
		}
		for v := range sessionCookies(cookiesInward(cookie)) {
			t.Errorf("of the cookies %q, %q goes inward", cookie, v)
		}
	})
}
