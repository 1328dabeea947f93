package apikey

import (
	"hash/crc32"
	"math/big"
	"strings"
	"testing"

	"sallyport.dev/internal/obs"
)

func TestKeyText(t *testing.T) {
	seen := map[obs.Secret]bool{}
	for range 100 {
		id := newKeyID()
		text := newKeyText(id)
		if len(text) != 4+12+1+43+6 {
			t.Fatalf("key of %d characters, want 66", len(text))
		}
		got, ok := Parse(string(text))
		if !ok || got != id {
			t.Fatalf("Parse(%q) = %q, %v, want %q, true", string(text), got, ok, id)
		}
		if seen[text] {
			t.Fatal("two keys are equal")
		}
		seen[text] = true
	}
}

// TestKeyChecksum works the checksum out a second way.
func TestKeyChecksum(t *testing.T) {
	body := "spk_abcdefghijkl_" + strings.Repeat("0", 43)
	sum := crc32.ChecksumIEEE([]byte(body))
	want := ""
	for range 6 {
		want = string(base62[sum%62]) + want
		sum /= 62
	}
	if _, ok := Parse(body + want); !ok || keyChecksum(body) != want {
		t.Errorf("checksum of %q = %q, want %q", body, keyChecksum(body), want)
	}
	most := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 256), big.NewInt(1))
	if back, ok := new(big.Int).SetString(digits62(most, 43), 62); !ok || len(digits62(most, 43)) != 43 || back.Sign() <= 0 {
		t.Errorf("43 digits do not hold 256 bits: %q", digits62(most, 43))
	}
	if digits62(big.NewInt(61), 3) != "00z" || digits62(big.NewInt(62), 3) != "010" {
		t.Errorf("digits of 61 and 62: %q, %q", digits62(big.NewInt(61), 3), digits62(big.NewInt(62), 3))
	}
}

func TestParseRefuses(t *testing.T) {
	good := string(newKeyText("abcdefghijkl"))
	if _, ok := Parse(good); !ok {
		t.Fatal("positive control: a good key is refused")
	}
	for i := range len(good) { // every single character counts
		for _, c := range "a0_ é" {
			bad := good[:i] + string(c) + good[i+1:]
			if bad == good {
				continue
			}
			if id, ok := Parse(bad); ok {
				t.Errorf("Parse(%q) = %q, true: character %d was changed", bad, id, i)
			}
		}
	}
	for _, bad := range []string{"", "spk_", good[:65], good + "0", " " + good, strings.ToUpper(good), strings.Replace(good, "spk_", "sps_", 1), strings.Repeat("x", 66)} {
		if _, ok := Parse(bad); ok {
			t.Errorf("Parse(%q): true", bad)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(string(newKeyText("abcdefghijkl")))
	f.Add("spk_abcdefghijkl_" + strings.Repeat("0", 49))
	f.Add("spk_")
	f.Add(strings.Repeat("é", 33))
	f.Fuzz(func(t *testing.T, text string) {
		id, ok := Parse(text)
		if !ok {
			return
		}
		if len(text) != keyLength || !strings.HasPrefix(text, "spk_"+id+"_") || len(id) != 12 {
			t.Errorf("Parse(%q) = %q", text, id)
		}
		if text[keyLength-keyCheck:] != keyChecksum(text[:keyLength-keyCheck]) {
			t.Errorf("Parse(%q) takes a wrong checksum", text)
		}
	})
}
