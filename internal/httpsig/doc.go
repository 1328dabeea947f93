// Package httpsig makes and checks the proof of one request between two
// workloads of a zone: that this sender, and nobody between, sent this method to
// this target with this inside token and this content, once.
//
// It is a profile of HTTP Message Signatures (RFC 9421), narrower than the
// standard, in two strengths:
//
//   - mac: hmac-sha256 under a key that both ends of one TLS 1.3 connection
//     export from it (RFC 8446 section 7.5). Label `mac`, parameters created,
//     nonce (a counter, each value accepted once in a window of 1024) and tag. It
//     does not pass a middle box that ends TLS, and is not meant to.
//   - signature: ecdsa-p256-sha256 with the key of the sender's X.509-SVID, after
//     the WIMSE profile (draft-ietf-wimse-http-signature). Label `wimse`,
//     parameters created, expires, nonce and tag. The certificate travels beside
//     it in Sallyport-Certificate.
//
// RFC 9421 allows signatures that cover nothing (appendix B.2.1 is one). The
// security of a proof is therefore the verifier's list and not the signature:
// here it is one fixed list in one fixed order, the same for both strengths, and
// a component that the message lacks is an error on both sides.
//
// It promises:
//   - what is covered is what was received: method, target and authority as on
//     the wire, and of each covered field exactly one line with one value;
//   - the key decides the algorithm, never the message: keyid, alg and every
//     parameter that is not in the profile are refused;
//   - a proof has one spelling; all input is bounded before it is read;
//   - each proof is accepted once, and a memory that cannot promise this (full,
//     unreachable) refuses;
//   - a proof weaker than the route demands is refused, and so is a demand that
//     nobody declared.
//
// It does not judge who may call: Verifier names the sender and leaves the
// decision, and whether the peer of the connection has to be the same, to the
// caller. It covers no field outside the list: a receiver behind a middle box
// must not decide by any other (Content-Type and Cookie among them).
//
// The certificate needs no cover. Swapping it for another leaves a signature
// that does not verify, unless both hold the same key; whoever issues
// certificates demands the possession of the key and does not certify one key
// under two names.
package httpsig

import "time"

// The fields of a proof and those that it covers, in Go's canonical spelling.
const (
	InputHeader       = "Signature-Input"
	SignatureHeader   = "Signature"
	CertificateHeader = "Sallyport-Certificate"

	TokenHeader       = "Txn-Token"
	CorrelationHeader = "X-Correlation-Id"
	ClientHeader      = "Sallyport-Client"
	DigestHeader      = "Content-Digest"
)

// The two profiles.
const (
	MACLabel = "mac"
	MACTag   = "sallyport-mac"

	SignatureLabel = "wimse"
	SignatureTag   = "wimse-workload-to-workload"
)

const (
	// Life is how long a proof holds, and the most that a verifier accepts.
	Life = time.Minute

	// Leeway is the clock difference borne at both ends of a life.
	Leeway = 30 * time.Second
)

// The same in seconds, as proofs count.
const (
	lifeSeconds   = int64(Life / time.Second)
	leewaySeconds = int64(Leeway / time.Second)
)

// The bounds of what is read.
const (
	maxValue       = 32 << 10 // bytes of a covered value
	maxInput       = 512      // bytes of Signature-Input
	maxCertificate = 16 << 10 // bytes of Sallyport-Certificate
	maxChain       = 4        // certificates in it

	keptBase = 16 << 10 // a larger buffer is not kept for the next proof
)
