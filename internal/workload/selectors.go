package workload

import (
	"fmt"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// selectorNames are the selectors of the map, in the order in which they are
// looked at. Those after path are not attested by this version.
var selectorNames = [...]string{"uid", "gid", "path", "sha256", "unit", "cgroup"}

// noID is the uid and gid that nobody has, (uid_t)-1.
const noID = ^uint32(0)

// rule is an entry that was read.
type rule struct {
	service string
	wants   []want // all must hold
}

// want is one selector: any of its values suffices.
type want struct {
	selector string
	values   []string // as they were written
	ids      []uint32 // of uid and gid
	paths    []string // of path
	never    []string // why a value can fit no process
}

// compile reads entries. Unknown selectors, services given twice and names of
// no service are errors; values that can fit nobody are kept as such.
func compile(entries []Entry, domain spiffeid.TrustDomain, own uint32) ([]rule, error) {
	rules := make([]rule, 0, len(entries))
	known := map[string]bool{}
	for _, e := range entries {
		if _, err := spiffeid.FromSegments(domain, e.Service); err != nil {
			return nil, fmt.Errorf("service %q: %w", e.Service, err)
		}
		if e.Service == "gateway" || e.Service == "control" {
			return nil, fmt.Errorf("service %q: this name is the zone's own", e.Service)
		}
		if known[e.Service] {
			return nil, fmt.Errorf("service %q is given twice", e.Service)
		}
		known[e.Service] = true
		r := rule{service: e.Service}
		for name, values := range e.Selectors {
			if !slices.Contains(selectorNames[:], name) {
				return nil, fmt.Errorf("service %q: selector %q is unknown", e.Service, name)
			}
			if len(values) == 0 {
				return nil, fmt.Errorf("service %q: selector %q has no value", e.Service, name)
			}
		}
		for _, name := range selectorNames {
			if values := e.Selectors[name]; len(values) > 0 {
				r.wants = append(r.wants, newWant(name, values))
			}
		}
		if len(r.wants) == 0 {
			r.wants = []want{{selector: "uid", values: []string{strconv.FormatUint(uint64(own), 10)}, ids: []uint32{own}}}
		}
		rules = append(rules, r)
	}
	return rules, nil
}

func newWant(selector string, values []string) want {
	w := want{selector: selector, values: values}
	for _, v := range values {
		var why string
		switch selector {
		case "uid":
			why = w.addID(v, func(name string) (string, error) {
				u, err := user.Lookup(name)
				if err != nil {
					return "", err
				}
				return u.Uid, nil
			})
		case "gid":
			why = w.addID(v, func(name string) (string, error) {
				g, err := user.LookupGroup(name)
				if err != nil {
					return "", err
				}
				return g.Gid, nil
			})
		case "path":
			if !filepath.IsAbs(v) {
				why = v + " is not an absolute path"
				break
			}
			w.paths = append(w.paths, v)
		default:
			why = "this version does not attest it"
		}
		if why != "" {
			w.never = append(w.never, why)
		}
	}
	return w
}

// addID takes a number, or a name that lookup knows. It returns why it did not.
func (w *want) addID(value string, lookup func(string) (string, error)) string {
	digits := value
	if strings.Trim(value, "0123456789") != "" { // a name: no user's begins as a number and is one
		var err error
		if digits, err = lookup(value); err != nil {
			return err.Error()
		}
	}
	id, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || uint32(id) == noID {
		return value + " is no id"
	}
	w.ids = append(w.ids, uint32(id))
	return ""
}

// differs returns why a process does not have the selector; empty: it has.
func (w *want) differs(f facts) string {
	wants := ", wants " + strings.Join(w.values, " or ")
	switch w.selector {
	case "uid":
		if !slices.Contains(w.ids, f.uid) {
			return "uid is " + strconv.FormatUint(uint64(f.uid), 10) + wants
		}
	case "gid":
		if !slices.ContainsFunc(w.ids, f.inGroup) {
			return "gid is " + f.groupText() + wants
		}
	case "path":
		return w.pathDiffers(f, wants)
	default:
		return w.selector + " is not attested by this version" + wants
	}
	return ""
}

func (w *want) pathDiffers(f facts, wants string) string {
	if f.path == "" {
		return "path is unknown (" + f.noPath + ")" + wants
	}
	text := "path is " + f.path + wants
	for _, p := range w.paths {
		resolved, err := filepath.EvalSymlinks(p) // the kernel's answer has no links
		if err != nil || resolved != f.path {
			continue
		}
		if err := f.runs(resolved); err != nil {
			text = "path is " + f.path + ", but it is another file of that path: " + err.Error() + wants
			continue
		}
		return ""
	}
	return text
}

// nearest is the entry that a refused process fits best, for the log.
type nearest struct {
	service    string
	difference string // the first
}

// match returns the services that a process fits, in the order of the entries.
func match(rules []rule, f facts) (names []string, near nearest) {
	best := -1
	for _, r := range rules {
		held, first := 0, ""
		for _, w := range r.wants {
			if d := w.differs(f); d == "" {
				held++
			} else if first == "" {
				first = d
			}
		}
		if first == "" {
			names = append(names, r.service)
		} else if held > best {
			best, near = held, nearest{r.service, first}
		}
	}
	return names, near
}
