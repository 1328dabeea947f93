package zone

import (
	"net/netip"
	"time"
)

// Zone is a map that was read, validated and resolved: defaults filled in,
// names bound, slices sorted. It is immutable: every part reads it, none
// changes it, and a reload makes a new one.
type Zone struct {
	Name     string   // trust domain, e.g. shop.example; issuer https://NAME
	File     string   `json:"-"` // path of the map as it was opened
	Revision string   `json:"-"` // hex SHA-256 of the resolved model: equal maps have equal revisions
	Files    []string `json:"-"` // that were read: the map and what it includes
	Includes []string `json:"-"` // patterns of the latter

	Listeners []*Listener // outside listeners, sorted by name; never admin or control
	Admin     string      // host:port of the admin listener
	Control   string      // host:port of the control listener; empty when no service needs it
	Identity  Identity
	Services  []*Service // sorted by name
	Traffic   Traffic
	Policies  []string // globs of Cedar files, relative to the map
	Store     Store
	Export    []Export // in map order
	Journal   Journal

	RevocationGrace time.Duration // default 5 s
	Staleness       time.Duration // default 5 min

	Notices []Notice `json:"-"` // what is declared and not enforced yet, and what is weak; in map order
}

// Effect says what a Notice means for the zone.
type Effect uint8

// The effects of a notice.
const (
	Listed       Effect = iota // declared, not enforced yet: it restricts nothing that is let through meanwhile
	RefusesRoute               // the route answers 503 zone.not_enforced
	StopsServe                 // `serve` refuses to start
	Warning                    // enforced, but weak or worth knowing (plain loopback, open registration without mail)
)

// Notice is one thing that `check` and the start of `serve` tell.
type Notice struct {
	Pos    Pos
	Path   string // where in the map, e.g. services.orders.routes["POST /orders"].once
	Effect Effect
	Text   string // one sentence
}

// Pos is a place in a file of the map. Lines and columns start at 1.
type Pos struct {
	File   string
	Line   int
	Column int
}

// CertificateKind says where a listener's certificate comes from.
type CertificateKind uint8

// The certificate sources.
const (
	CertificateInternal CertificateKind = iota // the zone's own CA (default)
	CertificateFiles
	CertificateACME
)

// Certificate is a listener's certificate source.
type Certificate struct {
	Kind      CertificateKind
	Cert, Key string // absolute paths; CertificateFiles only
}

// Listener is one outside door.
type Listener struct {
	Name           string
	Address        string   // host:port to bind
	Hosts          []string // lower case; names and addresses
	Certificate    Certificate
	ClientCA       string // path of PEM; empty: no client certificates
	Anonymous      bool   // false: a route with anonymous on it is an error
	TrustedProxies []netip.Prefix
	Limits         Limits
}

// Limits bound what a listener takes.
type Limits struct {
	Body        int64         // bytes, default 1 MiB
	Header      int64         // bytes, default 32 KiB
	HeaderTime  time.Duration // default 5 s
	Idle        time.Duration // default 2 min
	BodyRate    int64         // bytes per second at least, default 1 KiB
	Connections int           // default 10000
	Streams     int           // per HTTP/2 connection, default 100
	Rate        Rate          // per principal, else client address; zero: none
}

// Rate is a bound of Count requests in a Window. The zero value is no bound.
type Rate struct {
	Count  int
	Window time.Duration
}

// Secret is a value that stands outside the map. It never holds the value itself.
type Secret struct {
	File string // absolute path
	Env  string // name of an environment variable
}

// Registration says who may make an account.
type Registration uint8

// The registration modes.
const (
	RegistrationClosed Registration = iota
	RegistrationInvited
	RegistrationOpen
)

// Identity is the account service as declared.
type Identity struct {
	Listener     string // name of the outside listener that serves /auth/; empty: none
	URL          string // where browsers and programs find it: the issuer of OpenID Connect, the links in letters
	Registration Registration
	MFARequired  bool
	Mail         *Mail
	Providers    []Provider // sorted by name
	Sessions     Sessions
	PasswordMax  time.Duration // identity.password.max_age; 0: passwords do not age
	Theme        string
	Clients      []Client
}

// Mail is how the account service sends mail.
type Mail struct {
	SMTP Secret
	From string
}

// Sessions are the lifetimes of outside sessions.
type Sessions struct {
	Idle     time.Duration // default 30 min
	Absolute time.Duration // default 12 h
	Remember time.Duration // default 30 d
}

// Provider is one entry of the allowlist of identity providers.
type Provider struct {
	Name         string
	Kind         string   // oidc, github, saml, bearer
	Title        string   // what its button says; empty: Name
	Issuer       string   // exactly what its tokens say; github: of an own server; saml: empty
	Audience     string   // bearer
	JWKS         string   // bearer: where its keys are; empty: its discovery document says
	Algorithms   []string // oidc, bearer
	Roles        *RoleMap // bearer; nil: its users have no roles
	Clients      []string // bearer: who may have asked for the token; empty: any
	CA           string   // PEM file, the only roots for its TLS; empty: the system's
	ClientID     string   // oidc, github
	ClientSecret *Secret  // oidc, github; nil: the zone is a public client
	Scopes       []string // oidc: what is asked for
	Metadata     string   // saml: file or https url of its metadata
	EntityID     string   // saml: what its metadata must be of; empty: what the file says
}

// RoleMap makes roles of the zone from a claim. Values that are not in it are
// no roles.
type RoleMap struct {
	Claim string              // a name, or a JSON pointer when it starts with /
	Map   map[string][]string // roles by value of the claim, sorted
}

// Client is an OAuth client.
type Client struct {
	ID                   string
	Title                string // as the consent page names it; empty: the id
	Kind                 string // public, confidential
	RedirectURIs         []string
	LogoutURIs           []string // post_logout_redirect_uris
	BackchannelLogoutURI string
	Scopes               []string // sorted
	Grants               []string // sorted; empty: by kind and redirect_uris, see Client.Allows
	Secret               *Secret  // confidential: client_secret_basic and client_secret_post
	JWKS                 string   // confidential: JSON file of its public keys, for private_key_jwt
	Certificate          string   // confidential: subject of its certificate, for tls_client_auth
	JWTTokens            bool     // access tokens are JWT (RFC 9068) instead of opaque
	DPoP                 bool     // its tokens must be bound to a key (RFC 9449)
	PAR                  bool     // it must push its authorization requests (RFC 9126)
	Consent              bool     // users are asked; false: a client of the zone's own
}

// Proof is the strength of the proof that a forwarded request carries.
type Proof uint8

// The proofs; mac is the default.
const (
	ProofMAC Proof = iota
	ProofChannel
	ProofSignature
)

// Service is one service of the zone.
type Service struct {
	Name         string
	Upstreams    []Upstream // at least one
	Owner        string     // person or team in charge
	Layer        int        // 0: not written
	Embedded     bool       // it uses the Go package guard
	Sidecar      string     // host:port of its sidecar; empty: none
	Proof        Proof
	ProofWritten bool
	PlainHeaders bool
	Health       string // path of GET health; empty: dial only
	Routes       []*Route
	Calls        []Call
	Egress       []string
	Data         []Data // sorted by name
	Selectors    map[string][]string
	Outbound     string // path of the sidecar's socket for calls; empty: the default
	Pos          Pos    `json:"-"`
}

// InnerDoor says whether the service has a guard before it.
func (s *Service) InnerDoor() bool { return s.Embedded || s.Sidecar != "" }

// Upstream is one instance of a service.
type Upstream struct {
	Scheme  string // http, https; unix sockets speak http
	Network string // tcp, unix
	Address string // host:port or absolute socket path
	URL     string // as written, for messages
	Pos     Pos    `json:"-"`
}

// Allow is the set of kinds of callers that a route takes.
type Allow uint8

// The kinds of callers.
const (
	AllowAnonymous Allow = 1 << iota
	AllowUser
	AllowKey
	AllowClient
	AllowService
)

// OwnerKind says how ownership of an object is checked.
type OwnerKind uint8

// The owner selectors; NoOwner means that none was declared.
const (
	NoOwner OwnerKind = iota
	OwnerPath
	OwnerResponse
	OwnerRead
	OwnerCode
)

// Owner is an ownership check.
type Owner struct {
	Kind OwnerKind
	Arg  string // path: name of the wildcard; response, read: JSON pointer (RFC 6901)
}

// Stream says that a route's answers are not bounded by time.
type Stream uint8

// The kinds of streams.
const (
	NoStream Stream = iota
	StreamSSE
	StreamWebSocket
	StreamGRPC
)

// Route is one operation that a service exposes.
type Route struct {
	Service      *Service `json:"-"`
	Listener     string   // the only listener on which it exists
	Method       string   // upper case; GET also takes HEAD
	Path         string   // Go ServeMux syntax
	Allow        Allow
	Roles        []string // any suffices
	Scopes       []string // all are needed of a key or OAuth token
	MFA          bool
	MaxAge       time.Duration
	Owner        Owner
	Limit        Rate
	Proof        Proof
	Once         bool
	Stream       Stream
	Params       []Param // sorted by name
	Upload       *Upload
	CORS         *CORS
	EncodedSlash bool // %2F in the path is passed as it came
	Signed       bool
	NotEnforced  []string `json:"-"` // restricting keys that this version does not enforce: the route answers 503 zone.not_enforced
	Pos          Pos      `json:"-"`
}

// Pattern returns the route as it is written in the map: `METHOD /path`.
func (r *Route) Pattern() string { return r.Method + " " + r.Path }

// ParamKind is the type of a path or query value.
type ParamKind uint8

// The parameter types.
const (
	ParamUUID ParamKind = iota
	ParamInt
	ParamDate
	ParamEnum
	ParamRegexp
)

// Param is the declared type of one path or query value.
type Param struct {
	Name   string
	Kind   ParamKind
	Enum   []string
	Regexp string // anchored at both ends when it is compiled
}

// Upload is a declared upload.
type Upload struct {
	Types []string
	Size  int64 // bytes
}

// CORS is what other origins may do (Fetch standard).
type CORS struct {
	Origins []string
	Headers []string
}

// Call is one operation of another service that a service may call.
type Call struct {
	Service   string
	Method    string
	Path      string // as the callee's route declares it
	AsService bool   // as: service: with a token of the caller itself
	Pos       Pos    `json:"-"`
}

// Data is one store of a service.
type Data struct {
	Name   string
	Engine string
	URL    Secret
	Tables map[string]Table
}

// Table is what a service may do with a table, and how its fields are classed.
type Table struct {
	Rights []string
	Fields map[string]Field
}

// Field is the class of one column.
type Field struct {
	Class  string // public, internal, private, secret
	Search string // "", equal
}

// Traffic is the declared watching of clients.
type Traffic struct {
	Windows map[string]Rate
	Action  string // observe, throttle, challenge, block
}

// Store is where state is kept. Both nil: embedded.
type Store struct {
	Postgres *Secret
	Valkey   *Secret
}

// Export is one sink of records.
type Export struct {
	Kind   string // otlp, jsonl, syslog, webhook
	Target string
}

// Journal bounds the record of requests.
type Journal struct {
	Retain time.Duration // default 30 d
	Size   int64         // bytes, default 10 GiB
}

// Service returns the service of that name, nil when there is none.
func (z *Zone) Service(name string) *Service {
	for _, s := range z.Services {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// Listener returns the outside listener of that name, nil when there is none.
func (z *Zone) Listener(name string) *Listener {
	for _, l := range z.Listeners {
		if l.Name == name {
			return l
		}
	}
	return nil
}

// Issuer returns the issuer of the zone's tokens: https://NAME.
func (z *Zone) Issuer() string { return "https://" + z.Name }
