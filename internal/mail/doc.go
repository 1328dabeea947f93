// Package mail sends the letters of the account service, by an outbox in the
// store and one SMTP server (RFC 5321).
//
// It promises:
//   - To ask for a letter is one insert in the caller's transaction, of the same
//     size and cost whoever it is for. Whether an account exists is asked later,
//     by the worker: no answer waits for it, so none tells it.
//   - What was committed is sent or given up, and told so: after a restart, after
//     days without the server, by another process when this one is gone.
//   - At least once: a crash between the server's "accepted" and our commit sends
//     a letter twice, with the same Message-ID. Two processes that live never send
//     one both, while their clocks agree to ten seconds.
//   - Addresses and contents are sealed at rest. Nothing is kept of a letter that was
//     sent; of one that was given up, why, for a while, and not for whom.
//   - A letter is one for one address, in plain text and HTML, without images,
//     tracking or links to elsewhere than the zone.
//
// It refuses to speak in clear to another host, whatever that offers or does not
// offer, a server whose certificate is not good, header fields of more than one
// line, a template that does not fit its letter, and more letters than the outbox
// has room for.
//
// What it cannot do: know whether a letter was read, or came to nothing after the
// server took it. Bounces go to the sender of the map and are not read here.
package mail
