// Package outward is how issuers outside of the zone are asked: for discovery
// documents, keys, metadata, tokens. It knows neither accounts nor what an answer is
// for.
//
// It promises:
//   - an issuer is asked where the map says. What its own documents say chooses no
//     host inside of our network, see Client; no redirect is followed, and no proxy
//     of the environment is gone through;
//   - TLS of version 1.2 or more, by the roots that the map names or those of the
//     system. Plain http is for loopback, where the map itself names it;
//   - an answer is bounded in size and time, and so is what is kept of it;
//   - whoever sends tokens cannot make an issuer be asked more often than each ten
//     seconds, however many keys they make up;
//   - a signature is by a public key that the issuer published, of an algorithm that
//     the map allows and that is the key's own. Nothing that a token brings along is
//     a key (RFC 8725 section 3.10).
package outward

import "time"

const (
	// MaxBody bounds an answer, in bytes.
	MaxBody = 1 << 20

	// AskTime is the least between two looks that requests cause.
	AskTime = 10 * time.Second

	maxRoots     = 1 << 20 // bytes of a file of roots: the ones of systems have under 300 KiB
	maxAddress   = 2000    // bytes of an address
	maxAddresses = 8       // of a host that are tried
	maxKeys      = 100     // of a JWK Set
	maxSameName  = 4       // keys of one kid that are tried
	mostTold     = 8       // keys that are not used, in a line

	retryTime = time.Second // after a scheduled look that failed; doubled up to retryMost
	retryMost = 30 * time.Second

	// MaxKeyID bounds a kid, in bytes.
	MaxKeyID = 256
)

// Clip bounds foreign text in an error.
func Clip(s string) string {
	const most = 100
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
