package session

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"strings"
)

// Prefix starts every session token: leaked ones can be searched for.
const Prefix = "sps_"

// tokenLength is the prefix and 256 bits in base64url without padding.
const tokenLength = len(Prefix) + 43

// newToken returns a token of 256 random bits.
func newToken() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never fails (Go 1.24)
	return Prefix + base64.RawURLEncoding.EncodeToString(b[:])
}

// newID returns a public id of at least 128 random bits.
func newID() string { return strings.ToLower(rand.Text()) }

// Hash returns the SHA-256 of a token: all that is kept of it, and what its
// revocation is known by. A slow hash would add nothing to 256 random bits, and
// a search by hash tells by its time nothing of the token.
func Hash(token string) [32]byte { return sha256.Sum256([]byte(token)) }

// WellFormed says whether a string can be a token at all: prefix, length,
// alphabet, and no bits set beyond the 256, so that each token has one spelling.
func WellFormed(token string) bool {
	if len(token) != tokenLength || token[:len(Prefix)] != Prefix {
		return false
	}
	for i := len(Prefix); i < len(token); i++ {
		if sextet(token[i]) < 0 {
			return false
		}
	}
	return sextet(token[len(token)-1])&3 == 0 // 43 characters hold 258 bits
}

// sextet returns the value of a character of base64url (RFC 4648 section 5); -1
// for any other.
func sextet(c byte) int {
	switch {
	case c >= 'A' && c <= 'Z':
		return int(c - 'A')
	case c >= 'a' && c <= 'z':
		return int(c-'a') + 26
	case c >= '0' && c <= '9':
		return int(c-'0') + 52
	case c == '-':
		return 62
	case c == '_':
		return 63
	}
	return -1
}
