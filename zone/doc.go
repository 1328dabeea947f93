// Package zone reads the zone map: the one file that declares the listeners, the
// services, what each exposes and to whom, whom it may call and what data it
// holds. Every other part of Sallyport is derived from it.
//
//	z, err := zone.Load("zone.yaml")
//
// A map is read in three steps. The YAML is checked for what one file may hold
// (yaml.go, yaml_spelling.go). The grammar, a table of keys built from typed combinators
// (grammar.go, keys_*.go), turns it into the model and says what is not enforced
// yet. The checks (check_*.go) bind names and refuse contradictions. The same
// table prints the JSON Schema for editors (Schema) and the reference page
// (Reference), so none of the three can tell another story.
//
// It promises:
//   - a map with any fault is refused whole, with all its errors at once, each
//     with file:line:column, what is wrong and the mend;
//   - what the map does not say is denied;
//   - nothing declared is silently ignored: what this version does not enforce
//     is in Zone.Notices, and a restriction it does not enforce closes its route;
//   - no error and no notice ever prints a secret.
//
// It refuses what has two readings: unknown and duplicate keys, anchors, aliases,
// tags, several documents, routes of which neither is more specific, paths that
// are not canonical, numbers where words stand.
//
// A Zone is immutable once it is returned, and safe for concurrent use.
package zone
