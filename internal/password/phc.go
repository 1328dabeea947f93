package password

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// The sizes of what is written, and the bounds of what is read.
const (
	saltBytes = 16
	sumBytes  = 32

	minSalt, maxSalt = 8, 64
	minSum, maxSum   = 16, 64
)

// phc is an Argon2 hash in PHC string form:
//
//	$argon2id$v=19$m=47104,t=1,p=1$SALT$SUM
//
// with unpadded standard base64, as the reference implementation writes it. It
// is not a secret that opens anything, but it is what a guesser works on: it
// goes to the store only.
type phc struct {
	kind string // argon2id or argon2i
	cost Cost
	salt []byte
	sum  []byte
}

// String is the form that is stored.
func (h phc) String() string {
	enc := base64.RawStdEncoding
	return fmt.Sprintf("$%s$v=%d$m=%d,t=%d,p=%d$%s$%s", h.kind, argon2.Version,
		h.cost.Memory, h.cost.Passes, h.cost.Threads, enc.EncodeToString(h.salt), enc.EncodeToString(h.sum))
}

// parsePHC reads exactly the form that String writes: another order, version,
// padding or leading zero is refused, so that one hash has one spelling.
func parsePHC(text string) (phc, error) {
	part := strings.Split(text, "$")
	switch {
	case len(part) < 2 || part[0] != "" || (part[1] != "argon2id" && part[1] != "argon2i"):
		return phc{}, errors.New("argon2: not argon2id or argon2i in PHC form")
	case len(part) != 6 || part[2] != "v="+strconv.Itoa(argon2.Version):
		return phc{}, errors.New("argon2: want $argon2id$v=19$m=..,t=..,p=..$SALT$SUM")
	}
	price := strings.Split(part[3], ",")
	if len(price) != 3 {
		return phc{}, errors.New("argon2: want the parameters m, t and p")
	}
	memory, okM := number(price[0], "m=")
	passes, okT := number(price[1], "t=")
	threads, okP := number(price[2], "p=")
	if !okM || !okT || !okP || threads > maxThreads {
		return phc{}, errors.New("argon2: want the parameters m, t and p, in bounds")
	}
	h := phc{kind: part[1], cost: Cost{Memory: memory, Passes: passes, Threads: uint8(threads)}}
	if err := h.cost.bounded(); err != nil {
		return phc{}, err
	}
	var errSalt, errSum error
	h.salt, errSalt = base64.RawStdEncoding.Strict().DecodeString(part[4])
	h.sum, errSum = base64.RawStdEncoding.Strict().DecodeString(part[5])
	switch {
	case errSalt != nil || errSum != nil:
		return phc{}, errors.New("argon2: salt and sum want base64 without padding")
	case len(h.salt) < minSalt || len(h.salt) > maxSalt:
		return phc{}, fmt.Errorf("argon2: salt of %d bytes is not between %d and %d", len(h.salt), minSalt, maxSalt)
	case len(h.sum) < minSum || len(h.sum) > maxSum:
		return phc{}, fmt.Errorf("argon2: sum of %d bytes is not between %d and %d", len(h.sum), minSum, maxSum)
	case h.String() != text:
		return phc{}, errors.New("argon2: not the canonical spelling")
	}
	return h, nil
}

// number reads "m=19456": a decimal number behind its name.
func number(text, name string) (uint32, bool) {
	digits, ok := strings.CutPrefix(text, name)
	if !ok {
		return 0, false
	}
	n, err := decimal(digits)
	return n, err == nil
}

// decimal reads a number as programs write it: no sign, no leading zero.
func decimal(digits string) (uint32, error) {
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || strconv.FormatUint(n, 10) != digits {
		return 0, errors.New("not a number")
	}
	return uint32(n), nil
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // crypto/rand.Read never fails (Go 1.24)
	return b
}
