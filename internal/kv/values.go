package kv

import (
	"bytes"
	"container/heap"
	"strings"
	"sync"
)

// values is one shard of the values: by key, and in the order of their ends.
type values struct {
	mu    sync.Mutex
	byKey map[string]*value
	ends  ends
}

type value struct {
	key   string
	bytes []byte // never changed once it is here
	end   int64  // first moment at which it is gone
	place int    // in ends
}

func (v *value) size() int64 { return int64(len(v.key) + len(v.bytes)) }

// room is what all shards share: how many values and bytes may still come.
type room struct {
	mu    sync.Mutex // taken after a shard's
	keys  int64
	bytes int64
}

// take takes room, or none at all.
func (r *room) take(keys, size int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if keys > r.keys || size > r.bytes {
		return false
	}
	r.keys -= keys
	r.bytes -= size
	return true
}

func (r *room) give(keys, size int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keys += keys
	r.bytes += size
}

// sweep drops all values whose end has come.
func (s *values) sweep(now int64, r *room) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(now, len(s.ends), r)
}

// expire drops values whose end has come, at most limit, and gives their room back.
func (s *values) expire(now int64, limit int, r *room) {
	for ; limit > 0 && len(s.ends) > 0 && s.ends[0].end <= now; limit-- {
		s.drop(s.ends[0], r)
	}
}

func (s *values) drop(v *value, r *room) {
	heap.Remove(&s.ends, v.place)
	delete(s.byKey, v.key)
	r.give(1, v.size())
}

// put keeps a value, in place of what is there unless onlyNew; stored is false
// when something is there, full when there is no room.
func (s *values) put(key string, b []byte, now, end int64, onlyNew bool, r *room) (stored, full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(now, 2, r) // a little more than comes in: what is over does not pile up
	old := s.byKey[key]
	if old != nil && old.end <= now {
		s.drop(old, r)
		old = nil
	}
	if old != nil && onlyNew {
		return false, false
	}
	v := &value{key: strings.Clone(key), bytes: bytes.Clone(b), end: end}
	if old == nil {
		if !r.take(1, v.size()) {
			return false, true
		}
	} else {
		if !r.take(0, v.size()-old.size()) { // the old one stays
			return false, true
		}
		heap.Remove(&s.ends, old.place)
	}
	s.byKey[v.key] = v
	heap.Push(&s.ends, v)
	return true, false
}

func (s *values) get(key string, now int64) ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.byKey[key]
	if v == nil || v.end <= now {
		return nil, false
	}
	return bytes.Clone(v.bytes), true // the caller may write into it
}

func (s *values) delete(key string, r *room) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.byKey[key]; v != nil {
		s.drop(v, r)
	}
}

// ends is a heap (container/heap): the value that ends first is first.
type ends []*value

func (e ends) Len() int           { return len(e) }
func (e ends) Less(i, j int) bool { return e[i].end < e[j].end }
func (e ends) Swap(i, j int) {
	e[i], e[j] = e[j], e[i]
	e[i].place, e[j].place = i, j
}

// Push implements heap.Interface.
func (e *ends) Push(x any) {
	v := x.(*value) //nolint:forcetypeassert // only add pushes
	v.place = len(*e)
	*e = append(*e, v)
}

// Pop implements heap.Interface.
func (e *ends) Pop() any {
	old := *e
	v := old[len(old)-1]
	old[len(old)-1] = nil
	*e = old[:len(old)-1]
	return v
}
