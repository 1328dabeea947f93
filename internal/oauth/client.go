package oauth

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/luikyv/go-oidc/pkg/goidc"

	"sallyport.dev/zone"
)

// The scopes of OpenID Connect.
const (
	scopeOpenID  = "openid"
	scopeOffline = "offline_access"
)

// minSecret bounds a secret of the map: those of the command line have 43.
const minSecret = 16

// maxKeys bounds a file of keys.
const maxKeys = 64 << 10

// client is one registered client, of the map or of the store. It is not changed.
type client struct {
	zone.Client
	keys    *goidc.JSONWebKeySet
	secrets [][]byte // SHA-256 of those that are taken now
	stored  bool
}

func (c *client) public() bool { return c.Kind != "confidential" }

// secret says whether a text is the client's secret.
func (c *client) secret(presented string) bool {
	if presented == "" {
		return false
	}
	sum := hashOf(presented)
	for _, secret := range c.secrets {
		if subtle.ConstantTimeCompare(secret, sum) == 1 {
			return true
		}
	}
	return false
}

// users says whether the client may act for users at all.
func (c *client) users() bool { return c.Allows("authorization_code") || c.Allows("device_code") }

// scopes are what it may ask for. Who users are is never a secret to a program
// that logs them in.
func (c *client) scopes() []string {
	if c.users() && !slices.Contains(c.Scopes, scopeOpenID) {
		return append([]string{scopeOpenID}, c.Scopes...)
	}
	return c.Scopes
}

func (c *client) title() string {
	if c.Title != "" {
		return c.Title
	}
	return c.ID
}

// native says whether the client may pretend to be another: nothing proves who
// listens on a loopback port (RFC 8252 section 8.6).
func (c *client) native() bool {
	return c.public() && slices.ContainsFunc(c.RedirectURIs, func(u string) bool { return strings.HasPrefix(u, "http://") })
}

// redirects says whether answers may go to a URI: byte for byte one of those that
// are registered, but for the port of a loopback address that is registered
// without one (RFC 8252 section 7.3).
func (c *client) redirects(uri string) bool {
	if slices.Contains(c.RedirectURIs, uri) {
		return true
	}
	for _, registered := range c.RedirectURIs {
		if sameButPort(registered, uri) {
			return true
		}
	}
	return false
}

func sameButPort(registered, uri string) bool {
	for _, host := range []string{"http://127.0.0.1", "http://[::1]"} {
		path, ok := strings.CutPrefix(registered, host)
		rest, came := strings.CutPrefix(uri, host+":")
		if !ok || !came || !strings.HasPrefix(path, "/") {
			continue
		}
		port := strings.TrimLeft(rest, "0123456789")
		if digits := len(rest) - len(port); digits >= 1 && digits <= 5 && rest[0] != '0' && port == path {
			return true
		}
	}
	return false
}

// reserved are beginnings of ids that are no client's: a client's token has its
// id as subject.
var reserved = []string{"key_", "anonymous"}

// clientID is what the map takes as an id, and Basic needs not encode.
var clientID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

// grantNames are the ways to a token, as the map names them.
var grantNames = []string{"authorization_code", "refresh_token", "client_credentials", "device_code", "token_exchange"}

// check finds what cannot be of a client, wherever it was registered.
func (c *client) check() error {
	switch {
	case !clientID.MatchString(c.ID):
		return fmt.Errorf("client id %q: want letters, digits and . _ -, 100 at most", c.ID)
	case c.Kind != "public" && c.Kind != "confidential":
		return fmt.Errorf("client %q is of no kind: want public or confidential", c.ID)
	case slices.ContainsFunc(c.Grants, func(g string) bool { return !slices.Contains(grantNames, g) }):
		return fmt.Errorf("client %q: grants: want some of %s", c.ID, strings.Join(grantNames, ", "))
	case slices.ContainsFunc(reserved, func(p string) bool { return strings.HasPrefix(c.ID, p) }) || uuidLike(c.ID):
		return fmt.Errorf("client id %q could be the id of a user or key", c.ID)
	case c.public() && (c.Allows("client_credentials") || c.Allows("token_exchange")):
		return fmt.Errorf("client %q is public and can get no token by itself", c.ID)
	case c.public() && (len(c.secrets) > 0 || c.keys != nil || c.Certificate != ""):
		return fmt.Errorf("client %q is public and can keep nothing", c.ID)
	case c.Allows("authorization_code") && len(c.RedirectURIs) == 0:
		return fmt.Errorf("client %q has no redirect_uris", c.ID)
	case c.Allows("refresh_token") && !c.users():
		return fmt.Errorf("client %q can get no first refresh token", c.ID)
	}
	ways := 0
	for _, has := range []bool{len(c.secrets) > 0, c.keys != nil, c.Certificate != ""} {
		if has {
			ways++
		}
	}
	if !c.public() && ways != 1 {
		return fmt.Errorf("client %q needs one way to show who it is and has %d", c.ID, ways)
	}
	uris := slices.Concat(c.RedirectURIs, c.LogoutURIs)
	if c.BackchannelLogoutURI != "" {
		uris = append(uris, c.BackchannelLogoutURI)
	}
	for _, uri := range uris {
		if err := checkRedirect(uri); err != nil {
			return fmt.Errorf("client %q: %q: %w", c.ID, uri, err)
		}
	}
	return nil
}

// checkRedirect refuses what browsers and URI parsers do not read alike.
func checkRedirect(uri string) error {
	u, err := url.Parse(uri)
	switch {
	case err != nil:
		return errors.New("not a URI")
	case u.String() != uri || strings.ContainsFunc(uri, func(r rune) bool { return r <= ' ' || r > '~' || r == '\\' }):
		return errors.New("not in its plainest spelling")
	case u.Host == "" || u.User != nil || strings.Contains(uri, "#"):
		return errors.New("a host and no user information or fragment")
	case u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())):
		return errors.New("https, or http on loopback")
	}
	return nil
}

func loopback(host string) bool { return host == "127.0.0.1" || host == "::1" || host == "localhost" }

// uuidLike says whether a text has the form of a user's id.
func uuidLike(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		if hyphen := i == 8 || i == 13 || i == 18 || i == 23; hyphen != (s[i] == '-') {
			return false
		}
	}
	return true
}

// parseKeys reads a JWK set with public keys of the algorithms that assertions
// are taken in.
func parseKeys(raw []byte) (*goidc.JSONWebKeySet, error) {
	var set goidc.JSONWebKeySet
	if err := json.Unmarshal(raw, &set); err != nil {
		return nil, errors.New("not a JWK set")
	}
	if len(set.Keys) == 0 || len(set.Keys) > 16 {
		return nil, errors.New("want 1 to 16 keys")
	}
	for i := range set.Keys {
		k := &set.Keys[i]
		if !k.Valid() || !k.IsPublic() {
			return nil, errors.New("a key is not public")
		}
		if !keyFits(k.Key) {
			return nil, errors.New("want keys for ES256, EdDSA or PS256 (2048 bits)")
		}
		if k.Use == "" {
			k.Use = "sig"
		}
	}
	if !slices.ContainsFunc(set.Keys, func(k goidc.JSONWebKey) bool { return k.Use == "sig" }) {
		return nil, errors.New("no key is for signatures (use: sig)")
	}
	return &set, nil
}

// ofMap reads the clients of a map with their secrets and keys.
func (cfg *Config) ofMap(z *zone.Zone) (map[string]*client, error) {
	all := make(map[string]*client, len(z.Identity.Clients))
	for _, registered := range z.Identity.Clients {
		c := &client{Client: registered}
		if registered.Secret != nil {
			secret, err := cfg.Secret(registered.Secret)
			if err != nil {
				return nil, fmt.Errorf("oauth: client %s: %w", c.ID, err)
			}
			if len(secret) < minSecret {
				return nil, fmt.Errorf("oauth: client %s: its secret has fewer than %d characters: `openssl rand -base64 32` makes one", c.ID, minSecret)
			}
			sum := sha256.Sum256([]byte(secret))
			c.secrets = [][]byte{sum[:]}
		}
		if registered.JWKS != "" {
			raw, err := readBounded(registered.JWKS)
			if err == nil {
				c.keys, err = parseKeys(raw)
			}
			if err != nil {
				return nil, fmt.Errorf("oauth: client %s: %s: %w", c.ID, registered.JWKS, err)
			}
		}
		if err := c.check(); err != nil {
			return nil, fmt.Errorf("oauth: %w", err)
		}
		all[c.ID] = c
	}
	return all, nil
}

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path) // #nosec G304 -- named by the map
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxKeys+1))
	if err == nil && len(raw) > maxKeys {
		err = errors.New("the file is too large")
	}
	return raw, err
}
