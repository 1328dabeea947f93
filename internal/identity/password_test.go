package identity

import (
	"strings"
	"testing"

	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/problem"
)

func TestNewPassword(t *testing.T) {
	common := commonPasswords()
	words := []string{"ada.lovelace@shop.example", "ada.lovelace", "shop.example"}
	for _, c := range []struct {
		name, password string
		want           problem.Reason
	}{
		{"eight characters", "xkcdqz81", problem.OK},
		{"seven characters", "xkcdqz8", problem.AccountPassword},
		{"128 characters", strings.Repeat("ab", 64), problem.OK},
		{"129 characters", strings.Repeat("ab", 64) + "c", problem.AccountInvalid},
		{"128 wide characters", strings.Repeat("語書", 64), problem.OK},
		{"1024 bytes", strings.Repeat("🂡🂢🂣🂤", 32), problem.OK},
		{"1025 bytes", strings.Repeat("a", 1025), problem.AccountInvalid},
		{"empty", "", problem.AccountInvalid},
		{"not UTF-8", "abcdefg\xff\xfe", problem.AccountInvalid},
		{"spaces and punctuation", "  a b; c'\"--  ", problem.OK},
		{"only letters", "nonsenseverse", problem.OK},
		{"common", "password1", problem.AccountPassword},
		{"common in capitals", "PassWord1", problem.AccountPassword},
		{"common in full-width letters", "ｐａｓｓｗｏｒｄ１", problem.AccountPassword},
		{"common with more", "password1 of mine", problem.OK},
		{"keyboard walk", "1qaz2wsx", problem.AccountPassword},
		{"one character", "zzzzzzzzzzzz", problem.AccountPassword},
		{"one wide character", "語語語語語語語語", problem.AccountPassword},
		{"the address", "Ada.Lovelace@shop.example", problem.AccountPassword},
		{"its local part", "ada.lovelace", problem.AccountPassword},
		{"the zone", "shop.example", problem.AccountPassword},
		{"grows beyond 128 when normalised", strings.Repeat("ﷺ", 20), problem.AccountPassword},
		{"shrinks below 8 when normalised", "áéíó", problem.AccountPassword},
	} {
		_, err := newPassword(obs.Secret(c.password), common, words...)
		if got := problem.ReasonOf(err); got != c.want {
			t.Errorf("%s: newPassword(%q) = %v (%v), want %v", c.name, c.password, got, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), c.password) && c.password != "" {
			t.Errorf("%s: the error holds the password: %v", c.name, err)
		}
	}
}

func TestNormalisation(t *testing.T) {
	for _, c := range []struct {
		name, a, b string
		equal      bool
	}{
		{"composed and decomposed", "caf\u00e9 au lait", "cafe\u0301 au lait", true},
		{"full-width and plain", "ｓｅｃｒｅｔ ｄｏｏｒ", "secret door", true},
		{"ligature", "of\ufb01ce chair", "office chair", true},
		{"case is kept", "Secret Door", "secret door", false},
		{"spaces are kept", "secret  door", "secret door", false},
		{"accents are kept", "resume resume", "résumé résumé", false},
	} {
		a, errA := presentedPassword(obs.Secret(c.a))
		b, errB := presentedPassword(obs.Secret(c.b))
		if errA != nil || errB != nil {
			t.Fatalf("%s: %v, %v", c.name, errA, errB)
		}
		if got := string(a) == string(b); got != c.equal {
			t.Errorf("%s: %q and %q give the same password: %v, want %v", c.name, c.a, c.b, got, c.equal)
		}
	}
}

func TestCommonPasswords(t *testing.T) {
	set := commonPasswords()
	if len(set) < 300 {
		t.Errorf("%d common passwords, want some hundred", len(set))
	}
	for word := range set {
		if len([]rune(word)) < passwordMin || word != strings.ToLower(word) {
			t.Errorf("%q can never match: too short, or not in lower case", word)
		}
		if plain, err := presentedPassword(obs.Secret(word)); err != nil || string(plain) != word {
			t.Errorf("%q can never match: it normalises to %q (%v)", word, plain, err)
		}
	}
}
