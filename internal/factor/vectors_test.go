package factor

import (
	"testing"
	"time"
)

// rfcSecret is that of the vectors of RFC 4226 appendix D and RFC 6238 appendix B.
var rfcSecret = []byte("12345678901234567890")

// TestRFC6238: the vectors have eight digits, of which ours are the last six.
func TestRFC6238(t *testing.T) {
	for _, c := range []struct {
		seconds int64
		code    string
	}{
		{59, "94287082"},
		{1111111109, "07081804"},
		{1111111111, "14050471"},
		{1234567890, "89005924"},
		{2000000000, "69279037"},
		{20000000000, "65353130"},
	} {
		want, at := c.code[2:], time.Unix(c.seconds, 0)
		if got, err := codeAt(rfcSecret, c.seconds/30); err != nil || got != want {
			t.Errorf("code at %d: %q, %v, want %q", c.seconds, got, err, want)
		}
		if step, err := matching(rfcSecret, want, at); c.seconds > 60 && (err != nil || step != c.seconds/30) {
			t.Errorf("matching at %d: step %d, %v, want %d", c.seconds, step, err, c.seconds/30)
		}
		if step, err := matching(rfcSecret, want, at.Add(2*time.Minute)); err != nil || step != 0 {
			t.Errorf("matching two minutes after %d: step %d, %v, want none", c.seconds, step, err)
		}
	}
}

func TestRFC4226(t *testing.T) {
	for counter, want := range []string{"755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"} {
		if got, err := codeAt(rfcSecret, int64(counter)); err != nil || got != want {
			t.Errorf("counter %d: %q, %v, want %q", counter, got, err, want)
		}
	}
}

// Should two steps of a window have one code, it counts for the later, so that it
// is not right a second time.
func TestOneCodeOfTwoSteps(t *testing.T) {
	secret := make([]byte, secretBytes)
	copy(secret, "\x60\x32\x10") // found by search
	first, err := codeAt(secret, 1000)
	if err != nil {
		t.Fatal(err)
	}
	if last, err := codeAt(secret, 1001); err != nil || last != first {
		t.Fatalf("positive control: codes %q and %q, %v, want the same", first, last, err)
	}
	if step, err := matching(secret, first, time.Unix(1000*stepLength, 0)); err != nil || step != 1001 {
		t.Errorf("step %d, %v, want 1001", step, err)
	}
}

func TestReadCode(t *testing.T) {
	for _, c := range []struct {
		in, want string
		ok       bool
	}{
		{"abcd-efgh-jk23", "abcdefghjk23", true},
		{" ABCD EFGH\u00a0JK23 ", "abcdefghjk23", true},
		{"oOiI-lL00-1111", "001111001111", true},
		{"abcd\u2011efgh\u2010jk23", "abcdefghjk23", true},
		{"abcd-efgh-jk2", "", false},
		{"abcd-efgh-jk234", "", false},
		{"abcd-efgh-jku3", "", false}, // u is not in the alphabet
		{"abcd-efgh-jkä", "", false},
		{"", "", false},
		{"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "", false},
	} {
		if got, ok := readCode(c.in); ok != c.ok || ok && got != c.want {
			t.Errorf("readCode(%q) = %q, %v, want %q, %v", c.in, got, ok, c.want, c.ok)
		}
	}
	seen := map[string]bool{}
	for range 1000 {
		code := newCode()
		if got, ok := readCode(code); !ok || got != code || seen[code] {
			t.Fatalf("newCode() = %q: read as %q, %v, seen %v", code, got, ok, seen[code])
		}
		seen[code] = true
	}
}

func FuzzReadCode(f *testing.F) {
	f.Add("abcd-efgh-jk23")
	f.Add("OOOO-IIII-LLLL")
	f.Fuzz(func(t *testing.T, s string) {
		if code, ok := readCode(s); ok {
			if again, ok := readCode(code); !ok || again != code {
				t.Errorf("readCode(%q) = %q, which reads as %q, %v", s, code, again, ok)
			}
		}
		if _, err := matching(rfcSecret, s, time.Unix(1e9, 0)); err != nil {
			t.Errorf("matching(%q): %v", s, err)
		}
	})
}
