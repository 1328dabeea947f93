// Package identity is the account service: users and their passwords, roles and
// factors, and the routes under /auth/ by which a person registers, logs in, looks
// after their account and logs out, as JSON and as pages on the same paths.
//
// It promises:
//
//   - one answer and one cost (control ID-04): a refused login costs one look-up and
//     one argon2id with the current parameters whether the account is known, unknown
//     or disabled, and the refusals are equal byte for byte. Registration without
//     mail is the declared exception: it says that an address is taken.
//   - guesses are bounded before they cost anything (control ID-05, package guess),
//     and all second factors of a user share one bound; a known device of the
//     owner has its own.
//   - a proof and what it opens are one transaction: a session is made where the code
//     is spent, where the account was seen unchanged, and where its letter is asked
//     for.
//   - no session before all steps: who holds a second factor, or must (the zone says
//     so, or the user is an administrator), has shown it when the session begins. A
//     session that began before one had to is of use for the way to the factor alone.
//   - a password that is short for want of a second factor does not outlive it.
//   - an account that comes back by a letter comes back alone: sessions, API keys and
//     what programs were granted have ended.
//   - nothing that can be replayed at rest, see packages password, factor and flow.
//   - every change of rights grows the account's version and writes a numbered
//     revocation in the same transaction, before its answer.
//
// It refuses JSON and forms with unknown, repeated, missing or mistyped fields,
// requests from other sites, changes of what guards an account without a fresh
// proof of who asks (auth.step_up), and to redirect anywhere but to a local path.
//
// # The steps of a login
//
// Whoever proves a first credential makes an entry and calls proceed: that asks for
// a second factor, has one made, or has a password that is too old replaced, each
// by a flow of its own, and makes the session when nothing is left. A page's flow
// is bound to its browser by a cookie, that of JSON is known by its id alone. A
// step-up is an entry that raises its session in the end.
//
// # Administrators
//
// The role AdminRole administers the zone. Who has it must hold a second factor and is
// never remembered; who is given it logs in anew. The first one is made with a
// one-time token (Bootstrap), there is no default password.
package identity
