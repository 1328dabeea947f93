package guard

import (
	"slices"

	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/token"
)

// Kind is the kind of a principal, as the map's `allow` names it.
type Kind uint8

// The kinds of principals. The zero value is Anonymous.
const (
	Anonymous Kind = Kind(policy.Anonymous)
	User      Kind = Kind(policy.User)    // a session, or an OAuth token of a user
	Key       Kind = Kind(policy.Key)     // an API key
	Client    Kind = Kind(policy.Client)  // OAuth client credentials
	Service   Kind = Kind(policy.Service) // a service of the zone for itself
)

// String returns the word of the map.
func (k Kind) String() string {
	switch k {
	case Anonymous:
		return "anonymous"
	case User:
		return "user"
	case Key:
		return "key"
	case Client:
		return "client"
	case Service:
		return "service"
	default:
		return "unknown"
	}
}

// Principal is who a request acts for, as the zone's signed inside token says.
// It is a copy for the handlers of one request: changing it changes nothing that
// the guard decides.
type Principal struct {
	Kind    Kind
	Subject string   // user id, key_ID, client id or SPIFFE ID; "anonymous" without a credential
	Roles   []string // as the zone granted them
	Scopes  []string // of an API key or OAuth token; empty for sessions, which they never limit
	Client  string   // OAuth client or API key; empty for sessions
	Level   int      // authentication level: 0 none, 1 one factor, 2 two factors

	oauth bool
}

// Anonymous says that nobody is logged in.
func (p *Principal) Anonymous() bool { return p.Kind == Anonymous }

// HasRole says whether the principal has the role.
func (p *Principal) HasRole(role string) bool { return slices.Contains(p.Roles, role) }

// HasScope says whether the API key or OAuth token has the scope. A session has
// none and is not limited by scopes: ask only where Kind matters.
func (p *Principal) HasScope(scope string) bool { return slices.Contains(p.Scopes, scope) }

// owns says whether an object that names owner is the principal's.
func (p *Principal) owns(owner string) bool {
	judged := p.policy()
	return policy.Owns(&judged, owner)
}

func (p *Principal) policy() policy.Principal {
	return policy.Principal{
		Kind: policy.Kind(p.Kind), Subject: p.Subject, Roles: p.Roles, Scopes: p.Scopes,
		OAuth: p.oauth, Client: p.Client, Level: p.Level,
	}
}

// The methods of authentication that `rctx` names.
const (
	methodSession = "session"
	methodCookie  = "cookie"
	methodKey     = "key"
	methodOAuth   = "oauth"
)

// unknownKind is a principal that no route takes.
const unknownKind = Kind(255)

// principalOf returns the principal of a token. Claims hold no kind: it follows
// from how the caller authenticated, and a method that this version does not
// know is a kind that no route takes.
func principalOf(c *token.Claims) Principal {
	p := Principal{
		Kind: unknownKind, Subject: c.Subject, Roles: c.Context.Roles, Scopes: c.Scope,
		Client: c.Context.Client, Level: c.Context.Level,
	}
	if c.Subject == policy.AnonymousSubject {
		return Principal{Kind: Anonymous, Subject: c.Subject}
	}
	switch c.Requester.Method {
	case methodSession, methodCookie:
		p.Kind = User
	case methodKey:
		p.Kind = Key
	case token.MethodSVID:
		p.Kind = Service
	case methodOAuth:
		p.Kind, p.oauth = User, true
		if p.Subject == p.Client {
			p.Kind = Client
		}
	}
	return p
}
