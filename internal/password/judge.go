package password

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/problem"
)

//go:embed common.txt
var commonFile string

// commonPasswords returns the set of passwords that everybody tries first, in
// lower case.
func commonPasswords() map[string]struct{} {
	set := make(map[string]struct{})
	for line := range strings.Lines(commonFile) {
		if word := strings.TrimSpace(line); word != "" && !strings.HasPrefix(word, "#") {
			set[word] = struct{}{}
		}
	}
	return set
}

// Judge refuses a password that someone chose, with the reason why: length, and
// that it is not among the first guesses. second says whether the account has a
// second factor. The words are those of the account and the place: e-mail
// address, name, zone.
//
// Refusals: account.invalid for what cannot be a password at all,
// account.password for one that is too weak.
func (s *Passwords) Judge(p obs.Secret, second bool, words ...string) error {
	plain, err := present(p)
	if err != nil {
		return err
	}
	n := utf8.RuneCount(plain.nfc)
	switch {
	case second && n < MinSecond:
		return refused(fmt.Sprintf("use at least %d characters", MinSecond))
	case !second && n < MinAlone:
		return refused(fmt.Sprintf("use at least %d characters, such as a few words; %d are enough with a second factor", MinAlone, MinSecond))
	}
	return s.guessable(plain, words).refusal()
}

// Hint is why a password is easy to guess. It is a key for a text; the zero
// value is no hint.
type Hint string

// The hints.
const (
	HintShort    Hint = "short"    // more characters
	HintRepeated Hint = "repeated" // one character, or one part, again and again
	HintCommon   Hint = "common"   // among the most used, or near one of them
	HintContext  Hint = "context"  // made of the account's or the zone's own words
	HintBreached Hint = "breached" // known from a breach, or repetitions of what is or of a short part
	HintKeyboard Hint = "keyboard" // neighbours on a keyboard
	HintSequence Hint = "sequence" // abc, 6543
	HintDate     Hint = "date"     // dates and years
	HintWords    Hint = "words"    // a word or name that dictionaries have
)

// refusal is the error of a hint that forbids a password; nil for none.
func (h Hint) refusal() error {
	switch h {
	case HintRepeated:
		return refused("this is one character repeated; choose another")
	case HintCommon:
		return refused("this is one of the most used passwords; choose another")
	case HintContext:
		return refused("this is made of your address, your name or the name of this place; choose another")
	case HintBreached:
		return refused("this password is known from a breach or too common; choose another")
	}
	return nil
}

func refused(detail string) error { return problem.WithDetail(problem.AccountPassword, detail) }

// guessable tells why a password is among the first guesses.
func (s *Passwords) guessable(plain presented, words []string) Hint {
	folded := plain.folded()
	if first, _ := utf8.DecodeRuneInString(folded); strings.Trim(folded, string(first)) == "" {
		return HintRepeated
	}
	if _, ok := s.common[folded]; ok {
		return HintCommon
	}
	if ofContext(folded, words) {
		return HintContext
	}
	b := s.breached.Load()
	if b.Contains(plain.nfc) || b.Contains([]byte(folded)) {
		return HintBreached
	}
	if part := repeated(folded); part != folded {
		_, common := s.common[part]
		short := utf8.RuneCountInString(part) < MinSecond && 2*len(part) <= len(folded)
		if common || short || b.Contains([]byte(part)) {
			return HintBreached
		}
	}
	return ""
}

// repeated returns the shortest part of which text is nothing but repetitions, the
// last of which may be cut short: 1234567890 of 123456789012345. It is all of the
// text when there is none.
func repeated(text string) string {
	// border[i] is how much of the end of text[:i] its beginning is, less than all.
	border := make([]int, len(text)+1)
	for i, n := 1, 0; i < len(text); i++ {
		for n > 0 && text[i] != text[n] {
			n = border[n]
		}
		if text[i] == text[n] {
			n++
		}
		border[i+1] = n
	}
	return text[:len(text)-border[len(text)]]
}

// Bounds of the search for context words. They are the account's own, yet typed
// by somebody.
const (
	contextWords  = 32  // words and their parts, at most
	contextLength = 254 // bytes of one that are looked at
	contextLetter = 3   // letters of the shortest one
	contextRest   = 8   // digits and signs beside them that are no password of their own
)

// ofContext tells whether a folded password is one of the words, or is made of
// nothing but them, their parts, and a few digits and signs: "ada",
// "ada.lovelace" and "shop" make "Ada-Shop-2024!".
func ofContext(folded string, words []string) bool {
	var parts []string
	for _, w := range words {
		w = fold(cut(w, contextLength))
		if w == "" {
			continue
		}
		if folded == w {
			return true
		}
		if local, _, ok := strings.Cut(w, "@"); ok && folded == local {
			return true
		}
		for _, part := range strings.FieldsFunc(w, func(r rune) bool { return !isLetter(r) }) {
			if utf8.RuneCountInString(part) >= contextLetter && len(parts) < contextWords && !slices.Contains(parts, part) {
				parts = append(parts, part)
			}
		}
	}
	letters, rest := make([]byte, 0, len(folded)), 0
	for _, r := range folded {
		if isLetter(r) {
			letters = utf8.AppendRune(letters, r)
		} else {
			rest++
		}
	}
	return len(letters) > 0 && rest <= contextRest && madeOf(string(letters), parts)
}

// madeOf tells whether text is a chain of parts.
func madeOf(text string, parts []string) bool {
	reached := make([]bool, len(text)+1) // reached[i]: text[:i] is a chain
	reached[0] = true
	for i := range text {
		if !reached[i] {
			continue
		}
		for _, part := range parts {
			if strings.HasPrefix(text[i:], part) {
				reached[i+len(part)] = true
			}
		}
	}
	return reached[len(text)]
}

func isLetter(r rune) bool { return unicode.IsLetter(r) || unicode.IsMark(r) }

// cut returns the longest beginning of text that has at most n bytes and ends
// with a whole character.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}

// StandsAlone says whether a password has the length of one beside which there is
// no second factor.
func StandsAlone(p obs.Secret) bool {
	plain, err := present(p)
	return err == nil && utf8.RuneCount(plain.nfc) >= MinAlone
}
