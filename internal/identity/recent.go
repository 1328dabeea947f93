package identity

import "container/list"

// recent is a map that keeps its most recently written entries, at most a
// fixed number. It has no lock of its own.
type recent[K comparable, V any] struct {
	most  int
	order *list.List // of entry[K, V], latest first
	byKey map[K]*list.Element
}

type entry[K comparable, V any] struct {
	key   K
	value V
}

func newRecent[K comparable, V any](most int) *recent[K, V] {
	return &recent[K, V]{most: most, order: list.New(), byKey: make(map[K]*list.Element)}
}

func (r *recent[K, V]) get(k K) (V, bool) {
	if e, ok := r.byKey[k]; ok {
		return e.Value.(entry[K, V]).value, true
	}
	var none V
	return none, false
}

func (r *recent[K, V]) put(k K, v V) {
	if e, ok := r.byKey[k]; ok {
		e.Value = entry[K, V]{k, v}
		r.order.MoveToFront(e)
		return
	}
	if r.order.Len() >= r.most {
		r.drop(r.order.Back())
	}
	r.byKey[k] = r.order.PushFront(entry[K, V]{k, v})
}

func (r *recent[K, V]) remove(k K) {
	if e, ok := r.byKey[k]; ok {
		r.drop(e)
	}
}

func (r *recent[K, V]) drop(e *list.Element) {
	r.order.Remove(e)
	delete(r.byKey, e.Value.(entry[K, V]).key)
}

func (r *recent[K, V]) len() int { return r.order.Len() }
