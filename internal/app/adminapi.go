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
	Disabled bool     `json:"disabled"`
	Created  string   `json:"created"`
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
	Name   string   `json:"name"`
	Scopes []string `json:"scopes"`
	Life   string   `json:"life"`
}

// CreatedKey holds the secret of an API key, which is shown this once.
type CreatedKey struct {
	ID  string `json:"id"`
	Key string `json:"key"`
}

// Key is one API key without its secret.
type Key struct {
	ID       string   `json:"id"`
	Name     string   `json:"name"`
	Scopes   []string `json:"scopes"`
	Created  string   `json:"created"`
	Expires  string   `json:"expires"`
	LastUsed string   `json:"last_used"`
}

// Keys is one page of GET /v1/keys.
type Keys struct {
	Keys []Key  `json:"keys"`
	Next string `json:"next,omitempty"` // the parameter after of the next page; empty at the end
}

// RotateKey is the body of POST /v1/keys/{id}/rotate. Overlap is a Duration.
type RotateKey struct {
	Overlap string `json:"overlap"`
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
