package httpsig

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"hash"
	"strings"

	"sallyport.dev/internal/problem"
)

// EmptyDigest is the Content-Digest of empty content.
const EmptyDigest = digestKey + "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"

// DigestSize is the length of a Content-Digest in bytes.
const DigestSize = len(EmptyDigest)

const digestKey = "sha-256=:"

// Digest returns the Content-Digest of a body (RFC 9530): of its content as it
// is sent, so after content coding and before chunking.
func Digest(body []byte) string { return FormatDigest(sha256.Sum256(body)) }

// NewDigest returns the hash of a Content-Digest, for content that comes in pieces.
func NewDigest() hash.Hash { return sha256.New() }

// FormatDigest returns the Content-Digest of a sum.
func FormatDigest(sum [sha256.Size]byte) string {
	return string(AppendDigest(make([]byte, 0, DigestSize), sum))
}

// AppendDigest appends the Content-Digest of a sum.
func AppendDigest(dst []byte, sum [sha256.Size]byte) []byte {
	return append(binary.AppendEncode(append(dst, digestKey...), sum[:]), ':')
}

// ParseDigest reads a Content-Digest of exactly one sha-256. RFC 9530 would
// allow several algorithms, of which a receiver picks; one says the same and
// leaves nothing to pick.
func ParseDigest(header string) (sum [sha256.Size]byte, err error) {
	rest, ok := strings.CutPrefix(header, digestKey)
	if !ok || len(header) != DigestSize || header[DigestSize-1] != ':' {
		return sum, errors.New(DigestHeader + " is not exactly one sha-256")
	}
	var decoded [sha256.Size + 1]byte
	n, err := binary.Decode(decoded[:], []byte(rest[:len(rest)-1]))
	if err != nil || n != sha256.Size { // Go's decoder skips line breaks even when strict
		return sum, errors.New(DigestHeader + " is not canonical base64")
	}
	return [sha256.Size]byte(decoded[:sha256.Size]), nil
}

// CheckDigest reports whether a Content-Digest that a proof covers is that of
// the content whose sum is given: nil or problem.ProofDigest. Nothing may be
// done on a request before.
func CheckDigest(header string, sum [sha256.Size]byte) error {
	want, err := ParseDigest(header)
	if err == nil && subtle.ConstantTimeCompare(want[:], sum[:]) != 1 {
		err = errors.New("the content is another")
	}
	if err != nil {
		return problem.New(problem.ProofDigest, fmt.Errorf("httpsig: digest: %w", err))
	}
	return nil
}
