// Package reqsig checks the signatures that programs outside make over their
// requests (RFC 9421) on routes with `signed: true`.
//
// It promises that what a signature covers is what was received: the method, the
// authority, the whole target, the credential and, by Content-Digest, the body.
// That it counts once is the caller's to see to, who keeps its nonce for Lifetime.
//
// It takes one signature, of components without parameters, whose fields are in
// the one spelling that RFC 9651 section 4.1 writes, and refuses the rest: a
// second reading of it cannot exist. It knows Ed25519 and HMAC with SHA-256 (RFC
// 9421 sections 3.3.6 and 3.3.3).
package reqsig
