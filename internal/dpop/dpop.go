package dpop

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"sallyport.dev/internal/jws"
)

// The bounds of a proof.
const (
	maxProof = 4 << 10
	maxJTI   = 256
	age      = time.Minute      // how old a proof may be
	ahead    = 10 * time.Second // how far its maker's clock may run ahead
	margin   = time.Minute      // how far our clocks may differ or step back, and a look at an id may wait
)

// Lifetime is for how long the id of a proof that was accepted must be kept: for
// longer than the proof is good by any clock of the zone.
const Lifetime = age + ahead + margin

func algorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{jose.ES256, jws.Ed25519, jose.EdDSA, jose.PS256, jose.RS256}
}

// Algorithms are those that proofs may be signed by, as metadata lists them
// (dpop_signing_alg_values_supported).
func Algorithms() (names []string) {
	for _, a := range algorithms() {
		names = append(names, string(a))
	}
	return names
}

// Expect is what a proof must be for.
type Expect struct {
	Method string
	URL    string // scheme, host and path, as clients know it
	Token  string // the access token that the request carries; empty: none is there yet
	Now    time.Time
}

// Proof is one that holds.
type Proof struct {
	JKT   string // thumbprint of its key (RFC 7638): what tokens are bound to, as `cnf.jkt`
	ID    string // jti: to be accepted once
	Nonce string // empty: it has none
}

// claims are those of a proof (RFC 9449 section 4.2).
type claims struct {
	ID     string          // jti
	Method string          // htm
	URL    string          // htu
	At     json.RawMessage // iat
	Hash   string          // ath
	Nonce  string          // nonce
}

// Verify checks a proof as RFC 9449 section 4.3 says, but for its nonce and for
// whether it was seen before. Its error is for the log; clients are told
// invalid_dpop_proof alone.
func Verify(proof string, want Expect) (Proof, error) {
	if len(proof) > maxProof {
		return Proof{}, errors.New("dpop: the proof is too long")
	}
	signed, err := jose.ParseSignedCompact(proof, algorithms())
	if err != nil {
		return Proof{}, fmt.Errorf("dpop: %w", err)
	}
	header := signed.Signatures[0].Protected
	if kind, _ := header.ExtraHeaders[jose.HeaderType].(string); kind != "dpop+jwt" {
		return Proof{}, errors.New("dpop: typ is not dpop+jwt")
	}
	key := header.JSONWebKey
	if key == nil || !key.Valid() || !key.IsPublic() {
		return Proof{}, errors.New("dpop: no public key")
	}
	payload, err := jws.Verify(signed, key.Key)
	if err != nil {
		return Proof{}, fmt.Errorf("dpop: %w", err)
	}
	c, err := parse(payload)
	if err != nil {
		return Proof{}, err
	}
	if err := c.check(want); err != nil {
		return Proof{}, err
	}
	print, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		return Proof{}, fmt.Errorf("dpop: %w", err)
	}
	return Proof{JKT: base64.RawURLEncoding.EncodeToString(print), ID: c.ID, Nonce: c.Nonce}, nil
}

// parse reads the claims, each of them once and by its exact name: decoders take
// the last of two, or one in other letters, and another reader of the proof may not.
func parse(payload []byte) (claims, error) {
	var c claims
	dec := json.NewDecoder(bytes.NewReader(payload))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return c, errors.New("dpop: the claims are no object")
	}
	seen := map[string]bool{}
	for dec.More() {
		token, err := dec.Token()
		name, isText := token.(string)
		if err != nil || !isText {
			return c, errors.New("dpop: the claims are no object")
		}
		if seen[name] {
			return c, errors.New("dpop: a claim is there twice")
		}
		seen[name] = true
		if err := dec.Decode(c.member(name)); err != nil {
			return c, errors.New("dpop: the claims are not of their types")
		}
	}
	if _, err := dec.Token(); err != nil { // the closing brace
		return c, errors.New("dpop: the claims have no end")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return c, errors.New("dpop: something follows the claims")
	}
	return c, nil
}

// member is where the claim of a name goes; those that nobody asks for go nowhere.
func (c *claims) member(name string) any {
	switch name {
	case "jti":
		return &c.ID
	case "htm":
		return &c.Method
	case "htu":
		return &c.URL
	case "iat":
		return &c.At
	case "ath":
		return &c.Hash
	case "nonce":
		return &c.Nonce
	}
	return new(json.RawMessage)
}

func (c claims) check(want Expect) error {
	at, err := seconds(c.At)
	switch {
	case err != nil:
		return err
	case c.ID == "" || len(c.ID) > maxJTI:
		return fmt.Errorf("dpop: jti has no or over %d bytes", maxJTI)
	case c.Method != want.Method:
		return errors.New("dpop: htm is of another method")
	case !sameURL(c.URL, want.URL):
		return errors.New("dpop: htu is of another address")
	case at.Before(want.Now.Add(-age)):
		return errors.New("dpop: the proof is too old")
	case at.After(want.Now.Add(ahead)):
		return errors.New("dpop: the proof is of the future")
	case want.Token == "" && c.Hash != "":
		return errors.New("dpop: ath where there is no token")
	case want.Token != "" && subtle.ConstantTimeCompare([]byte(c.Hash), []byte(hash(want.Token))) != 1:
		return errors.New("dpop: ath is of another token")
	}
	return nil
}

// hash is the value of ath.
func hash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// seconds reads a NumericDate, whole or with a fraction (RFC 7519 section 2).
func seconds(raw json.RawMessage) (time.Time, error) {
	var n float64
	if len(raw) == 0 || json.Unmarshal(raw, &n) != nil || n < 0 || n > 1<<40 || string(raw) == "null" {
		return time.Time{}, errors.New("dpop: iat is no time")
	}
	return time.UnixMilli(int64(n * 1000)), nil
}

// sameURL compares two addresses after RFC 3986 section 6.2.2 and 6.2.3, without
// query and fragment (RFC 9449 section 4.3): the case of scheme and host, the
// default port, an empty path, and escapes that need not be there.
func sameURL(a, b string) bool {
	x, okA := normalURL(a)
	y, okB := normalURL(b)
	return okA && okB && x == y
}

func normalURL(text string) (string, bool) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Opaque != "" {
		return "", false
	}
	scheme := strings.ToLower(u.Scheme)
	host := strings.ToLower(u.Host)
	switch scheme {
	case "https":
		host = strings.TrimSuffix(host, ":443")
	case "http":
		host = strings.TrimSuffix(host, ":80")
	default:
		return "", false
	}
	path := (&url.URL{Path: u.Path}).EscapedPath()
	if strings.Contains(strings.ToLower(u.EscapedPath()), "%2f") { // no slash of the path's own: only the same spelling is the same
		path = u.EscapedPath()
	}
	if path == "" {
		path = "/"
	}
	return scheme + "://" + host + path, true
}
