package svid

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// newJoinToken makes a token for workloads of the zone with this root.
func newJoinToken(root *x509.Certificate) JoinToken {
	t := JoinToken{Root: sha256.Sum256(root.Raw)}
	_, _ = rand.Read(t.ID[:])
	_, _ = rand.Read(t.Secret[:])
	return t
}

func TestJoinToken(t *testing.T) {
	zone := newAuthority(t, testZone, day())
	token := newJoinToken(zone.root)
	s := token.String()
	if back, err := ParseJoinToken(s); err != nil || back != token {
		t.Errorf("ParseJoinToken(String()) = %v, want the same token", err)
	}
	for name, text := range map[string]string{
		"empty": "", "prefix only": JoinPrefix, "no prefix": s[4:], "another prefix": "spk_" + s[4:], "upper case": "SPJ_" + s[4:],
		"cut": s[:len(s)-1], "longer": s + "A", "padded": s + "=", "a line": s + "\n", "a line inside": s[:50] + "\n" + s[50:],
		"a line in the place of a digit": s[:50] + "\n" + s[51:], "space before": " " + s,
		"standard alphabet": s[:50] + "+" + s[51:], "spare bits": s[:len(s)-1] + "_",
	} {
		if text == s {
			continue
		}
		_, err := ParseJoinToken(text)
		if err == nil {
			t.Errorf("%s: %q was taken", name, text)
		} else if len(text) > 20 && strings.Contains(err.Error(), text[10:20]) {
			t.Errorf("%s: the error shows the token: %v", name, err)
		}
	}
}

func TestJoinTokenHides(t *testing.T) {
	token := newJoinToken(newAuthority(t, testZone, day()).root)
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "token", token, "pointer", &token)
	js, err := json.Marshal(map[string]any{"t": token})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"log": log.String(), "JSON": string(js), "%#v": fmt.Sprintf("%#v", token)} {
		if strings.Contains(text, token.String()) || strings.Contains(text, fmt.Sprintf("%x", token.Secret[:4])) || !strings.Contains(text, fmt.Sprintf("%x", token.ID[:4])) {
			t.Errorf("%s shows %s", name, text)
		}
	}
}

// FuzzParseJoinToken: there is one spelling of a token.
func FuzzParseJoinToken(f *testing.F) {
	s := JoinToken{ID: [16]byte{1}, Secret: [32]byte{2}, Root: [32]byte{3}}.String()
	for _, seed := range []string{s, s[:len(s)-1] + "B", s + "\n", JoinPrefix, ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		token, err := ParseJoinToken(text)
		if err == nil && token.String() != text {
			t.Fatalf("%q reads as %q", text, token.String())
		}
		if err != nil && token != (JoinToken{}) {
			t.Fatalf("%q: a token beside the error", text)
		}
	})
}
