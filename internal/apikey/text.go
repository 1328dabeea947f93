package apikey

import (
	"crypto/rand"
	"crypto/sha256"
	"hash/crc32"
	"math/big"
	"strings"

	"sallyport.dev/internal/obs"
)

// The form of an API key (INTERFACE section 3):
//
//	spk_ + 12 base32 + _ + 43 base62 + 6 base62
//
// The first part is the key's public id. The second holds 256 random bits. The
// third is the CRC-32 (IEEE) of everything before it: a mistyped or truncated
// key is refused without a look-up, and secret scanners know a key from noise.
const (
	Prefix     = "spk_"
	keyID      = 12
	keySecret  = 43
	keyCheck   = 6
	keyLength  = len(Prefix) + keyID + 1 + keySecret + keyCheck
	base32     = "abcdefghijklmnopqrstuvwxyz234567" // RFC 4648 section 6, lower case
	base62     = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	secretBits = 256
)

// newKeyID returns 60 random bits as 12 base32 characters.
func newKeyID() string {
	b := randomBytes(keyID)
	for i, c := range b {
		b[i] = base32[c&31]
	}
	return string(b)
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // crypto/rand.Read never fails (Go 1.24)
	return b
}

// newKeyText returns a key of the given public id with a new secret.
func newKeyText(id string) obs.Secret {
	text := Prefix + id + "_" + digits62(new(big.Int).SetBytes(randomBytes(secretBits/8)), keySecret)
	return obs.Secret(text + keyChecksum(text))
}

func keyChecksum(text string) string {
	return digits62(big.NewInt(int64(crc32.ChecksumIEEE([]byte(text)))), keyCheck)
}

// digits62 writes n in width digits of base 62, most significant first. 43
// digits hold any number of 256 bits, 6 any of 32.
func digits62(n *big.Int, width int) string {
	n = new(big.Int).Set(n)
	base, digit := big.NewInt(int64(len(base62))), new(big.Int)
	b := make([]byte, width)
	for i := width - 1; i >= 0; i-- {
		n.DivMod(n, base, digit)
		b[i] = base62[digit.Int64()]
	}
	return string(b)
}

// Parse returns the public id of a well-formed key. The checksum is no secret
// and proves nothing: only the look-up by hash does.
func Parse(text string) (id string, ok bool) {
	if len(text) != keyLength || !strings.HasPrefix(text, Prefix) {
		return "", false
	}
	id = text[len(Prefix) : len(Prefix)+keyID]
	rest := text[len(Prefix)+keyID:]
	if rest[0] != '_' || !onlyOf(id, base32) || !onlyOf(rest[1:], base62) {
		return "", false
	}
	body := text[:keyLength-keyCheck]
	return id, text[keyLength-keyCheck:] == keyChecksum(body)
}

func onlyOf(s, alphabet string) bool {
	for i := range len(s) {
		if strings.IndexByte(alphabet, s[i]) < 0 {
			return false
		}
	}
	return true
}

// Hash is what the store holds of a key, and what its revocation is known by.
// One round is enough: 256 random bits cannot be guessed.
func Hash(text string) [32]byte { return sha256.Sum256([]byte(text)) }
