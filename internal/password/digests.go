package password

import (
	"bytes"
	"crypto/sha1" // #nosec G505 -- of hashes that others made; renewed at the first login
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strings"

	"github.com/go-crypt/crypt/algorithm/shacrypt"
)

// parseSalted reads the value of {SSHA...}: base64 of the digest of password and
// salt, and then the salt.
func parseSalted(scheme, value string) (foreign, error) {
	newHash := sha1.New
	switch scheme {
	case "SSHA256":
		newHash = sha256.New
	case "SSHA384":
		newHash = sha512.New384
	case "SSHA512":
		newHash = sha512.New
	}
	raw, err := base64.RawStdEncoding.Strict().DecodeString(strings.TrimRight(value, "="))
	if err != nil {
		return foreign{}, errors.New("ssha: want base64")
	}
	size := newHash().Size()
	if len(raw) <= size || len(raw) > size+maxSalt {
		return foreign{}, fmt.Errorf("ssha: want a digest of %d bytes and a salt of 1 to %d", size, maxSalt)
	}
	sum, salt := raw[:size], raw[size:]
	return foreign{format: "ssha", kib: 1, matches: func(password []byte) bool {
		return same(digest(newHash(), password, salt), sum)
	}}, nil
}

func digest(h hash.Hash, parts ...[]byte) []byte {
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

// Bounds of the sha-crypt specification, and our own of the rounds: with the
// longest password a round reads some five hundred bytes, so a million take
// seconds.
const (
	minCryptRounds     = 1000
	maxCryptRounds     = 1_000_000
	defaultCryptRounds = 5000
	maxCryptSalt       = 16
)

// parseSHACrypt reads $5$ and $6$: [rounds=N$]SALT$SUM.
func parseSHACrypt(stored string) (foreign, error) {
	part := strings.Split(stored, "$") // "", kind, rounds?, salt, sum
	kind, size := "sha256crypt", 43
	if part[1] == "6" {
		kind, size = "sha512crypt", 86
	}
	rounds := uint32(defaultCryptRounds)
	switch len(part) {
	case 4:
	case 5:
		n, ok := number(part[2], "rounds=")
		if !ok || n < minCryptRounds || n > maxCryptRounds {
			return foreign{}, fmt.Errorf("%s: want rounds between %d and %d", kind, minCryptRounds, maxCryptRounds)
		}
		rounds = n
	default:
		return foreign{}, errors.New(kind + ": want rounds, salt and sum")
	}
	salt, sum := part[len(part)-2], part[len(part)-1]
	switch {
	case len(salt) == 0 || len(salt) > maxCryptSalt || strings.Trim(salt, cryptAlphabet) != "":
		return foreign{}, fmt.Errorf("%s: want a salt of 1 to %d signs of ./A-Za-z0-9", kind, maxCryptSalt)
	case len(sum) != size || strings.Trim(sum, cryptAlphabet) != "":
		return foreign{}, fmt.Errorf("%s: want a sum of %d signs of ./A-Za-z0-9", kind, size)
	}
	decoded, err := shacrypt.Decode(fmt.Sprintf("$%s$rounds=%d$%s$%s", part[1], rounds, salt, sum))
	if err != nil {
		return foreign{}, errors.New(kind + ": not readable")
	}
	return foreign{format: kind, kib: 1, matches: func(password []byte) bool {
		return decoded.MatchBytes(password) && bytes.IndexByte(password, 0) < 0 // crypt(3) ends it there
	}}, nil
}
