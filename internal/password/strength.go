package password

import (
	"math"
	"strings"
	"unicode/utf8"

	"github.com/trustelem/zxcvbn"
	"github.com/trustelem/zxcvbn/match"

	"sallyport.dev/internal/obs"
)

// The cost of zxcvbn grows faster than the square of what it is given, and with
// the number of substitutions (4 for a, @ for a) that it has to try. Both are the
// sender's choice, so both are bounded: at the bounds a score takes some tens of
// milliseconds, less than a hash.
const (
	scoredBytes    = 64 // of a password and of each word
	scoredSigns    = 8  // different substitution characters; with more of them
	scoredWithMore = 32 // bytes of the password, which are a strong one already
	scoredWords    = 8

	substitutions = "4@8({[<369!1|70$5+%2" // what zxcvbn may read as a letter
)

// Strength is how well a password withstands guessing.
type Strength struct {
	Score   int     `json:"score"`          // 0 (guessed at once) to 4
	Guesses float64 `json:"guesses"`        // decimal logarithm of the guesses it takes
	Hint    Hint    `json:"hint,omitempty"` // what makes it weak
}

// Strength estimates a password by zxcvbn. It looks at 64 bytes at most: what
// follows can only make it stronger. What Judge refuses in any zone has score 0.
// It costs CPU of the sender's choosing, within bounds: limit who may ask.
func (s *Passwords) Strength(p obs.Secret, words ...string) Strength {
	if p == "" {
		return Strength{Hint: HintShort}
	}
	plain, err := present(p)
	if err != nil { // Judge says why
		return Strength{}
	}
	if h := s.guessable(plain, words); h != "" {
		return Strength{Hint: h}
	}
	r := s.score(scored(string(plain.nfc)), contextInputs(words))
	out := Strength{Score: r.Score, Guesses: math.Round(100*math.Log10(max(1, r.Guesses))) / 100}
	if out.Score < 3 {
		out.Hint = hintOf(r)
	}
	if utf8.RuneCount(plain.nfc) < MinSecond {
		out.Score, out.Hint = min(out.Score, 1), HintShort
	}
	return out
}

// scored is the part of a password that is scored.
func scored(plain string) string {
	plain = cut(plain, scoredBytes)
	signs := 0
	for _, sign := range substitutions {
		if strings.ContainsRune(plain, sign) {
			signs++
		}
	}
	if signs > scoredSigns {
		plain = cut(plain, scoredWithMore)
	}
	return plain
}

// contextInputs are the words that zxcvbn shall count as guessed at once.
func contextInputs(words []string) []string {
	var in []string
	for _, w := range words {
		if w == "" {
			continue
		}
		w = fold(cut(w, scoredBytes))
		local, _, _ := strings.Cut(w, "@")
		if in = append(in, w, local); len(in) >= scoredWords {
			break
		}
	}
	return in
}

// hintOf names the pattern of the longest part that was recognised.
func hintOf(r zxcvbn.Result) Hint {
	var longest *match.Match
	for _, m := range r.Sequence {
		if m.Pattern != "bruteforce" && (longest == nil || len(m.Token) > len(longest.Token)) {
			longest = m
		}
	}
	if longest == nil {
		return HintShort
	}
	switch longest.Pattern {
	case "dictionary":
		switch longest.DictionaryName {
		case "user_inputs":
			return HintContext
		case "passwords":
			return HintCommon
		}
		return HintWords
	case "spatial":
		return HintKeyboard
	case "repeat":
		return HintRepeated
	case "sequence":
		return HintSequence
	case "date", "regex":
		return HintDate
	}
	return HintWords
}
