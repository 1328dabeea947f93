package zone

import (
	"fmt"
	"net/url"
	"strings"
	"unicode"
)

// segmentKind is the kind of one segment of a route's path.
type segmentKind uint8

const (
	literal  segmentKind = iota
	wildcard             // {name}: one segment, never empty
	slash                // {$}: the path ends in a slash
	rest                 // {name...}, or a trailing slash (without a name): what is left
)

type segment struct {
	kind segmentKind
	text string // decoded literal, or the name of a wildcard
}

// pattern is the parsed path of a route.
type pattern struct {
	route    *Route
	segments []segment
}

// SamePath says whether two routes take the same paths, whatever the names of
// their wildcards.
func (rt *Route) SamePath(other *Route) bool { return nameless(rt.Path) == nameless(other.Path) }

func parsePattern(rt *Route) (pattern, error) {
	if rt.Method == "" {
		return pattern{}, fmt.Errorf("route %q: no method", rt.Path)
	}
	segments, err := parsePath(rt.Path)
	if err != nil {
		return pattern{}, fmt.Errorf("route %s: %w", rt.Pattern(), err)
	}
	return pattern{rt, segments}, nil
}

// parsePath parses a path in the syntax of http.ServeMux (Go 1.22), without
// method and host. It refuses what could never match.
func parsePath(path string) ([]segment, error) {
	after, ok := strings.CutPrefix(path, "/")
	if !ok {
		return nil, fmt.Errorf("path %q does not start with a slash", path)
	}
	var segments []segment
	names := make(map[string]bool)
	for more := true; more; {
		var s string
		s, after, more = strings.Cut(after, "/")
		if s == "" {
			if more {
				return nil, fmt.Errorf("path %q has an empty segment", path)
			}
			return append(segments, segment{kind: rest}), nil
		}
		seg, err := parseSegment(s)
		if err != nil {
			return nil, err
		}
		if seg.kind >= slash && more {
			return nil, fmt.Errorf("%s is not at the end of the path", s)
		}
		if seg.kind != literal && seg.text != "" {
			if names[seg.text] {
				return nil, fmt.Errorf("wildcard name %q is there twice", seg.text)
			}
			names[seg.text] = true
		}
		segments = append(segments, seg)
	}
	return segments, nil
}

func parseSegment(s string) (segment, error) {
	if !strings.Contains(s, "{") {
		text, err := url.PathUnescape(s)
		if err != nil {
			return segment{}, fmt.Errorf("segment %q is not well encoded", s)
		}
		if text == "." || text == ".." || text == "/" {
			return segment{}, fmt.Errorf("segment %q can never match", s)
		}
		return segment{literal, text}, nil
	}
	name, ok := strings.CutPrefix(s, "{")
	if ok {
		name, ok = strings.CutSuffix(name, "}")
	}
	if !ok {
		return segment{}, fmt.Errorf("wildcard %q is not a whole segment", s)
	}
	if name == "$" {
		return segment{kind: slash}, nil
	}
	kind := wildcard
	if n, ok := strings.CutSuffix(name, "..."); ok {
		name, kind = n, rest
	}
	if !identifier(name) {
		return segment{}, fmt.Errorf("wildcard name %q is not a Go identifier", name)
	}
	return segment{kind, name}, nil
}

func identifier(s string) bool {
	for i, c := range s {
		if c != '_' && !unicode.IsLetter(c) && (i == 0 || !unicode.IsDigit(c)) {
			return false
		}
	}
	return s != ""
}

// ConflictError tells that two routes take a common request and that neither
// is more specific than the other.
type ConflictError struct {
	First, Second *Route // in the order in which they were given
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("routes %s and %s take common requests and neither is more specific", e.First.Pattern(), e.Second.Pattern())
}

// conflicts says whether p and q conflict. A route is wider than another where
// it takes something that the other does not: of two routes with a common
// request exactly one must be wider.
func (p *pattern) conflicts(q *pattern) bool {
	var pWider, qWider bool
	switch pm, qm := p.route.Method, q.route.Method; {
	case pm == qm:
	case pm == "GET" && qm == "HEAD":
		pWider = true
	case pm == "HEAD" && qm == "GET":
		qWider = true
	default:
		return false
	}
	for i := 0; ; i++ {
		if i == len(p.segments) || i == len(q.segments) {
			return len(p.segments) == len(q.segments) && pWider == qWider
		}
		switch a, b := p.segments[i], q.segments[i]; {
		case a.kind == rest && b.kind == rest:
			return pWider == qWider
		case a.kind == rest:
			return qWider // p is wider from here on
		case b.kind == rest:
			return pWider
		case a.kind == wildcard && b.kind == literal:
			pWider = true
		case a.kind == literal && b.kind == wildcard:
			qWider = true
		case a.kind != b.kind, a.kind == literal && a.text != b.text:
			return false // nothing in common
		}
	}
}

// shape is what a first look at an escaped path tells.
type shape struct {
	encoded      bool // some segment is percent-encoded
	encodedSlash bool // some segment holds an encoded slash
	slashed      bool // a slash is to be thought behind the path
}

// inspect refuses a path that has more than one reading: no leading slash, an
// empty segment before the end, a dot segment or a lone encoded slash, a broken encoding.
func inspect(path string) (shape, bool) {
	var sh shape
	if path == "" || path[0] != '/' {
		return sh, false
	}
	for start := 1; start <= len(path); {
		end := start
		encoded := false
		for ; end < len(path) && path[end] != '/'; end++ {
			encoded = encoded || path[end] == '%'
		}
		seg := path[start:end]
		if encoded {
			var err error
			if seg, err = url.PathUnescape(seg); err != nil || seg == "/" {
				return sh, false
			}
			sh.encoded = true
			sh.encodedSlash = sh.encodedSlash || strings.IndexByte(seg, '/') >= 0
		}
		if seg == "." || seg == ".." || seg == "" && end < len(path) {
			return sh, false
		}
		start = end + 1
	}
	return sh, true
}
