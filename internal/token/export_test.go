package token

import (
	"maps"
	"slices"
)

// IDs returns the kids of the set, sorted.
func (s KeySet) IDs() []string { return slices.Sorted(maps.Keys(s.keys)) }

// Len returns the number of keys.
func (s KeySet) Len() int { return len(s.keys) }
