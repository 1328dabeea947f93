// Package identity is the account service: users and their passwords, roles,
// API keys, and the routes under /auth/ by which a person registers, logs in,
// sees their sessions and logs out, as JSON and as plain pages on the same paths.
//
// It promises:
//
//   - one answer and one cost (control ID-04): a login costs one look-up and one
//     argon2id with the current parameters whether the account is known, unknown
//     or disabled, and the refusals are equal byte for byte. Registration without
//     mail is the declared exception: it says that an address is taken.
//   - a memory bound: hashes run behind an admission gate (see gate), bounds per
//     client address and per account stand before it.
//   - nothing that can be replayed at rest: passwords are argon2id in PHC form,
//     API keys SHA-256 of 256 random bits.
//   - every change of rights grows the account's version and writes a numbered
//     revocation in the same transaction, before its answer.
//
// It refuses JSON and forms with unknown, repeated, missing or mistyped fields,
// requests from other sites, and to redirect anywhere but to a local path.
//
// Not here yet: mail (verification, recovery), second factors, brokers, imported
// hashes, and the whole engine of control ID-05; guesses says what stands in
// for it.
package identity
