package token

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/go-jose/go-jose/v4/json"
)

// segment is base64url as RFC 7515 section 2 has it, and canonical: the unused
// bits of the last character are zero.
var segment = base64.RawURLEncoding.Strict()

// decodeSegment decodes canonical base64url. Go's decoder skips line breaks
// even when strict; a token has one spelling only.
func decodeSegment(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, errors.New("line break in base64url")
	}
	return segment.DecodeString(s)
}

// keyIDOf reads the protected header of a token and returns its kid. It accepts
// a header of exactly alg, kid and typ, in the profile's values.
//
// It also proves that the token has one spelling: were the second and third
// segment to decode in several, one token could be had in any number of forms.
func keyIDOf(value string) (string, error) {
	parts := strings.SplitN(value, ".", 4)
	if len(parts) != 3 {
		return "", errors.New("not a JWS of three segments")
	}
	header, err := decodeSegment(parts[0])
	if err != nil {
		return "", fmt.Errorf("header: %w", err)
	}
	for _, p := range parts[1:] {
		if _, err := decodeSegment(p); err != nil {
			return "", fmt.Errorf("segment: %w", err)
		}
	}
	// A map of strings: duplicate names are refused, and so is any parameter
	// that is not a string (jwk, x5c, crit, b64).
	var params map[string]string
	if err := json.Unmarshal(header, &params); err != nil {
		return "", fmt.Errorf("header: %w", err)
	}
	kid := params["kid"]
	switch {
	case len(params) != 3:
		return "", errors.New("header does not hold exactly alg, kid and typ")
	case params["alg"] != Algorithm:
		return "", fmt.Errorf("alg is %q, want %s", clip(params["alg"]), Algorithm)
	case params["typ"] != Type:
		return "", fmt.Errorf("typ is %q, want %s", clip(params["typ"]), Type)
	case kid == "" || len(kid) > maxKeyID:
		return "", fmt.Errorf("kid of %d bytes", len(kid))
	}
	return kid, nil
}
