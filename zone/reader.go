package zone

import (
	"errors"
	"fmt"
	"slices"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// reader is the state of reading one map: what was found wrong, what is to be
// told, and where everything stands. It belongs to one goroutine.
type reader struct {
	files   []string                          // in the order in which they were read
	errors  []Error                           //
	more    int                               // errors beyond maxErrors
	notices []Notice                          //
	places  map[string]place                  // by path, every key and list entry that was written
	routes  map[*Service]map[operation]*Route // of the checks, by operation without names of wildcards
}

// place is where a key and its value stand.
type place struct{ key, value Pos }

// written is a value as it stands in a file.
type written struct {
	file string
	path string // services.orders.routes["POST /orders"].once
	key  Pos    // of its key; of the value itself in a list
	node ast.Node
}

func (r *reader) fail(at Pos, text, mend string) {
	if len(r.errors) == maxErrors {
		r.more++
		return
	}
	r.errors = append(r.errors, Error{at, text, mend})
}

// failf is fail at a value.
func (r *reader) failf(w written, mend, text string, args ...any) {
	r.fail(w.pos(), fmt.Sprintf(text, args...), mend)
}

func (r *reader) notice(at Pos, path string, effect Effect, text string) {
	r.notices = append(r.notices, Notice{at, path, effect, text})
}

// failFault is fail for what a scalar's parser found.
func (r *reader) failFault(at Pos, name string, err error) {
	f := fault{text: err.Error()}
	if known, ok := errors.AsType[*fault](err); ok {
		f = *known
	}
	if name != "" {
		f.text = name + ": " + f.text
	}
	r.fail(at, f.text, f.mend)
}

// err returns what was found wrong, in the order of the places, nil for nothing.
func (r *reader) err() error {
	if len(r.errors) == 0 {
		return nil
	}
	order := byPlace(r.files)
	slices.SortStableFunc(r.errors, func(a, b Error) int { return order(a.Pos, b.Pos) })
	return &Errors{List: slices.Compact(r.errors), More: r.more}
}

// place notes where a value stands; false tells of a duplicate.
func (r *reader) place(w written) bool {
	if first, twice := r.places[w.path]; twice {
		r.fail(w.key, nameOf(w.path)+" is written twice, first at "+first.key.String(), "keep one of them")
		return false
	}
	r.places[w.path] = place{w.key, w.pos()}
	return true
}

// at returns the place of what stands at a path, or of the nearest thing above it.
func (r *reader) at(path string) place {
	for {
		if p, ok := r.places[path]; ok || path == "" {
			return p
		}
		path = parentOf(path)
	}
}

// parentOf cuts the last key off a path. Keys with quotes in them are never
// looked for: no name of the grammar has one.
func parentOf(path string) string {
	quoted := false
	for i := len(path) - 1; i >= 0; i-- {
		switch c := path[i]; {
		case c == '"':
			quoted = !quoted
		case !quoted && (c == '.' || c == '['):
			return path[:i]
		}
	}
	return ""
}

// pos is where the value stands; a value that is not there stands at its key.
func (w written) pos() Pos {
	if w.node == nil || w.node.Type() == ast.NullType {
		return w.key
	}
	return posOf(w.file, startOf(w.node))
}

// startOf returns the first token of a node: the library names mappings and
// lists by a token inside them.
func startOf(n ast.Node) *token.Token {
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return startOf(n.Values[0].Key)
		}
		return n.Start
	case *ast.MappingValueNode:
		return startOf(n.Key)
	default:
		return n.GetToken()
	}
}

// entry is one key of a mapping with its value.
type entry struct {
	name  string
	value written
}

// mapping returns the entries of a mapping in the order of the file.
func (r *reader) mapping(w written, what string) ([]entry, bool) {
	var pairs []*ast.MappingValueNode
	brackets := false
	switch n := w.node.(type) {
	case *ast.MappingNode:
		pairs, brackets = n.Values, n.IsFlowStyle
	case *ast.MappingValueNode:
		pairs = []*ast.MappingValueNode{n}
	default:
		r.failForm(w, "a mapping", what)
		return nil, false
	}
	entries := make([]entry, 0, len(pairs))
	for _, p := range pairs {
		key := startOf(p.Key)
		if !brackets && outdented(p) {
			r.fail(posOf(w.file, startOf(p.Value)), "the value is not indented below its key", "write it on the line of the key, or further to the right")
		}
		entries = append(entries, entry{key.Value, written{w.file, pathOf(w.path, key.Value), posOf(w.file, key), p.Value}})
	}
	return entries, true
}

// outdented says whether a value stands on a later line than its key, no
// further to the right: YAML lets entries of a list alone do so.
func outdented(p *ast.MappingValueNode) bool {
	if p.Value == nil || p.Value.Type() == ast.NullType || p.Value.Type() == ast.SequenceType {
		return false
	}
	key, value := startOf(p.Key).Position, startOf(p.Value).Position
	return value.Line > key.Line && value.Column <= key.Column
}

// list returns the entries of a list.
func (r *reader) list(w written, what string) ([]written, bool) {
	n, ok := w.node.(*ast.SequenceNode)
	if !ok {
		r.failForm(w, "a list", what)
		return nil, false
	}
	entries := make([]written, len(n.Values))
	for i, v := range n.Values {
		entries[i] = written{w.file, fmt.Sprintf("%s[%d]", w.path, i), Pos{}, v}
		entries[i].key = posOf(w.file, startOf(v))
	}
	return entries, true
}

// scalar returns the text of a scalar as it was written, and whether YAML takes
// it for text: 30 is a number, "30" and 30min are text.
func (r *reader) scalar(w written, what string) (text string, isText, ok bool) {
	if w.node == nil {
		r.failForm(w, "a single value", what)
		return "", false, false
	}
	switch w.node.(type) {
	case *ast.StringNode:
		return w.node.GetToken().Value, true, true
	case *ast.BoolNode, *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return w.node.GetToken().Value, false, true
	default:
		r.failForm(w, "a single value", what)
		return "", false, false
	}
}

func isMapping(w written) bool {
	switch w.node.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return true
	}
	return false
}

func isList(w written) bool {
	_, ok := w.node.(*ast.SequenceNode)
	return ok
}

func isScalar(w written) bool {
	_, null := w.node.(*ast.NullNode)
	return w.node != nil && !null && !isMapping(w) && !isList(w)
}

// failForm tells that a mapping, list or scalar stands where another form is due.
func (r *reader) failForm(w written, due, what string) {
	name := nameOf(w.path)
	switch w.node.(type) {
	case nil, *ast.NullNode:
		r.failf(w, "write "+what+", or remove the key", "%s has no value", name)
	case *ast.MappingNode, *ast.MappingValueNode:
		r.failf(w, "write "+what, "%s: a mapping stands where %s is due", name, due)
	case *ast.SequenceNode:
		r.failf(w, "write "+what, "%s: a list stands where %s is due", name, due)
	default:
		r.failf(w, "write "+what, "%s: a single value stands where %s is due", name, due)
	}
}

// nameOf returns the last key of a path: how an error names what it is about.
func nameOf(path string) string {
	if path == "" {
		return "the map"
	}
	name := path[len(parentOf(path)):]
	switch {
	case name[0] == '.':
		return name[1:]
	case name[0] == '[' && len(name) > 2 && name[1] == '"':
		return name[2 : len(name)-2]
	case name[0] == '[':
		return "an entry of " + nameOf(parentOf(path))
	default:
		return name
	}
}
