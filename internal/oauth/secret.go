package oauth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"strings"
)

// The prefixes of tokens: leaked ones can be searched for.
const (
	AccessPrefix  = "spa_"
	RefreshPrefix = "spr_"
)

// secretLength is that of 256 bits in base64url without padding.
const secretLength = 43

// newSecret returns 256 random bits as text.
func newSecret() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never fails (Go 1.24)
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// newID returns a public id of at least 128 random bits.
func newID() string { return strings.ToLower(rand.Text()) }

func hashOf(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

// wellFormed says whether a text can be a secret of ours with this prefix at all,
// in the one spelling that it has.
func wellFormed(s, prefix string) bool {
	rest, ok := strings.CutPrefix(s, prefix)
	if !ok || len(rest) != secretLength {
		return false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(rest)
	return err == nil && len(b) == 32
}

// maxToken bounds a token that is looked up.
const maxToken = 8 << 10

// looksLikeToken says whether a text can be an access token of ours: opaque, or a
// JWT, of which only the form is looked at. What it is the table says.
func looksLikeToken(s string) bool {
	return wellFormed(s, AccessPrefix) || len(s) <= maxToken && strings.Count(s, ".") == 2 && !strings.ContainsAny(s, " \t\r\n=")
}
