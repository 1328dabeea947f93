package password

import (
	"bytes"
	"crypto/pbkdf2"
	"crypto/sha1" // #nosec G505 -- of hashes that others made; renewed at the first login
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strings"

	"golang.org/x/crypto/scrypt"
)

// Bounds of PBKDF2 and scrypt: see maxMemory.
const (
	maxRounds     = 5_000_000 // iterations times blocks
	maxScryptWork = 1 << 23   // N r p
)

// parsePBKDF2 reads what stands behind the name, as passlib writes it,
//
//	29000$SALT$SUM
//
// with base64 that has . for + and no padding, or in PHC form,
//
//	i=600000,l=32$SALT$SUM
//
// with unpadded standard base64.
func parsePBKDF2(kind, rest string) (foreign, error) {
	part := strings.Split(rest, "$")
	if len(part) != 3 {
		return foreign{}, errors.New("pbkdf2: want iterations, salt and sum")
	}
	rounds, length, inPHC := part[0], "", false
	if r, ok := strings.CutPrefix(rounds, "i="); ok {
		inPHC = true
		rounds, length, _ = strings.Cut(r, ",")
	}
	read := adapted64
	if inPHC {
		read = base64.RawStdEncoding.Strict().DecodeString
	}
	salt, errSalt := read(part[1])
	sum, errSum := read(part[2])
	if errSalt != nil || errSum != nil {
		return foreign{}, errors.New("pbkdf2: salt and sum want base64 without padding")
	}
	if length != "" && length != fmt.Sprintf("l=%d", len(sum)) {
		return foreign{}, errors.New("pbkdf2: its parameters are not i and l, or l is not the length of the sum")
	}
	newHash := sha1.New
	switch kind {
	case "pbkdf2-sha256":
		newHash = sha256.New
	case "pbkdf2-sha512":
		newHash = sha512.New
	}
	return pbkdf2Of(newHash, rounds, salt, sum)
}

// parseDjangoPBKDF2 reads 720000$SALT$SUM: the salt is text, the sum padded base64.
func parseDjangoPBKDF2(kind, rest string) (foreign, error) {
	part := strings.Split(rest, "$")
	if len(part) != 3 {
		return foreign{}, errors.New("pbkdf2: want iterations, salt and sum")
	}
	sum, err := base64.StdEncoding.Strict().DecodeString(part[2])
	if err != nil {
		return foreign{}, errors.New("pbkdf2: the sum wants base64")
	}
	newHash := sha256.New
	if kind == "pbkdf2_sha1" {
		newHash = sha1.New
	}
	return pbkdf2Of(newHash, part[0], []byte(part[1]), sum)
}

func pbkdf2Of(newHash func() hash.Hash, rounds string, salt, sum []byte) (foreign, error) {
	n, err := decimal(rounds)
	if err != nil || n == 0 {
		return foreign{}, errors.New("pbkdf2: iterations are not a number")
	}
	if err := lengths("pbkdf2", salt, sum); err != nil {
		return foreign{}, err
	}
	size := newHash().Size()
	if blocks := (len(sum) + size - 1) / size; uint64(n)*uint64(blocks) > maxRounds {
		return foreign{}, fmt.Errorf("pbkdf2: %d iterations for %d blocks are above %d in all", n, blocks, maxRounds)
	}
	return foreign{format: "pbkdf2", kib: 1, matches: func(password []byte) bool {
		got, err := pbkdf2.Key(newHash, string(password), salt, int(n), len(sum))
		return err == nil && same(got, sum) && !padded(password)
	}}, nil
}

// padded says whether a password ends in NUL: HMAC, of which both are made, fills
// a short key with them, so that it has the sum of the password without.
func padded(password []byte) bool { return bytes.HasSuffix(password, []byte{0}) }

// parseScrypt reads ln=16,r=8,p=1$SALT$SUM with unpadded base64.
func parseScrypt(rest string) (foreign, error) {
	part := strings.Split(rest, "$")
	if len(part) != 3 {
		return foreign{}, errors.New("scrypt: want parameters, salt and sum")
	}
	price := strings.Split(part[0], ",")
	if len(price) != 3 {
		return foreign{}, errors.New("scrypt: want the parameters ln, r and p")
	}
	ln, okN := number(price[0], "ln=")
	r, okR := number(price[1], "r=")
	p, okP := number(price[2], "p=")
	if !okN || !okR || !okP || ln == 0 || ln > 31 {
		return foreign{}, errors.New("scrypt: want the parameters ln, r and p, in bounds")
	}
	salt, errSalt := base64.RawStdEncoding.Strict().DecodeString(part[1])
	sum, errSum := base64.RawStdEncoding.Strict().DecodeString(part[2])
	if errSalt != nil || errSum != nil {
		return foreign{}, errors.New("scrypt: salt and sum want base64 without padding")
	}
	return scryptOf(1<<ln, r, p, salt, sum)
}

// parseDjangoScrypt reads N$SALT$r$p$SUM: the salt is text, the sum padded base64.
func parseDjangoScrypt(rest string) (foreign, error) {
	part := strings.Split(rest, "$")
	if len(part) != 5 {
		return foreign{}, errors.New("scrypt: want N, salt, r, p and sum")
	}
	n, errN := decimal(part[0])
	r, errR := decimal(part[2])
	p, errP := decimal(part[3])
	sum, errSum := base64.StdEncoding.Strict().DecodeString(part[4])
	if err := errors.Join(errN, errR, errP); err != nil {
		return foreign{}, errors.New("scrypt: N, r and p are not numbers")
	}
	if errSum != nil {
		return foreign{}, errors.New("scrypt: the sum wants base64")
	}
	return scryptOf(uint64(n), r, p, []byte(part[1]), sum)
}

func scryptOf(n uint64, r, p uint32, salt, sum []byte) (foreign, error) {
	if err := lengths("scrypt", salt, sum); err != nil {
		return foreign{}, err
	}
	switch {
	case n < 2 || n&(n-1) != 0 || r == 0 || p == 0:
		return foreign{}, errors.New("scrypt: N is not a power of two, or r or p is nothing")
	case n > maxScryptWork || r > 1<<10 || p > 1<<10 || n*uint64(r)*uint64(p) > maxScryptWork:
		return foreign{}, fmt.Errorf("scrypt: N r p is above %d", maxScryptWork)
	}
	kib := int64((128*n*uint64(r) + 128*uint64(r)*uint64(p+2) + 1023) >> 10) // RFC 7914 section 2: V, B, and two of a block
	if kib > maxMemory+maxMemory/256 {
		return foreign{}, fmt.Errorf("scrypt: needs %d KiB of memory, above %d", kib, maxMemory)
	}
	return foreign{format: "scrypt", kib: kib, matches: func(password []byte) bool {
		got, err := scrypt.Key(password, salt, int(n), int(r), int(p), len(sum))
		return err == nil && same(got, sum) && !padded(password)
	}}, nil
}

// lengths bounds what others wrote: a short salt was theirs to choose, no salt
// and a sum that is easily met are refused.
func lengths(kind string, salt, sum []byte) error {
	switch {
	case len(salt) == 0 || len(salt) > 4*maxSalt:
		return fmt.Errorf("%s: salt of %d bytes is not between 1 and %d", kind, len(salt), 4*maxSalt)
	case len(sum) < minSum || len(sum) > 2*maxSum:
		return fmt.Errorf("%s: sum of %d bytes is not between %d and %d", kind, len(sum), minSum, 2*maxSum)
	}
	return nil
}

// adapted64 is passlib's base64.
func adapted64(text string) ([]byte, error) {
	return base64.RawStdEncoding.Strict().DecodeString(strings.ReplaceAll(text, ".", "+"))
}
