package broker

import (
	"log/slog"
	"time"
	"unicode"
	"unicode/utf8"

	"strings"
)

// State is what a flow keeps between Begin and Finish, on the server. It is JSON
// and its members are the broker's own; it holds secrets of the flow.
type State struct {
	Provider string    `json:"provider"`
	Kind     string    `json:"kind"`
	Issuer   string    `json:"issuer"`
	Handle   string    `json:"handle"`
	Nonce    string    `json:"nonce,omitempty"`
	Verifier string    `json:"verifier,omitempty"` // PKCE
	Request  string    `json:"request,omitempty"`  // id of the AuthnRequest
	Fresh    bool      `json:"fresh,omitempty"`
	Begun    time.Time `json:"begun"`
}

// LogValue hides all but whose flow it is.
func (s State) LogValue() slog.Value { return slog.StringValue(s.String()) }

// String hides all but whose flow it is.
func (s State) String() string { return "flow with provider " + s.Provider }

// GoString is String.
func (s State) GoString() string { return s.String() }

// Claims is who logged in at a provider.
type Claims struct {
	Provider string // name in the map
	// Issuer and Subject are the person: the issuer of OpenID Connect as it stands,
	// https://github.com or the address of an own GitHub server, or saml: and the
	// entity id. Nothing else of Claims identifies anybody.
	Issuer, Subject string
	Email           string    // empty: none that can be one
	EmailVerified   bool      // the provider says that it verified it
	Name            string    // as the user wants to be called; may be empty
	AuthTime        time.Time // when the user logged in there; zero: not told
	ACR             string    // the authentication context class, as the provider says it
}

// isSubject says whether a subject can be stored and compared as it is.
func isSubject(s string) bool {
	return s != "" && len(s) <= maxSubject && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// setEmail takes an address that can be one. What is none is passed over: it is
// not what identifies the user.
func (c *Claims) setEmail(address string, verified bool) {
	at := strings.LastIndexByte(address, '@')
	if at < 1 || at == len(address)-1 || len(address) > maxEmail || !utf8.ValidString(address) ||
		strings.ContainsFunc(address, func(r rune) bool {
			return unicode.IsControl(r) || unicode.IsSpace(r) || r == '<' || r == '>' || r == ','
		}) {
		return
	}
	c.Email, c.EmailVerified = address, verified
}

// setName takes a name on one line.
func (c *Claims) setName(name string) {
	if name = strings.TrimSpace(name); len(name) <= maxName && utf8.ValidString(name) && !strings.ContainsFunc(name, unicode.IsControl) {
		c.Name = name
	}
}
