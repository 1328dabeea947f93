// Package bearer takes the JWTs of issuers outside of the zone for users of the
// zone: the providers of `kind: bearer`, with which a team moves in step by step.
//
// It is a profile of JWT access tokens (RFC 9068, RFC 8725), wide enough for the
// issuers that are about: JWS compact serialization (RFC 7515) with an
// asymmetric algorithm that the map allows.
//
// It promises:
//   - an issuer speaks for its own users only. The subject is PROVIDER:SUB with
//     the provider's name in the map, which has no colon, and SUB as it stands:
//     no two users share one, and no user of the zone, key or service has one;
//   - the key comes from the issuer that the map names, over TLS, and never from
//     the token; `iss` chooses whose keys are asked, and nothing else. The
//     algorithm must be allowed by the map and be one of the key's own type;
//   - issuer and audience are compared as they stand; a token without exp, sub or
//     aud is refused, and one that has expired has no moment of grace;
//   - only what the map names enters the zone: subject, client, and roles that
//     the map gives to values of one claim. Scopes do not;
//   - what is no access token is refused as far as it can be told: ID tokens,
//     refresh and logout tokens. So is one that is bound to its sender (`cnf`),
//     for here the binding would not be checked;
//   - whoever sends tokens cannot make it ask the issuer more often than each ten
//     seconds, nor fill its memory: of refused tokens nothing is kept.
//
// It refuses with auth.invalid and auth.expired; with auth.unavailable while an
// issuer's keys cannot be had. Why a token is invalid is told to the log, never
// to its sender.
//
// A token is not revoked by anybody but the issuer, by taking back its key: one
// that was stolen is good until it expires.
package bearer

import "time"

const (
	maxToken    = 8 << 10 // bytes of a token
	maxSubject  = 255     // bytes of a sub (OpenID Connect Core section 2) and of a client's id
	maxAudience = 100     // entries of aud

	// leeway is how far the issuer's clock may be ahead. It never prolongs a life.
	leeway = time.Minute

	// verifiedLife is how long a verified token is believed without looking at
	// its signature again, if it lives so long and the issuer keeps its keys.
	verifiedLife = 30 * time.Second
	maxVerified  = 10_000

	refreshTime = 5 * time.Minute  // between two looks at an issuer's keys
	keepTime    = 6 * time.Hour    // how long they are used while no look succeeds
	fetchTime   = 4 * time.Second  // for one look in all: the gateway waits for 5 s
	tellTime    = 10 * time.Second // between two lines about refused tokens of an issuer
)
