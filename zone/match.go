package zone

import (
	"net/url"
	"slices"
	"strings"
)

// Found says what Match found.
type Found uint8

// The outcomes of Match. The zero value is NotFound: no route, no way in.
const (
	NotFound    Found = iota // no route has this path
	WrongMethod              // routes have this path, with other methods; see Matcher.Methods
	Matched
)

// Matcher finds the route of a request. It is immutable and safe for use by
// any number of goroutines.
//
// It takes the path syntax and the precedence of Go's http.ServeMux (the most
// specific pattern wins; {name}, {rest...}, {$}, a trailing slash stands for the
// subtree; GET also takes HEAD), so that a Go service finds the route that
// was judged here. It differs where ServeMux would guess:
//
//   - It never redirects and never cleans. Where ServeMux redirects /a to /a/, it
//     finds nothing, also when a wider route takes /a: many a service takes both
//     spellings for one. A path with an empty, `.` or `..` segment, also an encoded
//     one, finds nothing.
//   - A path that holds an encoded slash (%2F) finds a route only when the
//     most specific one has EncodedSlash; it never falls through to another, and
//     a segment that is nothing but an encoded slash finds nothing.
//   - A path with a broken percent-encoding finds nothing.
type Matcher struct {
	methods []methodTree // sorted by method
}

type methodTree struct {
	method string
	root   node
}

// node is a position in the patterns of one method: all that can follow the
// segments read so far. A request visits each node at most once, because its
// depth is the number of segments read: backtracking costs no more than the
// shorter of the path and the map allow.
type node struct {
	literals map[string]*node // by decoded segment
	wild     *node            // {name}
	end      *leaf            // the path ends here
	slash    *leaf            // {$}: the path ends here with a slash
	rest     *leaf            // {rest...} or a trailing slash: the path goes on as it likes
}

// leaf is a whole pattern.
type leaf struct {
	route *Route
	names []string // of its named wildcards, in order
	depth int      // segments of the pattern
	open  bool     // it ends in a rest
}

// NewMatcher builds a matcher over routes. It returns an error when a path does
// not parse, and a *ConflictError when two routes take a common request and
// neither is more specific.
func NewMatcher(routes []*Route) (*Matcher, error) {
	patterns := make([]pattern, 0, len(routes))
	for _, rt := range routes {
		p, err := parsePattern(rt)
		if err != nil {
			return nil, err
		}
		for i := range patterns {
			if p.conflicts(&patterns[i]) {
				return nil, &ConflictError{First: patterns[i].route, Second: rt}
			}
		}
		patterns = append(patterns, p)
	}
	m := &Matcher{}
	for i := range patterns {
		method := patterns[i].route.Method
		at, ok := slices.BinarySearchFunc(m.methods, method, func(t methodTree, s string) int { return strings.Compare(t.method, s) })
		if !ok {
			m.methods = slices.Insert(m.methods, at, methodTree{method: method})
		}
		m.methods[at].root.add(&patterns[i])
	}
	return m, nil
}

func (n *node) add(p *pattern) {
	last := len(p.segments) - 1
	l := &leaf{route: p.route, depth: len(p.segments), open: p.segments[last].kind == rest}
	for _, s := range p.segments {
		if s.kind == wildcard || s.kind == rest && s.text != "" {
			l.names = append(l.names, s.text)
		}
	}
	for _, s := range p.segments {
		switch s.kind {
		case literal:
			if n.literals == nil {
				n.literals = make(map[string]*node)
			}
			next := n.literals[s.text]
			if next == nil {
				next = &node{}
				n.literals[s.text] = next
			}
			n = next
		case wildcard:
			if n.wild == nil {
				n.wild = &node{}
			}
			n = n.wild
		case slash: // always last
			n.slash = l
			return
		case rest: // always last
			n.rest = l
			return
		}
	}
	n.end = l
}

// Match returns the route of a method and an escaped path (URL.EscapedPath) and
// fills values, which may be nil, with its decoded path values. What it returns
// with WrongMethod or NotFound is nil, and values are empty then.
//
// It does not allocate once values has room, except to decode segments that
// are percent-encoded.
func (m *Matcher) Match(method, escapedPath string, values *Values) (*Route, Found) {
	if values != nil {
		values.Reset()
	}
	sh, ok := inspect(escapedPath)
	if !ok {
		return nil, NotFound
	}
	l := m.find(method, escapedPath, sh, values)
	if l == nil {
		for i := range m.methods {
			if m.takes(m.methods[i].method, escapedPath, sh) {
				return nil, WrongMethod
			}
		}
		return nil, NotFound
	}
	if !l.takes(sh) || !l.name(values, sh) {
		if values != nil {
			values.Reset()
		}
		return nil, NotFound
	}
	return l.route, Matched
}

// Methods returns the methods, sorted, with which the path is found: the value of
// an Allow header (RFC 9110 section 10.2.1). HEAD is among them where GET is.
func (m *Matcher) Methods(escapedPath string) []string {
	sh, ok := inspect(escapedPath)
	if !ok {
		return nil
	}
	var found []string
	for i := range m.methods {
		if method := m.methods[i].method; m.takes(method, escapedPath, sh) {
			found = append(found, method)
		}
	}
	if slices.Contains(found, "GET") && !slices.Contains(found, "HEAD") && m.takes("HEAD", escapedPath, sh) {
		found = append(found, "HEAD")
		slices.Sort(found)
	}
	return found
}

func (m *Matcher) takes(method, path string, sh shape) bool {
	l := m.find(method, path, sh, nil)
	return l != nil && l.takes(sh)
}

// find returns the leaf of a request, nil for none.
func (m *Matcher) find(method, path string, sh shape, values *Values) *leaf {
	l := m.lookup(method, path, sh, values)
	if l == nil || !l.open || strings.HasSuffix(path, "/") {
		return l
	}
	// A subtree took it. If the path with a slash is a pattern of its own, it is not
	// of this subtree (matchOrRedirect of http.ServeMux).
	sh.slashed = true
	if own := m.lookup(method, path, sh, nil); own != nil && own.depth == strings.Count(path, "/")+1 {
		values.cut(0)
		return nil
	}
	return l
}

func (m *Matcher) lookup(method, path string, sh shape, values *Values) *leaf {
	for i := range m.methods {
		if m.methods[i].method == method {
			if l := m.methods[i].root.match(path, sh, values); l != nil {
				return l
			}
			break
		}
	}
	if method == "HEAD" {
		return m.lookup("GET", path, sh, values)
	}
	return nil
}

// match follows path, which is empty or starts with a slash, from n: literals
// before the wildcard, the wildcard before the rest. The values that it leaves
// are still encoded and unnamed; without a match it leaves none of its own.
func (n *node) match(path string, sh shape, values *Values) *leaf {
	if path == "" && sh.slashed {
		path = "/"
	}
	switch path {
	case "":
		return n.end
	case "/":
		if n.slash != nil {
			return n.slash
		}
	default:
		seg, after := path[1:], ""
		if i := strings.IndexByte(seg, '/'); i >= 0 {
			seg, after = seg[:i], seg[i:]
		}
		if next := n.literal(seg, sh); next != nil {
			if l := next.match(after, sh, values); l != nil {
				return l
			}
		}
		if n.wild != nil {
			mark := values.push(seg)
			if l := n.wild.match(after, sh, values); l != nil {
				return l
			}
			values.cut(mark)
		}
	}
	if n.rest != nil {
		values.push(path[1:])
	}
	return n.rest
}

func (n *node) literal(seg string, sh shape) *node {
	if sh.encoded && strings.IndexByte(seg, '%') >= 0 {
		seg, _ = url.PathUnescape(seg) // inspect proved that it decodes
	}
	return n.literals[seg]
}

// takes says whether the route of l may be found by a path of this shape.
func (l *leaf) takes(sh shape) bool { return !sh.encodedSlash || l.route.EncodedSlash }

// name names and decodes the values that match left. The value of a trailing
// slash has no name and is dropped.
func (l *leaf) name(values *Values, sh shape) bool {
	if values == nil {
		return true
	}
	values.cut(len(l.names))
	for i := range *values {
		v := &(*values)[i]
		v.Name = l.names[i]
		if sh.encoded {
			s, err := url.PathUnescape(v.Value)
			if err != nil {
				return false
			}
			v.Value = s
		}
	}
	return true
}

func (v *Values) push(s string) (mark int) {
	if v == nil {
		return 0
	}
	*v = append(*v, Value{Value: s})
	return len(*v) - 1
}

func (v *Values) cut(n int) {
	if v != nil && len(*v) > n {
		*v = (*v)[:n]
	}
}
