package svid

import (
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

// JoinPrefix starts every join token.
const JoinPrefix = "spj_"

// JoinToken lets one workload ask control for its first identity, once. It is a
// secret: String shows it, for the one terminal it is meant for; logs, JSON and
// %#v do not.
type JoinToken struct {
	ID     [16]byte // names the token; no secret
	Secret [32]byte
	Root   [32]byte // SHA-256 of the zone's root certificate in DER
}

const joinSize = 16 + 32 + 32 // bytes

var errJoinToken = errors.New("svid: not a join token: want the whole line that `sallyport join NAME` printed, which starts with " + JoinPrefix)

// ParseJoinToken reads a token in the one form that String writes. Its error
// never shows the text.
func ParseJoinToken(s string) (JoinToken, error) {
	coded, ok := strings.CutPrefix(s, JoinPrefix)
	if !ok || len(coded) != base64.RawURLEncoding.EncodedLen(joinSize) {
		return JoinToken{}, errJoinToken
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(coded)
	if err != nil || len(b) != joinSize { // the decoder skips line ends
		return JoinToken{}, errJoinToken
	}
	var t JoinToken
	rest := b[copy(t.ID[:], b):]
	rest = rest[copy(t.Secret[:], rest):]
	copy(t.Root[:], rest)
	return t, nil
}

// String is the token as ParseJoinToken reads it.
func (t JoinToken) String() string {
	b := make([]byte, 0, joinSize)
	b = append(append(append(b, t.ID[:]...), t.Secret[:]...), t.Root[:]...)
	return JoinPrefix + base64.RawURLEncoding.EncodeToString(b)
}

// IsZero says that there is no token.
func (t JoinToken) IsZero() bool { return t == JoinToken{} }

// hidden names the token without its secret.
func (t JoinToken) hidden() string { return fmt.Sprintf("%s(%x)", JoinPrefix, t.ID[:4]) }

// LogValue keeps the secret out of logs.
func (t JoinToken) LogValue() slog.Value { return slog.StringValue(t.hidden()) }

// GoString keeps the secret out of %#v.
func (t JoinToken) GoString() string { return t.hidden() }

// MarshalText keeps the secret out of JSON.
func (t JoinToken) MarshalText() ([]byte, error) { return []byte(t.hidden()), nil }
