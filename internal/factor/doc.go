// Package factor keeps the second factors of a zone's users: passkeys (WebAuthn
// Level 3), authenticator apps (TOTP, RFC 6238) and recovery codes.
//
// It promises:
//
//   - each proof counts once: the code of a step, a recovery code and the
//     challenge of a passkey are spent by compare-and-set in the transaction in
//     which they are accepted, so that of many at once one wins.
//   - nothing at rest can be used: secrets of apps and the records of passkeys are
//     sealed under the root key, bound to user and row; recovery codes are kept as
//     an HMAC under a sealed secret. A row moved to another user, or planted, does
//     not open.
//   - a passkey is asked to verify its user (by PIN, finger or face) when it is made,
//     and must have done so where it lets in alone. As a second factor it need not:
//     Result.Verified tells, and without it a passkey is only something that one has.
//   - the host that passkeys are made for (RP ID) is recorded when it is first
//     given. Another one is refused once passkeys would stop working by it, unless
//     the configuration says that the zone leaves the old one.
//   - the origin of an answer is one of the list, exactly. An authenticator learns
//     64 random bytes as the user's name besides the account name that it shows.
//   - a sign counter that did not grow is told (Result.Cloned), not refused:
//     synchronised passkeys and broken authenticators do that too.
//
// It refuses plain http origins but localhost, answers above 64 KiB, public keys
// above those of RSA with 4096 bits, attestation but none and packed without
// certificates (it asks for none and trusts none), and more than 20 passkeys or 3
// apps a user. Factors of one user are never shown to,
// changed by or accepted for another.
//
// What it leaves to its caller: to count wrong answers over all factors of a user
// (they come back as Wrong or auth.invalid and change nothing, so that the same
// transaction can count them), to keep session bytes on the server, to raise the
// account's version, to revoke, and to write the letters.
//
// # Recovery codes
//
// A code has 60 bits, which a person can still copy. A fast hash of 60 bits, salted
// or not, can be searched by whoever has the database and much hardware, and a slow
// one would cost the login a hash for each code. An HMAC under a secret that only
// the root key opens leaves a stolen database nothing to search. It is the same at
// every time, so that a code is found by one indexed look-up, and covers the user,
// so that no two users share one.
//
// Without the root key neither apps nor codes can be checked, which is so for all
// that is sealed.
package factor
