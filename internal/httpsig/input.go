package httpsig

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"sallyport.dev/internal/problem"
)

// The fixed list, as Signature-Input has it.
const (
	coveredStream = `("@method" "@request-target" "@authority" "txn-token" "x-correlation-id" "sallyport-client")`
	covered       = `("@method" "@request-target" "@authority" "txn-token" "x-correlation-id" "sallyport-client" "content-digest")`
)

func (p Profile) covered() string {
	if p.NoDigest {
		return coveredStream
	}
	return covered
}

func (s Strength) label() string {
	if s == MAC {
		return MACLabel
	}
	return SignatureLabel
}

func (s Strength) tag() string {
	if s == MAC {
		return MACTag
	}
	return SignatureTag
}

// parameters are the signature parameters of a proof. A MAC has no expires on
// the wire: it ends Life after created.
type parameters struct {
	created int64  // unix seconds
	expires int64  // unix seconds
	counter uint64 // MAC
	nonce   string // signature: 128 random bits, base64url
	text    string // of a received proof: the value of @signature-params
}

// append appends the value of @signature-params, in the one order that this
// profile has.
func (in *parameters) append(dst []byte, kind Strength, p Profile) []byte {
	dst = append(append(dst, p.covered()...), ";created="...)
	dst = strconv.AppendInt(dst, in.created, 10)
	if kind == Signature {
		dst = strconv.AppendInt(append(dst, ";expires="...), in.expires, 10)
	}
	dst = append(dst, `;nonce="`...)
	if kind == MAC {
		dst = strconv.AppendUint(dst, in.counter, 10)
	}
	dst = append(append(dst, in.nonce...), `";tag="`...)
	return append(append(dst, kind.tag()...), '"')
}

// parseInput reads Signature-Input: one label, the fixed list, the parameters of
// its strength in their order, and nothing else. RFC 9421 would allow any order
// and spacing; with one spelling only, what is received is what is covered, and
// a second reading of it cannot exist.
func parseInput(s string, kind Strength, p Profile) (in parameters, err error) {
	if len(s) > maxInput {
		return in, fmt.Errorf("%s of %d bytes", InputHeader, len(s))
	}
	rest, ok := strings.CutPrefix(s, kind.label())
	if rest, ok = cutAfter(rest, "=", ok); !ok {
		return in, fmt.Errorf("label is not %s", kind.label())
	}
	in.text = rest
	if rest, ok = strings.CutPrefix(rest, p.covered()); !ok {
		return in, errors.New("covered components are not the fixed list")
	}
	if rest, ok = strings.CutPrefix(rest, ";created="); ok {
		in.created, rest, ok = cutSeconds(rest)
	}
	if !ok {
		return in, errors.New("created is not the first parameter, or not in form")
	}
	in.expires = in.created + lifeSeconds
	if kind == Signature {
		if rest, ok = strings.CutPrefix(rest, ";expires="); ok {
			in.expires, rest, ok = cutSeconds(rest)
		}
		if !ok {
			return in, errors.New("expires is not the second parameter, or not in form")
		}
	}
	if rest, ok = strings.CutPrefix(rest, `;nonce="`); ok {
		in.nonce, rest, ok = strings.Cut(rest, `"`)
	}
	if ok && kind == MAC {
		in.counter, ok = counterOf(in.nonce)
	} else if ok {
		ok = validNonce(in.nonce)
	}
	if !ok {
		return in, errors.New("nonce is not the next parameter, or not in form")
	}
	rest, ok = strings.CutPrefix(rest, `;tag="`)
	rest, ok = cutAfter(rest, kind.tag(), ok)
	if !ok || rest != `"` {
		return in, errors.New("tag is not the last parameter, or not the profile's")
	}
	return in, nil
}

func cutAfter(s, prefix string, so bool) (string, bool) {
	if !so {
		return s, false
	}
	return strings.CutPrefix(s, prefix)
}

// cutSeconds reads a positive integer of RFC 9651 section 3.3.1 without sign and
// leading zeros, up to the next parameter.
func cutSeconds(s string) (n int64, rest string, ok bool) {
	end := strings.IndexByte(s, ';')
	if end < 1 || end > 15 || s[0] == '0' {
		return 0, s, false
	}
	for i := range end {
		if s[i] < '0' || s[i] > '9' {
			return 0, s, false
		}
		n = n*10 + int64(s[i]-'0')
	}
	return n, s[end:], true
}

// counterOf reads the nonce of a MAC: a decimal number from 1 on, in the form
// that strconv writes.
func counterOf(s string) (uint64, bool) {
	if s == "" || s[0] < '1' || s[0] > '9' { // also keeps out the signs that ParseUint refuses anyway
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil
}

const nonceSize = 22 // base64url characters of 128 bits

func validNonce(s string) bool {
	if len(s) != nonceSize {
		return false
	}
	for i := range len(s) {
		if !alphanumeric(s[i]) && s[i] != '-' && s[i] != '_' {
			return false
		}
	}
	return true
}

// parseSignature reads Signature: the same one label and a byte sequence that
// fills out, whose base64 is canonical.
func parseSignature(s string, kind Strength, out []byte) error {
	var text [2 + 88]byte // the longest: 64 bytes; on the stack
	encoded := binary.EncodedLen(len(out))
	rest, ok := strings.CutPrefix(s, kind.label())
	if rest, ok = cutAfter(rest, "=:", ok); !ok || len(rest) != encoded+1 || rest[encoded] != ':' {
		return fmt.Errorf("%s is not %s and %d bytes", SignatureHeader, kind.label(), len(out))
	}
	copy(text[:encoded], rest)
	// Go's decoder skips line breaks even when strict, which would leave it short.
	var decoded [2 + 64]byte
	n, err := binary.Decode(decoded[:], text[:encoded])
	if err != nil || n != len(out) {
		return fmt.Errorf("%s is not canonical base64", SignatureHeader)
	}
	copy(out, decoded[:n])
	return nil
}

// live checks the life of a proof whose parameters are read. Its errors are
// problem.ProofInvalid for a life that no sender may give and
// problem.ProofExpired for one that is not now.
func (in *parameters) live(now time.Time) error {
	life, at := in.expires-in.created, now.Unix()
	switch {
	case life <= 0 || life > lifeSeconds:
		return invalid(fmt.Errorf("a life of %d s", life))
	case in.created > at+leewaySeconds:
		return expired(fmt.Errorf("made %d s in the future", in.created-at))
	case in.expires < at-leewaySeconds:
		return expired(fmt.Errorf("expired %d s ago", at-in.expires))
	}
	return nil
}

func expired(cause error) error {
	return problem.New(problem.ProofExpired, fmt.Errorf("httpsig: verify: %w", cause))
}
