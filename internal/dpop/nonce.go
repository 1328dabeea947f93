package dpop

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"time"
)

// nonceStep is how often a nonce changes. One is good for the step in which it
// was given out and the two after it.
const nonceStep = time.Minute

// nonceSteps are the steps after its own for which a nonce is good.
const nonceSteps = 2

// Nonces gives out and checks nonces of the server (RFC 9449 section 8). They are
// made of the time and a secret, so that nothing is kept of them and all processes
// of a zone know each other's: a proof cannot be made ahead for later. The zero
// value finds none good.
type Nonces struct{ secret []byte }

// NewNonces takes a secret of 32 bytes that the processes of a zone share.
func NewNonces(secret []byte) Nonces { return Nonces{secret} }

// At returns the nonce of a time.
func (n Nonces) At(now time.Time) string {
	var b [8 + 16]byte
	binary.BigEndian.PutUint64(b[:8], step(now))
	mac := hmac.New(sha256.New, n.secret)
	mac.Write([]byte("dpop nonce"))
	mac.Write(b[:8])
	copy(b[8:], mac.Sum(nil))
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// Good says whether a nonce was given out lately.
func (n Nonces) Good(nonce string, now time.Time) bool {
	if len(n.secret) == 0 { // anybody could make them
		return false
	}
	for back := range uint64(nonceSteps + 1) {
		if hmac.Equal([]byte(nonce), []byte(n.At(now.Add(-time.Duration(back)*nonceStep)))) {
			return true
		}
	}
	return false
}

func step(now time.Time) uint64 { return uint64(now.Unix()) / uint64(nonceStep/time.Second) } // #nosec G115 -- after 1970
