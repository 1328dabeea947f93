package store

import (
	"strconv"
	"strings"
)

// A dialect is all that this package knows of an engine besides how to open it.
type dialect struct {
	numbered bool                // placeholders are $1, $2, ... instead of ?
	alone    bool                // one process has the database: nobody else revokes
	kind     func(error) error   // the kind of a driver's error; nil when it has none
	hasTable string              // counts the tables of a name
	types    func(string) string // the engine's name of a word of a migration; nil: all stay
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

// translate writes a migration as the engine wants it: types have other names.
// What migrations may contain is in the package document.
func (d dialect) translate(script string) string {
	if d.types == nil {
		return script
	}
	var b strings.Builder
	for i := 0; i < len(script); {
		n := opaque(script[i:])
		if n == 0 {
			n = word(script[i:])
			b.WriteString(d.types(script[i : i+n]))
		} else {
			b.WriteString(script[i : i+n])
		}
		i += n
	}
	return b.String()
}

// word returns the length of the word that s starts with; 1 when it starts with
// something else.
func word(s string) int {
	n := 0
	for n < len(s) && (s[n] == '_' || s[n] >= '0' && s[n] <= '9' || s[n]|0x20 >= 'a' && s[n]|0x20 <= 'z') {
		n++
	}
	return max(n, 1)
}
