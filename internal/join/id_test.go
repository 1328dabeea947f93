package join

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"sallyport.dev/internal/problem"
)

func TestSecretIsNeverPrinted(t *testing.T) {
	var secret Secret
	copy(secret[:], strings.Repeat("planted!", 4))
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("token", "secret", secret, "in", struct{ Secret Secret }{secret})
	inJSON, err := json.Marshal(map[string]any{"secret": secret, "token": Token{ID: ID{1}}})
	if err != nil {
		t.Fatal(err)
	}
	all := log.String() + string(inJSON)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%b"} {
		all += fmt.Sprintf(verb+" "+verb+"\n", secret, struct{ Secret Secret }{secret})
	}
	for _, form := range []string{"planted", "706c616e", "706C616E", "112 108", "0x70, 0x6c", "160 154", "1110000"} {
		if strings.Contains(all, form) {
			t.Errorf("the secret is printed as %s:\n%s", form, all)
		}
	}
	if control := fmt.Sprintf("%s %x %d", secret[:], [32]byte(secret), [32]byte(secret)); !strings.Contains(control, "planted") ||
		!strings.Contains(control, "706c616e") || !strings.Contains(control, "112 108") {
		t.Errorf("the control prints %s: the test proves nothing", control)
	}
}

func TestParseID(t *testing.T) {
	id := ID{0xab, 1}
	for _, c := range []struct {
		text string
		ok   bool
	}{
		{id.String(), true},
		{"ab010000000000000000000000000000", true},
		{"AB010000000000000000000000000000", false},
		{"ab01000000000000000000000000000", false},
		{"ab0100000000000000000000000000000", false},
		{"ag010000000000000000000000000000", false},
		{"", false},
	} {
		got, err := ParseID(c.text)
		if (err == nil) != c.ok || c.ok && got != id || !c.ok && problem.ReasonOf(err) != problem.AdminInvalid {
			t.Errorf("%q: %s, %v, want ok %v", c.text, got, err, c.ok)
		}
	}
}

func FuzzParseID(f *testing.F) {
	f.Add("ab010000000000000000000000000000")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		if id, err := ParseID(text); err == nil && id.String() != text {
			t.Fatalf("%q reads as %s", text, id)
		}
	})
}
