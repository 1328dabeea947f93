// Package token makes and checks inside tokens: the short-lived signed facts
// about a request that travel from the gateway to the services of a zone in the
// header Txn-Token (draft-ietf-oauth-transaction-tokens).
//
// It is a profile, narrower than the standards under it: JWS compact
// serialization (RFC 7515) with ES256 (RFC 7518 section 3.4) and nothing else; a
// protected header of exactly alg, kid and typ, as a JWT-SVID has it, so that no
// jwk, jku, x5u, x5c or crit can ever steer a verifier; canonical base64url; one
// audience, the zone, as a plain string.
//
// It promises:
//   - the key and its one algorithm come from the verifier's key set, never from
//     the token (RFC 8725 sections 3.1 and 3.2); a kid is a name to look up;
//   - signature before claims: no claim is read of a token that does not verify;
//   - a remembered token is not a trusted one: its life is checked at every use,
//     and it dies with the withdrawal of the key that signed it;
//   - every input is bounded before it is parsed.
//
// Signing and the look at a signature are our own code over crypto/ecdsa, and so
// is the reading of claims in the one form that a minter writes; all other forms,
// keys and key sets are go-jose's, which the tests hold tokens against both ways.
//
// It refuses tokens that live longer than MaxLife, whoever signed them.
//
// Its bytes name nothing: from one ECDSA signature anybody can compute a second
// that verifies too. What names a token is its txn.
//
// An inside token is not bound to a connection or a request and is not replay
// resistant: whoever holds it can use it in the zone until it expires. What
// binds it is the proof beside it (httpsig), which is why it may never be
// logged: Token and errors of this package do not print it.
package token

import (
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	// Type is the `typ` of an inside token's header.
	Type = "txntoken+jwt"

	// Algorithm is the only signature algorithm of inside tokens.
	Algorithm = string(jose.ES256)

	// MaxSize bounds a token in bytes; longer ones are neither minted nor parsed.
	MaxSize = 8 << 10

	// MaxLife bounds exp-iat of a token.
	MaxLife = 5 * time.Minute

	// MaxLeeway bounds the clock difference that a verifier may be told to bear.
	MaxLeeway = time.Minute

	defaultLife   = time.Minute
	defaultLeeway = 5 * time.Second
	maxKeyID      = 128     // bytes of a kid
	usualSize     = 1 << 10 // bytes that a token seldom has more of: room on the stack
)
