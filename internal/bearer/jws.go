package bearer

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"

	"sallyport.dev/internal/jws"
	"sallyport.dev/internal/outward"
)

// jwt is a token that was taken apart and not verified.
type jwt struct {
	value     string
	algorithm jose.SignatureAlgorithm
	access    bool // its type is at+jwt
	claims    outward.Object
}

// segment is base64url as RFC 7515 section 2 has it, and canonical.
var segment = base64.RawURLEncoding.Strict()

// decodeSegment decodes canonical base64url. Go's decoder skips line breaks even
// when strict.
func decodeSegment(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, errors.New("line break in base64url")
	}
	return segment.DecodeString(s)
}

// parse takes a token apart: three segments, of which the first two are objects
// of JSON without duplicate members at any depth (RFC 8725 section 2.3 and RFC
// 7515 section 4).
func parse(value string) (*jwt, error) {
	parts := strings.SplitN(value, ".", 4)
	if len(parts) != 3 {
		return nil, errors.New("not a JWS of three segments")
	}
	if signature, err := decodeSegment(parts[2]); err != nil || len(signature) == 0 {
		return nil, errors.New("signature is missing or not base64url")
	}
	header, err := decodeObject(parts[0])
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	t := &jwt{value: value}
	if err := t.readHeader(header); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	if t.claims, err = decodeObject(parts[1]); err != nil {
		return nil, fmt.Errorf("claims: %w", err)
	}
	return t, nil
}

func decodeObject(part string) (outward.Object, error) {
	data, err := decodeSegment(part)
	if err != nil {
		return nil, err
	}
	if !utf8.Valid(data) {
		return nil, errors.New("not UTF-8")
	}
	return outward.ParseObject(data)
}

// readHeader takes alg, kid and typ. Parameters that bring or name a key (jwk,
// jku, x5u, x5c) are not looked at: the key comes from the issuer. What changes
// how the rest is to be read is refused.
func (t *jwt) readHeader(h outward.Object) error {
	for _, name := range []string{"crit", "b64", "zip", "enc"} {
		if h.Has(name) {
			return fmt.Errorf("%s is not understood", name)
		}
	}
	t.algorithm = jws.Name(jose.SignatureAlgorithm(h.Text("alg")))
	if t.algorithm == "" {
		return errors.New("alg is missing")
	}
	if id := h.Text("kid"); h.Has("kid") && (id == "" || len(id) > outward.MaxKeyID) {
		return errors.New("kid is no text, empty or too long")
	}
	if !h.Has("typ") {
		return nil // as of Okta
	}
	// Media types are of either case, and `application/` may be left out (RFC 7515
	// section 4.1.9). Every other type is of something else, and so are ours.
	typ := strings.ToLower(h.Text("typ"))
	switch strings.TrimPrefix(typ, "application/") {
	case "jwt":
	case "at+jwt":
		t.access = true
	default:
		return fmt.Errorf("typ is %q, want JWT or at+jwt", outward.Clip(h.Text("typ")))
	}
	return nil
}
