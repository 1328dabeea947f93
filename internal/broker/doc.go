// Package broker lets users of other identity providers in: those that the map
// names, by OpenID Connect, GitHub's dialect of OAuth, or SAML 2.0. It knows
// protocols and no accounts: what it returns is who somebody is at a provider.
//
// It promises:
//   - a provider speaks for itself only. An answer counts for the provider that was
//     asked, at the one callback path of that provider (RFC 9700 section 4.4), and
//     for the flow that asked: state, nonce, PKCE and InResponseTo are of that flow.
//     Claims.Issuer and Claims.Subject together are one person; no two providers
//     of different kinds share an Issuer;
//   - OpenID Connect Core section 3.1.3.7: signature by a key of the issuer that the
//     map names, an asymmetric algorithm that the map allows, exact iss, aud, azp,
//     nonce, exp, iat, nbf and at_hash; userinfo of the same sub only; the `iss` of
//     the answer (RFC 9207);
//   - SAML: the assertion itself is signed, by a certificate of the metadata; only
//     what the validator returned is read; issuer, audience, recipient, destination,
//     InResponseTo and times are compared, and an assertion counts once. There is no
//     login that the provider begins, no encrypted assertion, no document type;
//   - an e-mail address counts as verified only when the provider said so. SAML
//     cannot say so;
//   - whatever an answer says, nothing but the provider is asked: see outward.Client.
//
// Issuers are compared as they stand. Microsoft's issuers for many tenants
// (https://login.microsoftonline.com/common/v2.0 and .../organizations/v2.0), whose
// discovery document says {tenantid}, are therefore refused: name the issuer of
// one tenant.
//
// It refuses with provider.unknown, provider.denied, provider.invalid and
// provider.unavailable. Why an answer is not valid is told to the log.
package broker

import "time"

const (
	leeway = time.Minute // how far clocks of providers may be off

	// MaxAnswer bounds the body of a SAML answer, in bytes: 256 KiB in base64, of
	// which some may be escaped.
	MaxAnswer    = 768 << 10
	maxResponse  = 256 << 10 // bytes of a SAML response
	maxMetadata  = 1 << 20
	maxQuery     = 16 << 10 // of a callback
	maxParameter = 8 << 10
	maxIDToken   = 64 << 10
	maxHandle    = 80 // bytes of RelayState (SAML 2.0 bindings section 3.4.3)
	maxSubject   = 255
	maxEmail     = 254
	maxName      = 200

	callTime = 10 * time.Second // of one call to a provider in all
	lookTime = 30 * time.Second // of a look, which may be several calls

	discoveryTime = time.Hour       // between two looks at a discovery document or at metadata
	keysTime      = 5 * time.Minute // between two looks at keys
	keepTime      = 24 * time.Hour  // how long they are used while no look succeeds
)
