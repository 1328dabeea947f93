package password

import (
	"sort"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/problem"
)

func TestJudge(t *testing.T) {
	s := cheaply(t)
	words := []string{"ada.lovelace@shop.example", "Ada Byron King", "shop.example"}
	for _, c := range []struct {
		name, password string
		second         bool
		want           problem.Reason
		detail         string
	}{
		{"eight characters with a second factor", "xkcdqz81", true, problem.OK, ""},
		{"seven characters with a second factor", "xkcdqz8", true, problem.AccountPassword, "at least 8"},
		{"eight characters alone", "xkcdqz81", false, problem.AccountPassword, "at least 15"},
		{"fourteen characters alone", "vexing quiz mf", false, problem.AccountPassword, "at least 15"},
		{"fifteen characters alone", "vexing quiz mfq", false, problem.OK, ""},
		{"fifteen characters of three bytes", "語書机窓犬猫鳥魚花木山川空海星", false, problem.OK, ""},
		{"fifteen code points, decomposed: fourteen", "vexing quiz me\u0301", false, problem.AccountPassword, "at least 15"},
		{"128 characters", strings.Repeat("quarzuhr", 16), false, problem.OK, ""},
		{"129 characters", strings.Repeat("quarzuhr", 16) + "c", false, problem.AccountInvalid, "longer than 128"},
		{"128 characters, decomposed", strings.Repeat("e\u0301a\u0300o\u0302u\u0308c\u0327n\u0303i\u0301e\u0300", 16), false, problem.OK, ""},
		{"128 characters of four bytes", strings.Repeat("🂡🂢🂣🂤🂥🂦🂧🂨", 16), false, problem.OK, ""},
		{"128 characters of nine bytes, decomposed", norm.NFD.String(strings.Repeat("각넋닭값삶몫흙앉", 16)), false, problem.OK, ""},
		{"1153 bytes", strings.Repeat("a", 1153), false, problem.AccountInvalid, "1152"},
		{"empty", "", true, problem.AccountInvalid, "required"},
		{"not UTF-8", "abcdefgh\xff\xfe", true, problem.AccountInvalid, "UTF-8"},
		{"spaces and punctuation", "  a b; c'\"--  ", true, problem.OK, ""},
		{"only letters", "nonsenseverseplum", false, problem.OK, ""},
		{"only digits", "830275916640327", false, problem.OK, ""},
		{"a line break and a NUL", "vexing\nquiz\x00mufqa", false, problem.OK, ""},

		{"common", "password1", true, problem.AccountPassword, "most used"},
		{"common in capitals", "PassWord1", true, problem.AccountPassword, "most used"},
		{"common in full-width letters", "ｐａｓｓｗｏｒｄ１", true, problem.AccountPassword, "most used"},
		{"common with more", "password1 of mine, quizzically", true, problem.OK, ""},
		{"keyboard walk", "1qaz2wsx", true, problem.AccountPassword, "most used"},
		{"breached", "schnecke2024", true, problem.AccountPassword, "breach"},
		{"breached in capitals", "Schnecke2024", true, problem.AccountPassword, "breach"},
		{"breached and long", "always and forever!", false, problem.AccountPassword, "breach"},
		{"breached and long, in capitals", "AlwaysAndForever123", false, problem.AccountPassword, "breach"},
		{"two words again and again", "passwordpassword", false, problem.AccountPassword, ""},
		{"a short part again and again", "asdfasdfasdfasdf", false, problem.AccountPassword, "too common"},
		{"seven characters again and again", "xkcdqz8xkcdqz8xk", false, problem.AccountPassword, "too common"},
		{"eight characters again", "xkcdqz81xkcdqz81", false, problem.OK, ""},
		{"eight characters, and some of them", "xkcdqz81xkcdqz8", false, problem.OK, ""},
		{"a common one, cut short at its end", "123456789012345", false, problem.AccountPassword, "too common"},
		{"seven characters and some of them", "xkcdqz8xkcd", true, problem.OK, ""},
		{"a breached one again, in capitals", "Schnecke2024Schnecke2024", false, problem.AccountPassword, "too common"},
		{"a wide part again and again", "語書機語書機語書機語書機語書機", false, problem.AccountPassword, "too common"},
		{"one character", "zzzzzzzzzzzzzzz", false, problem.AccountPassword, "repeated"},
		{"one wide character", "語語語語語語語語", true, problem.AccountPassword, "repeated"},

		{"the address", "Ada.Lovelace@shop.example", false, problem.AccountPassword, "your address"},
		{"its local part", "ada.lovelace", true, problem.AccountPassword, "your address"},
		{"the zone", "shop.example", true, problem.AccountPassword, "your address"},
		{"the name", "ada byron king", true, problem.AccountPassword, "your address"},
		{"the name, glued", "AdaByronKing", true, problem.AccountPassword, "your address"},
		{"the name with a year", "Lovelace1815!", true, problem.AccountPassword, "your address"},
		{"name and zone", "lovelace@Shop2024", true, problem.AccountPassword, "your address"},
		{"full-width name", "ｌｏｖｅｌａｃｅ１８１５", true, problem.AccountPassword, "your address"},
		{"name among other words", "lovelace likes quinces", false, problem.OK, ""},
		{"name with many digits", "lovelace 8302-7591-6640", false, problem.OK, ""},
		{"digits alone are no name", "83027591", true, problem.OK, ""},
	} {
		err := s.Judge(obs.Secret(c.password), c.second, words...)
		if got := problem.ReasonOf(err); got != c.want {
			t.Errorf("%s: Judge(%q) = %v (%v), want %v", c.name, c.password, got, err, c.want)
		}
		if err == nil {
			continue
		}
		if !strings.Contains(err.Error(), c.detail) {
			t.Errorf("%s: %q, want %q in it", c.name, err, c.detail)
		}
		if c.password != "" && strings.Contains(strings.ToLower(err.Error()), strings.ToLower(c.password)) {
			t.Errorf("%s: the error holds the password: %v", c.name, err)
		}
	}
	if s.Hashes() != 0 {
		t.Error("judging hashed something")
	}
}

func TestRepeated(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "a": "a", "aa": "a", "ab": "ab", "aba": "ab", "abab": "ab", "ababa": "ab", "aab": "aab",
		"abcab": "abc", "abcabcab": "abc", "aabaab": "aab", "abac": "abac", "語語語": "語", "éèéè": "éè", "abcdabc": "abcd",
	} {
		if got := repeated(text); got != want {
			t.Errorf("repeated(%q) = %q, want %q", text, got, want)
		}
	}
}

// TestContextIsBounded: the words are somebody's input too.
func TestContextIsBounded(t *testing.T) {
	many := make([]string, 0, 10_000)
	for i := range 10_000 {
		many = append(many, "abc"+strings.Repeat("d", i%50))
	}
	many = append(many, strings.Repeat("lovelace ", 100_000))
	if ofContext(strings.Repeat("abcd", 32), many) != true {
		t.Error("positive control: a chain of words is not seen")
	}
	if ofContext(strings.Repeat("xyz", 42), many) {
		t.Error("no chain of words is taken for one")
	}
	if ofContext("lovelace", []string{"", "  ", "@", "a", "lo"}) {
		t.Error("words of one or two letters count")
	}
}

// TestCommonPasswordsAreUsable keeps the list in the form that the look-up needs.
func TestCommonPasswordsAreUsable(t *testing.T) {
	set := commonPasswords()
	if len(set) < 1000 {
		t.Fatalf("%d common passwords, want 1000 or more", len(set))
	}
	var listed []string
	for word := range set {
		listed = append(listed, word)
		if n := utf8.RuneCountInString(word); n < MinSecond {
			t.Errorf("%q is shorter than %d", word, MinSecond)
		}
		if fold(word) != word {
			t.Errorf("%q is not folded", word)
		}
	}
	sort.Strings(listed)
	for _, word := range []string{"password", "12345678", "qwertyuiop"} {
		if i := sort.SearchStrings(listed, word); i == len(listed) || listed[i] != word {
			t.Errorf("%q is not on the list", word)
		}
	}
}

func TestCut(t *testing.T) {
	for _, c := range []struct {
		text string
		n    int
		want string
	}{
		{"abc", 3, "abc"}, {"abcd", 3, "abc"}, {"aé", 2, "a"}, {"aé", 3, "aé"}, {"🂡", 3, ""}, {"🂡", 4, "🂡"}, {"", 0, ""},
	} {
		if got := cut(c.text, c.n); got != c.want {
			t.Errorf("cut(%q, %d) = %q, want %q", c.text, c.n, got, c.want)
		}
	}
}
