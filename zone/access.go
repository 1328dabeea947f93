package zone

import (
	"cmp"
	"slices"
	"strings"
)

// Inside is the listener of a row whose route no outside listener serves.
const Inside = "inside"

// AccessRow is one line of the access table: who reaches a route, and through
// which listener.
type AccessRow struct {
	Listener    string   `json:"listener"` // Inside for routes that services alone may use
	Method      string   `json:"method"`
	Path        string   `json:"path"`
	Service     string   `json:"service"`
	Who         string   `json:"who"`               // the fields below in one line
	Kinds       []string `json:"kinds"`             // of callers, any suffices
	Roles       []string `json:"roles,omitempty"`   // any suffices
	Scopes      []string `json:"scopes,omitempty"`  // all are needed of keys and tokens
	Owner       string   `json:"owner,omitempty"`   // selector
	Callers     []string `json:"callers,omitempty"` // services whose calls name the operation
	Limit       string   `json:"limit,omitempty"`
	NotEnforced []string `json:"not_enforced,omitempty"` // keys that close the route in this version
}

// Access returns the access table, sorted by listener, path and method.
func (z *Zone) Access() []AccessRow {
	var rows []AccessRow
	for _, s := range z.Services {
		for _, rt := range s.Routes {
			rows = append(rows, z.rowOf(s, rt))
		}
	}
	slices.SortFunc(rows, func(a, b AccessRow) int {
		return cmp.Or(cmp.Compare(a.Listener, b.Listener), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Method, b.Method), cmp.Compare(a.Service, b.Service))
	})
	return rows
}

func (z *Zone) rowOf(s *Service, rt *Route) AccessRow {
	row := AccessRow{
		Listener: rt.Listener, Method: rt.Method, Path: rt.Path, Service: s.Name,
		Kinds: rt.Allow.Kinds(), Roles: rt.Roles, Scopes: rt.Scopes, Owner: rt.Owner.String(),
		Callers: z.calledBy(s, rt), Limit: rt.Limit.String(), NotEnforced: rt.NotEnforced,
	}
	if rt.Allow == AllowService {
		row.Listener = Inside
	}
	if l := z.Listener(rt.Listener); row.Limit == "" && l != nil && l.Limits.Rate.Count > 0 {
		row.Limit = l.Limits.Rate.String() + " (listener)"
	}
	row.Who = row.who()
	return row
}

// who says in one line who passes.
func (row AccessRow) who() string {
	parts := []string{strings.Join(row.Kinds, " or ")}
	if len(row.Roles) > 0 {
		parts = append(parts, "role "+strings.Join(row.Roles, " or "))
	}
	if len(row.Scopes) > 0 {
		parts = append(parts, "scope "+strings.Join(row.Scopes, " and "))
	}
	if row.Owner != "" {
		parts = append(parts, "owner by "+row.Owner)
	}
	if len(row.Callers) > 0 {
		parts = append(parts, "called by "+strings.Join(row.Callers, " and "))
	}
	if len(row.NotEnforced) > 0 {
		parts = append(parts, "closed: "+strings.Join(row.NotEnforced, ", ")+" not enforced yet")
	}
	return strings.Join(parts, "; ")
}

// calledBy returns the services whose calls name a route, sorted; a call as the
// service itself says so.
func (z *Zone) calledBy(callee *Service, rt *Route) []string {
	var names []string
	for _, s := range z.Services {
		for _, c := range s.Calls {
			if c.Service != callee.Name || c.Method != rt.Method || c.Path != rt.Path {
				continue
			}
			if c.AsService {
				names = append(names, s.Name+" as service")
			} else {
				names = append(names, s.Name)
			}
		}
	}
	return names
}
