package store

import (
	"strconv"
	"strings"

	"github.com/pressly/goose/v3"
)

// A dialect is all that this package knows of an engine besides how to open it.
type dialect struct {
	migrations goose.Dialect
	numbered   bool              // placeholders are $1, $2, ... instead of ?
	kind       func(error) error // the kind of a driver's error; nil when it has none
}

// rebind writes a statement's placeholders as the engine wants them. A `?`
// inside a string, a quoted name or a comment is left alone.
func (d dialect) rebind(query string) string {
	if !d.numbered || !strings.Contains(query, "?") {
		return query
	}
	var b strings.Builder
	b.Grow(len(query) + 16)
	n := 0
	for i := 0; i < len(query); {
		if end := opaque(query[i:]); end > 0 {
			b.WriteString(query[i : i+end])
			i += end
			continue
		}
		if query[i] == '?' {
			n++
			b.WriteByte('$')
			b.WriteString(strconv.Itoa(n))
		} else {
			b.WriteByte(query[i])
		}
		i++
	}
	return b.String()
}

// opaque returns the length of the string, quoted name or comment that s
// starts with; 0 when it starts with none. What is not closed lasts to the end.
func opaque(s string) int {
	var end string
	from := 1
	switch {
	case s[0] == '\'', s[0] == '"':
		end = s[:1] // a doubled quote ends one string and starts the next: the same to us
	case strings.HasPrefix(s, "--"):
		end = "\n"
	case strings.HasPrefix(s, "/*"):
		end, from = "*/", 2
	default:
		return 0
	}
	if i := strings.Index(s[from:], end); i >= 0 {
		return from + i + len(end)
	}
	return len(s)
}
