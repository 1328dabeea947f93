// Package dpop checks proofs of possession (RFC 9449): that whoever sends a
// request holds the key that its token is bound to.
//
// It promises that a proof counts for one method, one address and one token, for
// a minute, and with a nonce that this zone gave out where one is asked for. That
// it counts once is the caller's to see to, who keeps its id for Lifetime.
//
// It refuses symmetric algorithms and `none`, keys that are not those of the
// algorithm, private keys, and a proof of over 4 KiB.
package dpop
