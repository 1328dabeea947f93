package join

import (
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"

	"sallyport.dev/internal/problem"
)

// ID names a token. It is public, and lets nobody in.
type ID [16]byte

// String is the id in hexadecimal: nothing that a shell or a flag parser minds.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText is String.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// ParseID reads what String writes, and nothing else. Reason: admin.invalid.
func ParseID(text string) (ID, error) {
	var id ID
	if len(text) != hex.EncodedLen(len(id)) {
		return ID{}, problem.WithDetail(problem.AdminInvalid, "id: want 32 hexadecimal digits in lower case")
	}
	if _, err := hex.Decode(id[:], []byte(text)); err != nil || id.String() != text {
		return ID{}, problem.WithDetail(problem.AdminInvalid, "id: want 32 hexadecimal digits in lower case")
	}
	return id, nil
}

// Secret is what opens a token. It cannot be printed, logged or marshalled.
type Secret [32]byte

const redacted = "[redacted]"

// Format hides the value from fmt, whatever the verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) } // fmt keeps no error

// LogValue hides the value from slog.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText hides the value from encoders.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
