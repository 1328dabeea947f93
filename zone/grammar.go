package zone

import (
	"fmt"
	"slices"
)

// A typ is one type of the grammar. It is told once and used three times: the
// parser reads with it, the schema is made of it, the reference prints it.
// Types are built from scalars (scalar.go) by the combinators (combine.go).
type typ[V any] struct {
	form
	read  func(r *reader, w written) (V, bool) // false: not read, and the reader was told why
	parse func(text string) (V, error)         // of what a single value can write; nil for others
	empty func() V                             // the value of a key that is not written, with its defaults; nil: the zero value
}

// form is what a type shows to people and to editors.
type form struct {
	name   string // of the type: duration, list of names
	doc    string // how a value is written
	shared bool   // it has a name of its own in the schema
	leaf   bool   // a mapping that the reference shows as a value
	schema func(defs map[string]any) map[string]any
	keys   []keyForm // of a mapping
	parts  []form    // of a list or a choice
}

// keyForm is one key of a mapping, as the schema and the reference show it.
type keyForm struct {
	name   string // "" for any name: then any tells which
	any    *form
	form   form
	must   bool
	normal string // the default, as the map would write it; empty: none
	doc    string
	effect Effect // of declaring it, when later is set
	later  string // what it waits for; empty: this version enforces it
}

// row is one key of a mapping that is read into a T.
type row[T any] interface {
	shown() keyForm
	read(r *reader, name string, w written, into *T)
	absent(into *T)
}

// object is a mapping with keys of its own.
func object[T any](name, doc string, rows ...row[T]) typ[T] {
	t := typ[T]{form: form{name: name, doc: doc, shared: true}}
	for _, row := range rows {
		t.keys = append(t.keys, row.shown())
	}
	t.schema = func(defs map[string]any) map[string]any { return objectSchema(t.keys, defs) }
	t.empty = func() T {
		var v T
		for _, row := range rows {
			row.absent(&v)
		}
		return v
	}
	t.read = func(r *reader, w written) (T, bool) {
		v := t.empty()
		entries, ok := r.mapping(w, "a mapping: "+doc)
		for _, e := range entries {
			i := slices.IndexFunc(t.keys, func(k keyForm) bool { return k.name == e.name })
			if i < 0 {
				i = slices.IndexFunc(t.keys, func(k keyForm) bool { return k.any != nil })
			}
			if i < 0 {
				r.fail(e.value.key, "unknown key "+quote(e.name)+" in "+name, suggest(e.name, namesOf(t.keys)))
			} else if r.place(e.value) {
				rows[i].read(r, e.name, e.value, &v)
			}
		}
		for _, k := range t.keys {
			if _, written := r.places[pathOf(w.path, k.name)]; ok && k.must && !written {
				r.fail(w.key, name+" has no "+k.name, "write "+k.name+": "+k.form.doc)
			}
		}
		return v, ok
	}
	return t
}

func namesOf(keys []keyForm) []string {
	var names []string
	for _, k := range keys {
		if k.any == nil {
			names = append(names, k.name)
		}
	}
	return names
}

// field is a key with a name of its own, whose value goes to one place of a T.
type field[T, V any] struct {
	key    keyForm
	of     typ[V]
	at     func(*T) *V
	normal func() V     // the default; nil: the zero value
	told   func(V) bool // whether a value makes the notice of key.later
}

func key[T, V any](name string, of typ[V], at func(*T) *V, doc string) *field[T, V] {
	return &field[T, V]{key: keyForm{name: name, form: of.form, doc: doc}, of: of, at: at, normal: of.empty}
}

//lint:ignore U1000 called through an interface; the check does not see it behind type parameters
func (f *field[T, V]) shown() keyForm { return f.key }

// must makes the key required.
func (f *field[T, V]) must() *field[T, V] { f.key.must = true; return f }

// is gives the key a default, as the map would write it.
func (f *field[T, V]) is(normal string) *field[T, V] {
	v, err := f.of.parse(normal)
	if err != nil {
		panic(fmt.Sprintf("zone: default of %s: %v", f.key.name, err)) // a fault of the table, which any test finds
	}
	f.key.normal, f.normal = normal, func() V { return v }
	return f
}

// says gives a default that a later step fills in.
func (f *field[T, V]) says(shown string) *field[T, V] { f.key.normal = shown; return f }

// later marks the key as not enforced yet: declaring it makes a notice.
func (f *field[T, V]) later(effect Effect, text string) *field[T, V] {
	f.key.effect, f.key.later = effect, text
	f.told = func(V) bool { return true }
	return f
}

// laterIf is later for some values only.
func (f *field[T, V]) laterIf(told func(V) bool, effect Effect, text string) *field[T, V] {
	f.later(effect, text).told = told
	return f
}

//lint:ignore U1000 called through an interface; the check does not see it behind type parameters
func (f *field[T, V]) absent(into *T) {
	if f.normal != nil {
		*f.at(into) = f.normal()
	}
}

//lint:ignore U1000 called through an interface; the check does not see it behind type parameters
func (f *field[T, V]) read(r *reader, _ string, w written, into *T) {
	v, ok := f.of.read(r, w)
	if !ok {
		return
	}
	*f.at(into) = v
	if f.told != nil && f.told(v) {
		r.notice(w.key, w.path, f.key.effect, f.key.later)
	}
}

// each is the row of a mapping in which the user chooses the names.
type each[T, K, V any] struct {
	name typ[K] // a scalar
	of   typ[V]
	doc  string
	add  func(into *T, name K, at Pos, v V)
}

//lint:ignore U1000 called through an interface; the check does not see it behind type parameters
func (e *each[T, K, V]) shown() keyForm {
	return keyForm{any: &e.name.form, form: e.of.form, doc: e.doc}
}

//lint:ignore U1000 called through an interface; the check does not see it behind type parameters
func (e *each[T, K, V]) absent(*T) {}

//lint:ignore U1000 called through an interface; the check does not see it behind type parameters
func (e *each[T, K, V]) read(r *reader, name string, w written, into *T) {
	k, err := e.name.parse(name)
	if err != nil {
		r.failFault(w.key, "", err)
	}
	if v, ok := e.of.read(r, w); ok && err == nil {
		e.add(into, k, w.key, v)
	}
}
