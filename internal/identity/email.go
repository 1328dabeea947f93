package identity

import (
	"net/mail"
	"strings"

	"sallyport.dev/internal/problem"
)

// The longest address that SMTP can carry (RFC 5321 section 4.5.3.1.3, less the
// angle brackets), and its parts.
const (
	emailMax  = 254
	localMax  = 64
	domainMax = 253
	labelMax  = 63
)

// parseEmail accepts a bare address of ASCII characters: no display name,
// comment, quoted local part or address literal. An international domain is
// written in its xn-- form: two addresses that look alike cannot differ.
func parseEmail(text string) (string, error) {
	bad := func(detail string) (string, error) {
		return "", problem.WithDetail(problem.AccountInvalid, "email: "+detail)
	}
	switch {
	case text == "":
		return bad("required")
	case len(text) > emailMax:
		return bad("longer than 254 characters")
	case strings.ContainsFunc(text, func(r rune) bool { return r > '~' }):
		return bad("only ASCII characters; write an international domain in its xn-- form")
	case strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || strings.ContainsRune(`"(),:;<>[\]`, r) }):
		return bad("not an address like name@example.org")
	}
	addr, err := mail.ParseAddress(text)
	if err != nil || addr.Name != "" || addr.Address != text {
		return bad("not an address like name@example.org")
	}
	at := strings.LastIndexByte(text, '@')
	if at < 1 || at > localMax || !hostname(text[at+1:]) {
		return bad("not an address like name@example.org")
	}
	return text, nil
}

// hostname says whether s is letters, digits and inner hyphens in labels (RFC 1123 section 2.1).
func hostname(s string) bool {
	if len(s) > domainMax {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > labelMax || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			if c := label[i]; c != '-' && !(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') {
				return false
			}
		}
	}
	return true
}

// foldEmail is the form under which an address is unique and looked up. It also
// takes text that is no address: a login does not judge what it looks up, so
// that its answer depends on the look-up alone.
func foldEmail(text string) string { return strings.ToLower(text) }
