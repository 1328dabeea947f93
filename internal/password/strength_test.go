package password

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/trustelem/zxcvbn"

	"sallyport.dev/internal/obs"
)

func TestStrength(t *testing.T) {
	s := cheaply(t)
	for _, c := range []struct {
		name, password string
		least, most    int
		hint           Hint
	}{
		{"nothing", "", 0, 0, HintShort},
		{"short", "xQ4", 0, 1, HintShort},
		{"common", "password1", 0, 0, HintCommon},
		{"breached", "Schnecke2024", 0, 0, HintBreached},
		{"the account's", "ada1815!", 0, 0, HintContext},
		{"one character", "aaaaaaaaaaaa", 0, 0, HintRepeated},
		{"a short part again and again", "qzxqzxqzxqzx", 0, 0, HintBreached},
		{"almost one character", "aaaaaaaaaaab", 0, 1, HintRepeated},
		{"a date", "17.04.1983", 0, 2, HintDate},
		{"a sequence", "cdefghijk", 0, 1, HintSequence},
		{"random, short", "xkCdqz8!", 2, 3, ""},
		{"four rare words", "quince vestibule marmot eclair", 4, 4, ""},
		{"random", "u7Kq-Zw2m_Rt9c", 4, 4, ""},
		{"no Latin", "窓犬猫鳥魚花木山川", 3, 4, ""},
		{"nothing", "", 0, 0, HintShort},
	} {
		got := s.Strength(obs.Secret(c.password), "ada@shop.example", "Ada")
		if got.Score < c.least || got.Score > c.most || (c.hint != "" && got.Hint != c.hint) || (got.Score >= 3 && got.Hint != "") {
			t.Errorf("%s: Strength(%q) = %+v, want score %d to %d, hint %q", c.name, c.password, got, c.least, c.most, c.hint)
		}
	}
	// What is no password is not told to be too short when it is too long.
	for _, p := range []string{"abcdefgh\xff", strings.Repeat("quince, ", 17)} {
		if got := s.Strength(obs.Secret(p)); got != (Strength{}) {
			t.Errorf("Strength(%q) = %+v, want none", p, got)
		}
	}
	if weak, strong := s.Strength("xkCdqz8!"), s.Strength("u7Kq-Zw2m_Rt9c"); weak.Guesses < 6 || strong.Guesses <= weak.Guesses || strong.Guesses > 20 {
		t.Errorf("guesses: %+v and %+v", weak, strong)
	}
}

// TestStrengthIsBounded counts what zxcvbn is given: of longer input its time
// grows beyond all bounds, and it is anybody's input.
func TestStrengthIsBounded(t *testing.T) {
	s := cheaply(t)
	var given []string
	real := s.score
	s.score = func(p string, words []string) zxcvbn.Result {
		given = append(append(given[:0], p), words...)
		return real(p, words)
	}
	// All that zxcvbn may read as letters, so that it tries the most combinations.
	const signs = "4@8({[<3691!|70$5+%2"
	for _, c := range []struct {
		name, password string
		want           int // bytes that are scored
	}{
		{"short", "u7Kq-Zw2m", 9},
		{"64 bytes", strings.Repeat("qxmvkwpf", 8), 64},
		{"128 characters", strings.Repeat("abcdefghk", 14), 64},
		{"128 characters, one of two", strings.Repeat("aab", 41) + "abbab", 64},
		{"128 wide characters", strings.Repeat("語🂡書🂢機🂣窓🂤", 16), 63},
		{"some signs", strings.Repeat("qu@rzw0lk!", 12), 64},
		{"all signs", strings.Repeat(signs, 6) + "password", 32},
		{"a few words and nine signs", "quince vestibule marmot eclair (4@[]3) 5 & 7 | 9 more words of it", 64},
	} {
		before := len(given)
		got := s.Strength(obs.Secret(c.password), strings.Repeat("ada", 1000), strings.Repeat("ü", 1000)+"@"+"x", "a", "b", "c", "d", "e", "f", "g", "h", "i", "j")
		if len(given) == 0 || len(given) < before {
			t.Fatalf("%s: nothing was scored: %+v", c.name, got)
		}
		if c.want == 64 && len(given[0]) != 64 && len(given[0]) != 32 || c.want != 64 && len(given[0]) != c.want {
			t.Errorf("%s: %d bytes were scored, want %d", c.name, len(given[0]), c.want)
		}
		if !strings.HasPrefix(c.password, given[0]) || !utf8.ValidString(given[0]) {
			t.Errorf("%s: %q was scored, which is no beginning of it", c.name, given[0])
		}
		if len(given)-1 > scoredWords+1 {
			t.Errorf("%s: %d words were given", c.name, len(given)-1)
		}
		for _, w := range given[1:] {
			if len(w) > 2*scoredBytes {
				t.Errorf("%s: a word of %d bytes was given", c.name, len(w))
			}
		}
	}
}

// FuzzStrength looks for input on which the estimator fails.
func FuzzStrength(f *testing.F) {
	f.Add("correct horse", "ada")
	f.Add("4@8({[<3691!|70$5+%2", "@")
	f.Add("é̂é̂é̂", "é")
	f.Add("19191919 2010-02-31", "1919")
	s := cheaply(f)
	f.Fuzz(func(t *testing.T, p, word string) {
		if got := s.Strength(obs.Secret(p), word); got.Score < 0 || got.Score > 4 || got.Guesses < 0 {
			t.Errorf("Strength(%q, %q) = %+v", p, word, got)
		}
	})
}
