package zone

// Value is one named part of a matched path, decoded once.
type Value struct {
	Name  string // of the wildcard
	Value string // percent-decoded; of a {rest...}, all that is left of the path
}

// Values are the path values of a matched route in the order of its wildcards.
// The zero value is empty and ready; one Values can be used for request after
// request, which keeps Match free of allocations. It is not safe for use by
// several goroutines at once.
type Values []Value

// Get returns the value of a wildcard, "" when the route has none of that name.
// A {name} is never empty; a {rest...} may be.
func (v *Values) Get(name string) string {
	if v == nil {
		return ""
	}
	for i := range *v {
		if (*v)[i].Name == name {
			return (*v)[i].Value
		}
	}
	return ""
}

// Reset empties v and keeps its memory.
func (v *Values) Reset() {
	clear(*v)
	*v = (*v)[:0]
}
