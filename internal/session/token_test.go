package session

import (
	"encoding/base64"
	"strings"
	"testing"
)

func TestWellFormed(t *testing.T) {
	body := strings.Repeat("A", 42)
	for _, c := range []struct {
		name, token string
		want        bool
	}{
		{"all zero", "sps_" + body + "A", true},
		{"whole alphabet", "sps_abcdefghijklmnopqrstuvwxyzABCDEFGHIJ-_01234", true},
		{"last of the canonical", "sps_" + body + "8", true},
		{"bits beyond 256", "sps_" + body + "B", false},
		{"more bits beyond 256", "sps_" + body + "_", false},
		{"empty", "", false},
		{"prefix only", "sps_", false},
		{"short", "sps_" + body, false},
		{"long", "sps_" + body + "AA", false},
		{"other prefix", "spk_" + body + "A", false},
		{"upper prefix", "SPS_" + body + "A", false},
		{"plain base64", "sps_+/" + body[2:] + "A", false},
		{"padding", "sps_" + body + "=", false},
		{"space", "sps_ " + body[1:] + "A", false},
		{"line end", "sps_" + body + "\n", false},
		{"line end inside", "sps_\r\n" + body[2:] + "A", false},
		{"NUL", "sps_\x00" + body[1:] + "A", false},
		{"not ASCII", "sps_é" + body[2:] + "A", false},
	} {
		if got := WellFormed(c.token); got != c.want {
			t.Errorf("%s: WellFormed(%q) = %v, want %v", c.name, c.token, got, c.want)
		}
	}
}

func TestNewTokens(t *testing.T) {
	seen := map[string]bool{}
	var ones [256]int
	const n = 2000
	for range n {
		token := newToken()
		if !WellFormed(token) || seen[token] {
			t.Fatalf("new token %q: well formed %v, seen %v", token, WellFormed(token), seen[token])
		}
		seen[token] = true
		bits, err := base64.RawURLEncoding.Strict().DecodeString(token[len(Prefix):])
		if err != nil || len(bits) != 32 {
			t.Fatalf("token %q holds %d bytes, %v, want 32", token, len(bits), err)
		}
		for i := range 256 {
			ones[i] += int(bits[i/8] >> (i % 8) & 1)
		}
	}
	for i, k := range ones { // every bit is alive: 8 standard deviations of a fair coin
		if k < n/2-180 || k > n/2+180 {
			t.Errorf("bit %d was set %d times of %d", i, k, n)
		}
	}
}

func FuzzWellFormed(f *testing.F) {
	f.Add(newToken())
	for _, s := range []string{"", "sps_", "sps_" + strings.Repeat("A", 43), "sps_" + strings.Repeat("B", 43), "sps_\n" + strings.Repeat("A", 42), "spk_" + strings.Repeat("A", 43)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		// The oracle: the one string that encodes what it decodes to.
		bits, err := base64.RawURLEncoding.Strict().DecodeString(strings.TrimPrefix(s, Prefix))
		want := err == nil && len(bits) == 32 && Prefix+base64.RawURLEncoding.EncodeToString(bits) == s
		if got := WellFormed(s); got != want {
			t.Errorf("WellFormed(%q) = %v, want %v", s, got, want)
		}
	})
}
