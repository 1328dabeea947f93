package password

import (
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
	MinAlone  = 15  // characters of a password that is the only factor
	MinSecond = 8   // characters of one beside a second factor
	Max       = 128 // characters

	// maxBytes is of a password as sent, checked before anything is computed: a
	// character has nine at most, as Hangul has that is written in its parts.
	maxBytes = 9 * Max
)

// The forms of Unicode that a password was hashed in. The form is kept beside
// each hash, so that another one can follow without locking anybody out.
const (
	// FormNFC is the current one: composed, nothing else changed. It is what
	// PRECIS OpaqueString uses (RFC 8265 section 4.2): two passwords that look
	// different stay different.
	FormNFC = "nfc"
	// FormNFKC is that of earlier versions. Such hashes still check and are
	// renewed to FormNFC.
	FormNFKC = "nfkc"
	// FormRaw is that of imported hashes: the bytes as they were sent. When those
	// are wrong, their NFC is tried as well, since sources differ.
	FormRaw = "raw"
)

// presented is a password that someone sent, within bounds.
type presented struct {
	raw []byte
	nfc []byte // what is hashed
}

// present refuses what cannot be a password before anything is computed or
// looked up: the answer depends on nothing but the password itself.
func present(p obs.Secret) (presented, error) {
	switch {
	case p == "":
		return presented{}, problem.WithDetail(problem.AccountInvalid, "password: required")
	case len(p) > maxBytes:
		return presented{}, problem.WithDetail(problem.AccountInvalid, fmt.Sprintf("password: longer than %d bytes", maxBytes))
	case !utf8.ValidString(string(p)) || strings.ContainsRune(string(p), utf8.RuneError):
		// U+FFFD is what decoders leave of damaged text: two different passwords
		// must not become one.
		return presented{}, problem.WithDetail(problem.AccountInvalid, "password: not UTF-8")
	}
	plain := presented{raw: []byte(p), nfc: norm.NFC.Bytes([]byte(p))}
	if utf8.RuneCount(plain.nfc) > Max {
		return presented{}, problem.WithDetail(problem.AccountInvalid, fmt.Sprintf("password: longer than %d characters", Max))
	}
	return plain, nil
}

// in returns the bytes of the password in a form; ok is false for one that is
// not known.
func (p presented) in(form string) (b []byte, ok bool) {
	switch form {
	case FormNFC:
		return p.nfc, true
	case FormNFKC:
		return norm.NFKC.Bytes(p.raw), true
	case FormRaw:
		return p.raw, true
	}
	return nil, false
}

// folded is what judgement looks at: case, width and other ways of writing the
// same characters do not hide a common password.
func (p presented) folded() string { return fold(string(p.nfc)) }

func fold(text string) string { return strings.ToLower(norm.NFKC.String(text)) }
