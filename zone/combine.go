package zone

import (
	"strconv"
	"strings"
)

// list is a list of values, each given once.
func list[V any](of typ[V]) typ[[]V] {
	t := typ[[]V]{form: form{name: "list of " + of.name, doc: of.doc, keys: of.keys, parts: []form{of.form}}}
	t.schema = func(defs map[string]any) map[string]any {
		return map[string]any{"type": "array", "items": of.in(defs), "minItems": 1, "uniqueItems": true}
	}
	t.read = func(r *reader, w written) ([]V, bool) {
		entries, ok := r.list(w, "a list of "+of.doc)
		if ok && len(entries) == 0 {
			r.failf(w, "name an entry, or remove the key", "%s is an empty list", nameOf(w.path))
		}
		values := make([]V, 0, len(entries))
		seen := make(map[string]bool)
		for _, e := range entries {
			r.places[e.path] = place{e.key, e.key}
			text := e.node.String()
			if isScalar(e) {
				text = strconv.Quote(e.node.GetToken().Value) // with and without quotes it is the same
			}
			if seen[text] {
				r.failf(e, "keep one of them", "%s is there twice", nameOf(e.path))
				continue
			}
			seen[text] = true
			v, fine := of.read(r, e)
			if fine {
				values = append(values, v)
			}
			ok = ok && fine
		}
		return values, ok
	}
	return t
}

// oneOrList is a list that may be written as its only entry.
func oneOrList[V any](of typ[V]) typ[[]V] {
	many := list(of)
	t := typ[[]V]{form: form{name: of.name + " or list", doc: of.doc, keys: of.keys, parts: []form{of.form}}}
	t.schema = func(defs map[string]any) map[string]any {
		return map[string]any{"anyOf": []any{of.in(defs), many.in(defs)}}
	}
	t.read = func(r *reader, w written) ([]V, bool) {
		if isList(w) {
			return many.read(r, w)
		}
		v, ok := of.read(r, w)
		return []V{v}, ok
	}
	return t
}

// short is an object that may be written as the value of its most used key.
func short[T, V any](long typ[T], of typ[V], set func(*T, V)) typ[T] {
	t := typ[T]{form: form{name: of.name + " or " + long.name, doc: of.doc, keys: long.keys, parts: []form{of.form}}, empty: long.empty}
	t.schema = func(defs map[string]any) map[string]any {
		return map[string]any{"anyOf": []any{of.in(defs), long.in(defs)}}
	}
	with := func(part V) T {
		v := long.empty()
		set(&v, part)
		return v
	}
	t.read = func(r *reader, w written) (T, bool) {
		if isMapping(w) {
			return long.read(r, w)
		}
		part, ok := of.read(r, w)
		return with(part), ok
	}
	t.parse = func(text string) (v T, err error) {
		part, err := of.parse(text)
		if err != nil {
			return v, err
		}
		return with(part), nil
	}
	return t
}

// oneKey is an object of which exactly one key is written.
func oneKey[T any](of typ[T]) typ[T] {
	t := of
	t.schema = func(defs map[string]any) map[string]any {
		s := of.schema(defs)
		s["minProperties"], s["maxProperties"] = 1, 1
		return s
	}
	t.read = func(r *reader, w written) (T, bool) {
		v, ok := of.read(r, w)
		count := 0
		for _, k := range of.keys {
			if _, written := r.places[pathOf(w.path, k.name)]; written {
				count++
			}
		}
		if ok && count != 1 {
			r.failf(w, "write one of "+strings.Join(namesOf(of.keys), ", "), "%s takes exactly one key", nameOf(w.path))
		}
		return v, ok
	}
	return t
}

// then is a type whose values get a last touch, with the place where they stand.
func then[V any](of typ[V], finish func(v *V, at Pos)) typ[V] {
	t := of
	t.read = func(r *reader, w written) (V, bool) {
		v, ok := of.read(r, w)
		finish(&v, w.pos())
		return v, ok
	}
	return t
}

// convert is a type that is read as another.
func convert[A, B any](of typ[A], into func(A) B) typ[B] {
	t := typ[B]{form: of.form}
	if of.empty != nil {
		t.empty = func() B { return into(of.empty()) }
	}
	t.read = func(r *reader, w written) (B, bool) {
		v, ok := of.read(r, w)
		return into(v), ok
	}
	return t
}

// optional is an object that is nil when it is not written.
func optional[T any](of typ[T]) typ[*T] {
	t := convert(of, func(v T) *T { return &v })
	t.empty = nil
	return t
}
