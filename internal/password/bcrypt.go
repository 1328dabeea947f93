package password

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

// bcrypt reads 72 bytes of a password, always: those that follow never counted
// where the hash was made, and do not count here.
const (
	bcryptBytes   = 72
	minBcryptCost = 4
	maxBcryptCost = 15 // about two seconds
)

const cryptAlphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// parseBcrypt reads $2b$12$ and 53 signs: salt and sum. The letter tells which
// program made it; $2a$, $2b$ and $2y$ mean the same.
func parseBcrypt(stored string) (foreign, error) {
	if len(stored) != 60 || stored[:2] != "$2" || stored[3] != '$' || stored[6] != '$' || strings.Trim(stored[7:], cryptAlphabet) != "" {
		return foreign{}, errors.New("bcrypt: want $2b$COST$ and 53 signs of ./A-Za-z0-9")
	}
	var cost int
	if a, b := stored[4], stored[5]; a < '0' || a > '9' || b < '0' || b > '9' {
		return foreign{}, errors.New("bcrypt: want a cost of two digits")
	} else if cost = int(a-'0')*10 + int(b-'0'); cost < minBcryptCost || cost > maxBcryptCost {
		return foreign{}, fmt.Errorf("bcrypt: cost %d is not between %d and %d", cost, minBcryptCost, maxBcryptCost)
	}
	prepare := truncated
	switch stored[2] {
	case 'a', 'b', 'y':
	case 'x':
		prepare = signExtended
	default:
		return foreign{}, errors.New("bcrypt: want $2a$, $2b$, $2x$ or $2y$")
	}
	return foreign{format: "bcrypt", kib: 4, matches: bcryptMatches([]byte(stored), prepare)}, nil
}

// parseBcryptSHA256 reads Django's bcrypt_sha256$$2b$..: bcrypt of the
// hexadecimal SHA-256, which has no limit of 72 bytes.
func parseBcryptSHA256(stored string) (foreign, error) {
	f, err := parseBcrypt(stored)
	if err != nil {
		return foreign{}, err
	}
	inner := f.matches
	f.format = "bcrypt-sha256"
	f.matches = func(password []byte) bool {
		sum := sha256.Sum256(password)
		return inner([]byte(hex.EncodeToString(sum[:])))
	}
	return f, nil
}

// bcryptMatches computes also for a password with NUL, which no hash can be of:
// programs in C end it there, and others refuse it.
func bcryptMatches(stored []byte, prepare func([]byte) []byte) func([]byte) bool {
	return func(password []byte) bool {
		err := bcrypt.CompareHashAndPassword(stored, prepare(password))
		return err == nil && bytes.IndexByte(password, 0) < 0
	}
}

func truncated(password []byte) []byte { return password[:min(len(password), bcryptBytes)] }

// signExtended is what crypt_blowfish before 1.1 made of a password (marked $2x$
// since): it took bytes for signed numbers, so that one above 127 erased those
// before it in its word of four. The 72 bytes that it read are computed here,
// and bcrypt then reads them as they are. ASCII passwords are as ever.
func signExtended(password []byte) []byte {
	if len(password) == 0 {
		return password
	}
	key := append(bytes.Clone(password), 0)
	read := make([]byte, 0, bcryptBytes)
	for i := 0; len(read) < bcryptBytes; {
		var word uint32
		for range 4 {
			word = word<<8 | uint32(int32(int8(key[i%len(key)]))) // #nosec G115 -- the sign is the point
			i++
		}
		read = append(read, byte(word>>24), byte(word>>16), byte(word>>8), byte(word))
	}
	return read
}

// same compares in constant time.
func same(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }
