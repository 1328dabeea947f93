package app

// The bodies of the admin API, as the command line and the admin socket speak
// them. Times are RFC 3339 UTC; empty means never or none.

// NewUser is the body of POST /v1/users.
type NewUser struct {
	Email    string   `json:"email"`
	Password string   `json:"password"`
	Roles    []string `json:"roles"`
}

// User is one account.
type User struct {
	ID       string   `json:"id"`
	Email    string   `json:"email"`
	Roles    []string `json:"roles"`
	Verified bool     `json:"verified"` // somebody has shown, or an administrator vouched, that the address is theirs
	Disabled bool     `json:"disabled"`
	Created  string   `json:"created"`
	Deleting string   `json:"deleting"`          // when it is to be deleted; empty: it is not
	Invited  string   `json:"invited,omitempty"` // until when somebody is invited who has no account yet, nor an id
}

// Users is one page of GET /v1/users.
type Users struct {
	Users []User `json:"users"`
	Next  string `json:"next,omitempty"` // the parameter after of the next page; empty at the end
}

// NewPassword is the body of PUT /v1/users/{user}/password.
type NewPassword struct {
	Password string `json:"password"`
}

// Roles is the body of POST /v1/users/{user}/roles/grant and /revoke.
type Roles struct {
	Roles []string `json:"roles"`
}

// NewKey is the body of POST /v1/keys. Life is a Duration; empty is a year.
type NewKey struct {
	Name      string   `json:"name"`
	Scopes    []string `json:"scopes"`
	Roles     []string `json:"roles,omitempty"`
	Addresses []string `json:"addresses,omitempty"` // addresses and prefixes; none: from anywhere
	Contact   string   `json:"contact,omitempty"`   // who is told by mail that it ends
	Life      string   `json:"life"`
}

// CreatedKey holds the secret of an API key, which is shown this once.
type CreatedKey struct {
	ID  string `json:"id"`
	Key string `json:"key"`
}

// Key is one API key without its secret.
type Key struct {
	ID        string   `json:"id"`
	Name      string   `json:"name"`
	Owner     string   `json:"owner"` // user id; empty: a service account
	Scopes    []string `json:"scopes"`
	Roles     []string `json:"roles"`
	Addresses []string `json:"addresses"` // none: from anywhere
	Contact   string   `json:"contact"`
	Created   string   `json:"created"`
	Expires   string   `json:"expires"`
	LastUsed  string   `json:"last_used"`
}

// Keys is one page of GET /v1/keys.
type Keys struct {
	Keys []Key  `json:"keys"`
	Next string `json:"next,omitempty"` // the parameter after of the next page; empty at the end
}

// KeyDetail is the answer of GET /v1/keys/{key}.
type KeyDetail struct {
	Key
	Secrets []KeySecret  `json:"secrets"` // two while a rotation overlaps
	Signing []SigningKey `json:"signing"`
}

// KeySecret is one secret of an API key, without it.
type KeySecret struct {
	Created string `json:"created"`
	Expires string `json:"expires"` // empty: with the key
}

// RotateKey is the body of POST /v1/keys/{key}/rotate. Both are Durations. Without
// Life the key ends when it would have.
type RotateKey struct {
	Overlap string `json:"overlap"`
	Life    string `json:"life,omitempty"`
}

// CheckKey is the body of POST /v1/key-check: the SHA-256 of a key's text in
// hexadecimal. The text itself is not told.
type CheckKey struct {
	Hash string `json:"hash"`
}

// CheckedKey tells how it stands with a text.
type CheckedKey struct {
	State   string `json:"state"` // live, expired, revoked, unknown
	ID      string `json:"id,omitempty"`
	Name    string `json:"name,omitempty"`
	Owner   string `json:"owner,omitempty"`
	Expires string `json:"expires,omitempty"`
}

// NewSigningKey is the body of POST /v1/keys/{key}/signing. Without Life it ends
// with the API key.
type NewSigningKey struct {
	Algorithm string `json:"algorithm"`        // ed25519 or hmac-sha256
	Public    string `json:"public,omitempty"` // of ed25519: PEM, JWK or base64
	Life      string `json:"life,omitempty"`
}

// CreatedSigningKey holds the secret of an HMAC, which is shown this once.
type CreatedSigningKey struct {
	ID        string `json:"id"` // the keyid of signatures
	Algorithm string `json:"algorithm"`
	Secret    string `json:"secret,omitempty"` // base64
}

// SigningKey is a key with which the holder of an API key signs requests.
type SigningKey struct {
	ID        string `json:"id"`
	Algorithm string `json:"algorithm"`
	Public    string `json:"public,omitempty"` // base64
	Created   string `json:"created"`
	Expires   string `json:"expires"`
	LastUsed  string `json:"last_used"`
}

// Session is one session of a user.
type Session struct {
	ID       string `json:"id"`
	Created  string `json:"created"`
	LastUsed string `json:"last_used"`
	Expires  string `json:"expires"`
	Client   string `json:"client"`
	Agent    string `json:"agent"`
}

// NewJoin is the body of POST /v1/join.
type NewJoin struct {
	Service string `json:"service"`
}

// CreatedJoin holds a join token, which is shown this once.
type CreatedJoin struct {
	ID      string `json:"id"`
	Token   string `json:"token"`
	Expires string `json:"expires_at"`
}

// Join is one join token without its secret.
type Join struct {
	ID      string `json:"id"`
	Service string `json:"service"`
	Created string `json:"created"`
	Expires string `json:"expires"`
	Spent   string `json:"spent"` // empty: not redeemed
	Tries   int    `json:"tries"`
}
