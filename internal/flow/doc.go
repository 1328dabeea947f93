// Package flow keeps what is under way between a person and the account service
// from one request to the next: the second step of a login, a letter that waits
// for its link, a provider that was asked.
//
// It promises that a flow is known by 256 random bits of which only the hash is
// kept; that its data is sealed at rest, bound to its own row; that it ends at its
// time, after as many wrong answers as it has tries, or when it is taken, which
// succeeds once however many ask at once; and that one which is bound to a
// browser is of no use in another.
//
// It refuses all the rest with one reason, account.flow: a flow that ended is not
// told from one that never was.
package flow
