package token

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4/json"
)

// Claims are the facts of an inside token, under the names that they have on
// the wire. What Verify returns is shared by all who verified the same token:
// read it, never change it.
type Claims struct {
	Issuer      string           `json:"iss"`    // https://ZONE
	IssuedAt    int64            `json:"iat"`    // seconds since the epoch (NumericDate, whole)
	Expires     int64            `json:"exp"`    // seconds since the epoch
	Audience    string           `json:"aud"`    // the zone; a token of two audiences is refused
	Transaction string           `json:"txn"`    // names the token, for the records
	Subject     string           `json:"sub"`    // user id, key_ID, client id, or "anonymous"
	Scope       Scope            `json:"scope"`  // of the outside credential; empty for sessions
	Context     Context          `json:"tctx"`   // facts of the transaction, fixed by the token service
	Requester   RequesterContext `json:"rctx"`   // how it came in
	Workload    string           `json:"req_wl"` // SPIFFE ID of the workload that asked for the token
}

// Context is the `tctx` claim.
type Context struct {
	Roles  []string `json:"roles"`
	Level  int      `json:"level"`  // authentication level: 0 none, 1 one factor, 2 two factors
	Client string   `json:"client"` // OAuth client or API key; empty for sessions
}

// RequesterContext is the `rctx` claim.
type RequesterContext struct {
	Listener string `json:"listener"` // the outside listener that took the request
	Method   string `json:"method"`   // how the caller authenticated
}

// ExpiresAt returns the end of the token's life, without any leeway.
func (c *Claims) ExpiresAt() time.Time { return time.Unix(c.Expires, 0) }

// Scope is a set of scope tokens. On the wire it is one string with single
// spaces between (RFC 6749 section 3.3); the empty set is the empty string.
type Scope []string

// MarshalJSON writes the scope as one string.
func (s Scope) MarshalJSON() ([]byte, error) {
	for _, t := range s {
		if !validScopeToken(t) {
			return nil, fmt.Errorf("token: %q is no scope token", t)
		}
	}
	return json.Marshal(strings.Join(s, " "))
}

// UnmarshalJSON reads a scope and refuses what RFC 6749 section 3.3 does not allow.
func (s *Scope) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return err
	}
	*s = nil
	if text == "" {
		return nil
	}
	tokens := strings.Split(text, " ")
	for _, t := range tokens {
		if !validScopeToken(t) {
			return errors.New("token: malformed scope")
		}
	}
	*s = tokens
	return nil
}

func validScopeToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x21 || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
	}
	return s != ""
}

// parseClaims decodes a payload whose signature holds. Duplicate names,
// trailing data, names in another case and values of another type are errors.
// Unknown claims are ignored (RFC 7519 section 4), or no claim could ever be
// added while older guards run.
func parseClaims(payload []byte) (*Claims, error) {
	if c := quickClaims(payload); c != nil {
		return c, nil
	}
	return slowClaims(payload)
}

// slowClaims is parseClaims by the library alone.
func slowClaims(payload []byte) (*Claims, error) {
	if !utf8.Valid(payload) {
		return nil, errors.New("claims are not UTF-8")
	}
	var c Claims
	if err := json.Unmarshal(payload, &c); err != nil {
		return nil, fmt.Errorf("claims: %w", err)
	}
	return &c, nil
}

// check holds the claims against the verifier's zone; it does not look at the clock.
func (c *Claims) check(zone, issuer string) error {
	switch {
	case c.Issuer != issuer:
		return fmt.Errorf("iss is %q, want %q", clip(c.Issuer), issuer)
	case c.Audience != zone:
		return fmt.Errorf("aud is %q, want %q", clip(c.Audience), zone)
	case c.Subject == "":
		return errors.New("sub is missing")
	case c.Transaction == "":
		return errors.New("txn is missing")
	case !inTrustDomain(c.Workload, zone):
		return fmt.Errorf("req_wl is %q, no workload of %s", clip(c.Workload), zone)
	case c.IssuedAt <= 0 || c.Expires <= c.IssuedAt:
		return fmt.Errorf("iat %d and exp %d make no lifetime", c.IssuedAt, c.Expires)
	case c.Expires-c.IssuedAt > int64(MaxLife/time.Second): // both positive: no overflow
		return fmt.Errorf("a life of %d s is more than %s", c.Expires-c.IssuedAt, MaxLife)
	}
	return nil
}

// live says whether now is within the token's life, give or take the leeway.
// Only whole seconds are on the wire, the comparison is exact.
func (c *Claims) live(now time.Time, leeway time.Duration) error {
	if late := now.Sub(c.ExpiresAt()); late >= leeway {
		return fmt.Errorf("expired %s ago", late)
	}
	if early := time.Unix(c.IssuedAt, 0).Sub(now); early > leeway {
		return fmt.Errorf("issued %s in the future", early)
	}
	return nil
}

// inTrustDomain says whether id is a SPIFFE ID with a path in the trust domain.
func inTrustDomain(id, zone string) bool {
	path, ok := strings.CutPrefix(id, "spiffe://"+zone+"/")
	return ok && path != ""
}

// clip bounds foreign text in an error.
func clip(s string) string {
	const most = 64
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
