package guard

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// pointer is a JSON pointer: its reference tokens, unescaped. The empty pointer
// is the whole document.
type pointer []string

// parsePointer reads a JSON pointer (RFC 6901 section 3).
func parsePointer(s string) (pointer, error) {
	if s == "" {
		return pointer{}, nil
	}
	if s[0] != '/' {
		return nil, fmt.Errorf("pointer %q does not start with a slash", s)
	}
	tokens := strings.Split(s[1:], "/")
	for i, t := range tokens {
		for j := 0; j < len(t); j++ {
			if t[j] == '~' && (j+1 == len(t) || t[j+1] != '0' && t[j+1] != '1') {
				return nil, fmt.Errorf("pointer %q has a ~ that is neither ~0 nor ~1", s)
			}
		}
		tokens[i] = strings.ReplaceAll(strings.ReplaceAll(t, "~1", "/"), "~0", "~") // RFC 6901 section 4: in this order
	}
	return tokens, nil
}

// maxDepth bounds the nesting of a document that is read for its owner.
const maxDepth = 200

var (
	errNotJSON   = errors.New("the answer is not one JSON document in UTF-8")
	errDuplicate = errors.New("an object of the answer has a member name twice")
	errDepth     = fmt.Errorf("the answer is nested deeper than %d", maxDepth)
	errNoOwner   = errors.New("the answer has no string or number at the owner's pointer")
)

// valueAt returns the string at p, or the text of the number there. A document
// that could be read in two ways (RFC 8259 section 4: an object with a name
// twice, wherever it is) is refused whole: the reader behind us might see
// another owner than the one that was judged.
func valueAt(doc []byte, p pointer) (string, error) {
	if !json.Valid(doc) || !utf8.Valid(doc) {
		return "", errNotJSON
	}
	r := reader{text: string(doc)}
	if err := r.value(p, true); err != nil {
		return "", err
	}
	if !r.found {
		return "", errNoOwner
	}
	return r.owner, nil
}

// reader walks a document that is known to be valid JSON, so that it needs to
// look at no more than the structure.
type reader struct {
	text  string
	pos   int
	depth int
	names []string // of the objects that are open; each has its own tail
	owner string
	found bool
}

// value reads a value. at says that p leads on from here.
func (r *reader) value(p pointer, at bool) error {
	here := at && len(p) == 0
	switch c := r.next(); c {
	case '{', '[':
		if r.depth++; r.depth > maxDepth {
			return errDepth
		}
		var err error
		if c == '{' {
			err = r.object(p, at)
		} else {
			err = r.array(p, at)
		}
		r.depth--
		return err
	case '"':
		raw := r.raw()
		if here {
			r.owner, r.found = unquote(raw), true
		}
	default:
		start := r.pos
		for r.pos < len(r.text) && !strings.ContainsRune(" \t\r\n,]}", rune(r.text[r.pos])) {
			r.pos++
		}
		if number := r.text[start:r.pos]; here && (number[0] == '-' || number[0] >= '0' && number[0] <= '9') {
			r.owner, r.found = number, true
		}
	}
	return nil
}

func (r *reader) object(p pointer, at bool) error {
	r.pos++ // {
	base := len(r.names)
	defer func() { r.names = r.names[:base] }()
	var many map[string]struct{}
	for r.next() != '}' {
		if r.text[r.pos] == ',' {
			r.pos++
			r.next()
		}
		name := unquote(r.raw())
		mine := r.names[base:]
		if many == nil && len(mine) < 16 {
			for _, n := range mine {
				if n == name {
					return errDuplicate
				}
			}
			r.names = append(r.names, name)
		} else {
			if many == nil {
				many = make(map[string]struct{}, 2*len(mine))
				for _, n := range mine {
					many[n] = struct{}{}
				}
			}
			if _, dup := many[name]; dup {
				return errDuplicate
			}
			many[name] = struct{}{}
		}
		r.next()
		r.pos++ // :
		if err := r.member(p, at, name); err != nil {
			return err
		}
	}
	r.pos++ // }
	return nil
}

func (r *reader) array(p pointer, at bool) error {
	r.pos++ // [
	for i := 0; r.next() != ']'; i++ {
		if r.text[r.pos] == ',' {
			r.pos++
		}
		index := ""
		if at && len(p) > 0 {
			index = strconv.Itoa(i) // RFC 6901 section 4: no leading zeros
		}
		if err := r.member(p, at, index); err != nil {
			return err
		}
	}
	r.pos++ // ]
	return nil
}

// member reads the value of a member or element.
func (r *reader) member(p pointer, at bool, name string) error {
	if at && len(p) > 0 && p[0] == name {
		return r.value(p[1:], true)
	}
	return r.value(nil, false)
}

// next skips white space and returns the byte that comes.
func (r *reader) next() byte {
	for {
		switch c := r.text[r.pos]; c {
		case ' ', '\t', '\r', '\n':
			r.pos++
		default:
			return c
		}
	}
}

// raw reads a string with its quotes.
func (r *reader) raw() string {
	start := r.pos
	for r.pos++; r.text[r.pos] != '"'; r.pos++ {
		if r.text[r.pos] == '\\' {
			r.pos++
		}
	}
	r.pos++
	return r.text[start:r.pos]
}

func unquote(raw string) string {
	if strings.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1]
	}
	var s string
	_ = json.Unmarshal([]byte(raw), &s) // valid: the document is
	return s
}
