package gateway

import (
	"crypto/sha256"
	"net/http"
	"strings"

	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/problem"
)

// CredentialKind says in which place of the request a credential stood.
type CredentialKind uint8

// The places of a credential. The zero value is none.
const (
	NoCredential     CredentialKind = iota
	BearerCredential                // Authorization: Bearer (RFC 6750 section 2.1)
	KeyCredential                   // X-API-Key
	CookieCredential                // Cookie: __Host-session
	DPoPCredential                  // Authorization: DPoP (RFC 9449 section 7.1)
)

// CredentialKinds are the places in which a credential can stand.
func CredentialKinds() []CredentialKind {
	return []CredentialKind{BearerCredential, KeyCredential, CookieCredential, DPoPCredential}
}

// Credential is what a client sent to say who it is. The zero value is none. Its
// value cannot be printed.
type Credential struct {
	Kind  CredentialKind
	Value obs.Secret
	Hash  [sha256.Size]byte // of Value: the only form that is kept
}

// The bounds of credentials. Ours have under 80 bytes; tokens that other issuers
// signed are the long ones, and they come as bearers alone.
const (
	maxCredential = 128
	maxBearer     = 8 << 10
)

// The prefixes of the wire outside: a key is no cookie and a session no API key,
// whatever the authenticator would make of it.
const (
	sessionPrefix = "sps_"
	keyPrefix     = "spk_"
)

// headerAPIKey is the canonical form of X-API-Key.
const headerAPIKey = "X-Api-Key" // #nosec G101 -- a name, no credential

// extract reads the one credential of a request. Two are refused, also two of a
// kind: which one counts would be a guess. One that is malformed is refused even
// where none is needed: the client believes to be somebody.
func extract(h http.Header) (Credential, problem.Reason) {
	var found Credential
	n := 0
	for _, v := range h["Authorization"] {
		kind, token := authorization(v)
		if kind == NoCredential {
			return Credential{}, problem.AuthInvalid
		}
		found.Kind, found.Value = kind, obs.Secret(token)
		n++
	}
	for _, v := range h[headerAPIKey] {
		found.Kind, found.Value = KeyCredential, obs.Secret(v)
		n++
	}
	for _, field := range h["Cookie"] {
		for value := range sessionCookies(field) {
			found.Kind, found.Value = CookieCredential, obs.Secret(value)
			n++
		}
	}
	switch {
	case n == 0:
		return Credential{}, problem.OK
	case n > 1:
		return Credential{}, problem.AuthAmbiguous
	case !wellFormed(found):
		return Credential{Kind: found.Kind}, problem.AuthInvalid
	}
	found.Hash = hashOf(string(found.Value))
	return found, problem.OK
}

// authorization returns the token of an Authorization field of the Bearer or DPoP
// scheme; NoCredential for every other scheme.
func authorization(field string) (kind CredentialKind, token string) {
	scheme, token, _ := strings.Cut(field, " ")
	token = strings.TrimLeft(token, " ") // 1*SP, RFC 9110 section 11.4
	switch {
	case token == "":
		return NoCredential, ""
	case strings.EqualFold(scheme, "Bearer"):
		return BearerCredential, token
	case strings.EqualFold(scheme, "DPoP"):
		return DPoPCredential, token
	}
	return NoCredential, ""
}

// sessionCookies yields the values of our cookie in a Cookie field. Names are
// trimmed as cookiesInward trims them: what is ours here never goes inward.
func sessionCookies(field string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for field != "" {
			var pair string
			pair, field, _ = strings.Cut(field, ";")
			name, value, _ := strings.Cut(pair, "=")
			if strings.Trim(name, " \t") == sessionCookie && !yield(strings.Trim(value, " \t")) {
				return
			}
		}
	}
}

func wellFormed(c Credential) bool {
	v, most := string(c.Value), maxCredential
	if c.Kind == BearerCredential || c.Kind == DPoPCredential {
		most = maxBearer
	}
	if v == "" || len(v) > most || !isToken68(v) {
		return false
	}
	switch c.Kind {
	case CookieCredential:
		return strings.HasPrefix(v, sessionPrefix)
	case KeyCredential:
		return strings.HasPrefix(v, keyPrefix)
	default:
		return true
	}
}

// isToken68 is b64token of RFC 6750 section 2.1.
func isToken68(s string) bool {
	body := strings.TrimRight(s, "=")
	for i := range len(body) {
		switch c := body[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '-', c == '.', c == '_', c == '~', c == '+', c == '/':
		default:
			return false
		}
	}
	return body != ""
}

// hashOf is SHA-256 without a copy on the heap for credentials of our own.
func hashOf(s string) [sha256.Size]byte {
	var buf [128]byte
	if len(s) <= len(buf) {
		return sha256.Sum256(buf[:copy(buf[:], s)])
	}
	return sha256.Sum256([]byte(s))
}
