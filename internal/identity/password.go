package identity

import (
	_ "embed"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/problem"
)

// The bounds of a password. Characters are Unicode code points after
// normalisation, as NIST SP 800-63B-4 section 3.1.1.2 counts them.
const (
	passwordMin   = 8    // characters
	passwordMax   = 128  // characters
	passwordBytes = 1024 // as sent, checked before anything is computed
)

// passwordForm is the normalisation applied before hashing, kept with each hash
// so that another one can follow without locking anybody out. NFKC is what
// SP 800-63B-4 recommends: the same keys pressed on another keyboard or with
// full-width input give the same password.
const passwordForm = "nfkc"

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

// presentedPassword returns the bytes to hash of a password that someone sent,
// or refuses it before anything is computed or looked up: the answer depends on
// nothing but the password itself.
func presentedPassword(p obs.Secret) ([]byte, error) {
	switch {
	case p == "":
		return nil, problem.WithDetail(problem.AccountInvalid, "password: required")
	case len(p) > passwordBytes || utf8.RuneCountInString(string(p)) > passwordMax:
		return nil, problem.WithDetail(problem.AccountInvalid, fmt.Sprintf("password: longer than %d characters", passwordMax))
	case !utf8.ValidString(string(p)) || strings.ContainsRune(string(p), utf8.RuneError):
		// U+FFFD is what decoders leave of damaged text: two different passwords
		// must not become one.
		return nil, problem.WithDetail(problem.AccountInvalid, "password: not UTF-8")
	}
	return norm.NFKC.Bytes([]byte(p)), nil
}

// newPassword returns the bytes to hash of a password that someone chose, or
// refuses it with the reason why. There are no rules of composition
// (SP 800-63B-4): length, and that it is not among the first guesses, which are
// the common ones and the words of this account and zone.
func newPassword(p obs.Secret, common map[string]struct{}, words ...string) ([]byte, error) {
	plain, err := presentedPassword(p)
	if err != nil {
		return nil, err
	}
	if n := utf8.RuneCount(plain); n < passwordMin || n > passwordMax {
		return nil, problem.WithDetail(problem.AccountPassword,
			fmt.Sprintf("use %d to %d characters", passwordMin, passwordMax))
	}
	folded := strings.ToLower(string(plain))
	if _, ok := common[folded]; ok {
		return nil, problem.WithDetail(problem.AccountPassword, "this is one of the most used passwords; choose another")
	}
	if first, _ := utf8.DecodeRuneInString(folded); strings.Trim(folded, string(first)) == "" {
		return nil, problem.WithDetail(problem.AccountPassword, "this is one character repeated; choose another")
	}
	for _, w := range words {
		if w != "" && folded == strings.ToLower(w) {
			return nil, problem.WithDetail(problem.AccountPassword, "this is your address or the name of this place; choose another")
		}
	}
	return plain, nil
}
