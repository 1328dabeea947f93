// Package oauth is the OAuth 2.1 and OpenID Connect provider of a zone: outside
// programs get tokens here to act for its users, or for themselves.
//
// The protocol's own logic is luikyv/go-oidc's. None of its types leave this
// package, and nothing of it stands open: in front of it is a door that takes
// strict forms only, one way for a client to show who it is, proofs of possession
// with a nonce of ours; behind it a unit of work that commits all that a request
// changes in one transaction, before the answer leaves.
//
// It promises that a code, a device code and a refresh token are good once,
// however many ask at once and in however many processes; that a code or refresh
// token that comes again ends the whole family, but for a short overlap in which
// the same client with the same key is given the same successor; that no code,
// token or secret is to be had from the database; that an authorization request
// goes on only in the browser in which it began; that redirect URIs are compared
// by their bytes; that an access token is unknown here once its grant, session,
// user or client has ended, opaque or JWT; and that its keys are never those of
// inside tokens.
//
// It refuses what it was not asked for in so many words: implicit and hybrid
// flows, requests without PKCE (S256), request objects, form_post, parameters that
// come twice, client assertions for another audience than the issuer.
//
// # Lives
//
// A grant ends with the session it came from, unless the user gave offline_access;
// it ends when the user, the client or the zone ends it, and at its absolute end.
// Each refresh asks whether user and session still live.
package oauth
