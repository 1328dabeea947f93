package password

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

var write = flag.Bool("write", false, "write breached.filter from the lists in testdata")

// firstGuesses is the list that ships, in lower case: what guessers try first
// when they know nothing of a person. It is composed here from words that were
// written for it; no list of a breach was copied.
func firstGuesses(t testing.TB) []string {
	t.Helper()
	words, phrases := readList(t, "testdata/words.txt"), readList(t, "testdata/phrases.txt")
	top := words[:110] // the block of those used most
	var all []string
	add := func(parts ...string) { all = append(all, strings.Join(parts, "")) }

	for _, w := range words {
		often := tails
		if !slices.Contains(top, w) {
			often = tails[:16]
		}
		for _, tail := range often {
			add(w, tail)
		}
		for _, year := range years(1980, 2026) {
			if len(w) >= 5 && (len(w) <= 8 || slices.Contains(top, w)) && (year >= "2024" || slices.Contains(top, w)) {
				add(w, year)
			}
		}
		add(w, w)
	}
	for _, w := range top {
		for _, leet := range substituted(w) {
			for _, tail := range []string{"", "1", "12", "123", "1234", "12345", "!", "1!", "123!", "@123", "#1", "2024", "2025", "2026"} {
				add(leet, tail)
			}
		}
		for _, other := range top {
			add(w, other)
		}
		for _, tail := range []string{"!", "@", "#", "."} {
			for _, year := range years(2018, 2026) {
				add(w, year, tail)
				add(w, tail, year)
			}
		}
		add(w, w, w)
		add("my", w)
		add("my", w, "1")
		add("the", w)
		add("ilove", w)
		add("123", w)
		add("1234", w)
		add("123456", w)
	}
	for _, p := range phrases {
		glued := strings.ReplaceAll(p, " ", "")
		for _, form := range []string{glued, p, strings.ReplaceAll(p, " ", "_"), strings.ReplaceAll(p, " ", "-")} {
			add(form)
			add(form, "!")
			add(form, ".")
			add(form, "1")
		}
		for _, tail := range []string{"12", "123", "1234", "12345", "123456", "1!", "123!", "2023", "2024", "2025", "2026", "69"} {
			add(glued, tail)
		}
	}
	all = append(all, walks()...)
	all = append(all, digits()...)
	all = slices.DeleteFunc(all, func(p string) bool { return utf8.RuneCountInString(p) < MinSecond || len(p) > Max })
	slices.Sort(all)
	return slices.Compact(all)
}

// tails are what people put behind a word, those of every word first.
var tails = []string{"", "1", "2", "12", "123", "1234", "12345", "123456", "!", "1!", "123!", "@123", "01", "11", "69", "88", "99", "007",
	"22", "23", "77", "00", "111", "321", "123123", "@1", "#1", "123456789",
	"3", "7", "13", "21", "666", "777", "1234567", "12345678", "1234567890", "!!", "12!", "1234!", "@", "@1234", "#123", "$", "*", ".", "_1", "_123", "abc", "abc123", "1a", "qwerty"}

func years(from, to int) (all []string) {
	for y := from; y <= to; y++ {
		all = append(all, fmt.Sprint(y))
	}
	return all
}

// substituted are the ways to write a word with signs for letters.
func substituted(w string) (all []string) {
	for _, r := range [][]string{
		{"a", "@"}, {"a", "4"}, {"o", "0"}, {"e", "3"}, {"i", "1"}, {"i", "!"}, {"s", "$"}, {"s", "5"},
		{"a", "@", "o", "0"}, {"a", "@", "s", "$"}, {"a", "4", "e", "3", "i", "1", "o", "0"},
		{"a", "@", "e", "3", "i", "1", "o", "0", "s", "$"}, {"a", "4", "e", "3", "i", "1", "o", "0", "s", "5"},
	} {
		if s := strings.NewReplacer(r...).Replace(w); s != w {
			all = append(all, s)
		}
	}
	return all
}

// walks are what fingers find on a keyboard: parts of its rows, columns and
// diagonals, there, back, twice, and one after another.
func walks() (all []string) {
	rows := []string{"1234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertzuiop", "yxcvbnm", "azertyuiop", "qsdfghjklm", "wxcvbn",
		"abcdefghijklmnopqrstuvwxyz", "!@#$%^&*()", "йцукенгшщзхъ", "фывапролджэ", "ячсмитьбю"}
	columns := []string{"1qaz", "2wsx", "3edc", "4rfv", "5tgb", "6yhn", "7ujm", "8ik,", "9ol.", "0p;/", "1q2w3e4r5t6y7u8i9o0p", "q1w2e3r4t5y6u7i8o9p0",
		"1a2b3c4d5e6f7g8h9i0j", "a1b2c3d4e5f6g7h8i9j0", "1q2w3e", "q1w2e3", "qazwsxedcrfvtgbyhnujm", "zaqxswcdevfrbgtnhymju", "qweasdzxc", "qweasd", "asdzxc", "wasd", "zaq1xsw2cde3", "zaq12wsx", "xsw2zaq1"}
	for _, row := range slices.Concat(rows, columns) {
		runes := []rune(row)
		for n := 3; n <= len(runes); n++ {
			for _, start := range []int{0, len(runes) - n} {
				part := string(runes[start : start+n])
				slices.Reverse(runes[start : start+n])
				back := string(runes[start : start+n])
				slices.Reverse(runes[start : start+n])
				all = append(all, part, back, part+part, part+back, back+part, part+part+part, part+"1", part+"12", part+"123", part+"!", part+"1!", part+"123!", "123"+part)
			}
		}
	}
	heads := []string{"123", "1234", "12345", "123456", "qwe", "qwer", "qwert", "qwerty", "asd", "asdf", "asdfg", "zxc", "zxcv", "zxcvbn", "zxcvbnm", "qwertyuiop", "asdfghjkl",
		"1qaz", "2wsx", "3edc", "4rfv", "5tgb", "abc", "abcd", "qaz", "wsx", "edc", "azerty", "qwertz", "!@#", "!@#$", "1q2w3e", "1q2w3e4r", "q1w2e3"}
	for _, a := range heads {
		for _, b := range heads {
			all = append(all, a+b)
			for _, c := range []string{"qwe", "asd", "zxc", "123", "1qaz", "2wsx", "3edc", "4rfv", "zxcvbnm", "!@#"} {
				all = append(all, a+b+c)
			}
		}
	}
	return all
}

// digits are numbers that mean something, or nothing.
func digits() (all []string) {
	for d := range 10 {
		one := fmt.Sprint(d)
		for n := 8; n <= 24; n++ {
			all = append(all, strings.Repeat(one, n))
		}
		for e := range 10 {
			two := fmt.Sprint(e)
			for n := 4; n <= 8; n++ {
				all = append(all, strings.Repeat(one, n)+strings.Repeat(two, n), strings.Repeat(one+two, n), strings.Repeat(one+one+two+two, n/2))
			}
		}
	}
	for n := range 1000 { // the same three digits again and again
		part := fmt.Sprintf("%03d", n)
		all = append(all, strings.Repeat(part, 3), strings.Repeat(part, 4), strings.Repeat(part, 5))
	}
	for _, y := range years(1950, 2026) {
		all = append(all, y+y, y+y+y+y, "0101"+y, "3112"+y, "1231"+y, y+"0101", y+"1231", "1234"+y)
	}
	return append(all, "31415926", "314159265", "3141592653", "314159265358979", "3141592653589793", "27182818", "2718281828", "16180339", "1618033988",
		"11235813", "1123581321", "112358132134", "112358132134558", "147258369", "1472583690", "741852963", "963852741", "369258147", "789456123", "789456123000",
		"159753456852", "147896325", "1478963250", "123654789", "987456321", "123698745", "124578963", "135792468", "1357924680", "246813579", "2468013579",
		"102938475", "1029384756", "0192837465", "123789456", "456123789", "321654987", "4815162342", "48151623420", "1029384756qwerty", "13579246810", "1122334455667788",
		"112233445566778899", "11223344556677", "123456123456", "123456654321", "1234567887654321", "12345678987654321", "123456789987654321", "1234567890987654321", "12345678900987654321",
		"123451234512345", "123456123456123456", "12345678912345678", "123456789123456", "1234567890123456", "12345678901234567890", "0123456789012345", "000111222333444555")
}

func readList(t testing.TB, path string) (all []string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			all = append(all, line)
		}
	}
	return all
}

// TestEmbeddedFilterIsCurrent builds the filter anew and compares every byte:
// it is what the lists say, and building is deterministic.
func TestEmbeddedFilterIsCurrent(t *testing.T) {
	guesses := firstGuesses(t)
	keys := make([]uint64, 0, len(guesses))
	for _, g := range guesses {
		keys = append(keys, breachedKey([]byte(g)))
	}
	b, err := newBreached(keys)
	if err != nil {
		t.Fatal(err)
	}
	made := b.encode()
	if *write {
		if err := os.WriteFile("breached.filter", made, 0o600); err != nil {
			t.Fatal(err)
		}
		t.Logf("wrote %d passwords in %d bytes", len(guesses), len(made))
		return
	}
	if !bytes.Equal(made, embeddedFilter) {
		t.Errorf("breached.filter (%d bytes) is not what the lists make (%d bytes): run go generate ./internal/password", len(embeddedFilter), len(made))
	}
	if most := 200 << 10; len(embeddedFilter) > most {
		t.Errorf("breached.filter has %d bytes, want at most %d", len(embeddedFilter), most)
	}
}

// TestEmbeddedFilterMeetsThePolicy is OWASP ASVS 5.0 6.2.4: the first 3,000
// passwords that meet the policy, of each of the two lengths.
func TestEmbeddedFilterMeetsThePolicy(t *testing.T) {
	b, short, long := Embedded(), 0, 0
	guesses := firstGuesses(t)
	for _, g := range guesses {
		if !b.Contains([]byte(g)) {
			t.Fatalf("%q is on the list and not in the filter", g)
		}
		if n := utf8.RuneCountInString(g); n >= MinSecond {
			if short++; n >= MinAlone {
				long++
			}
		}
	}
	if short < 3000 || long < 3000 || b.orEmbedded().count != uint64(len(guesses)) {
		t.Errorf("%d passwords of %d characters and %d of %d, %d in all; want 3000 of each, and %d in all",
			short, MinSecond, long, MinAlone, b.orEmbedded().count, len(guesses))
	}
	t.Logf("%d passwords of at least %d characters, %d of at least %d", short, MinSecond, long, MinAlone)
}
