package app

import (
	"errors"
	"fmt"

	"sallyport.dev/internal/identity"
	"sallyport.dev/internal/oauth"
	"sallyport.dev/zone"
)

// CheckPaths refuses a map whose routes meet those that this program serves
// itself on the same listener: neither is more specific, and nobody could say
// whose a request is. The map itself keeps /auth/ free, and does not know what is
// served there. The error is *zone.Errors.
func CheckPaths(z *zone.Zone) error {
	if z.Identity.Listener == "" {
		return nil
	}
	var builtin []*zone.Route
	for _, r := range identity.PathsOf(z) {
		builtin = append(builtin, &zone.Route{Listener: z.Identity.Listener, Method: r.Method, Path: r.Path})
	}
	found := &zone.Errors{}
	for _, r := range oauth.PathsOf() {
		builtin = append(builtin, &zone.Route{Listener: z.Identity.Listener, Method: r.Method, Path: r.Path})
	}
	for _, svc := range z.Services {
		for _, rt := range svc.Routes {
			if rt.Listener != z.Identity.Listener || rt.Allow&^zone.AllowService == 0 {
				continue
			}
			_, err := zone.NewMatcher(append(builtin[:len(builtin):len(builtin)], rt))
			conflict, ok := errors.AsType[*zone.ConflictError](err)
			if !ok {
				continue // what is wrong with the route alone, the map has said
			}
			found.List = append(found.List, zone.Error{
				Pos:  rt.Pos,
				Text: fmt.Sprintf("route %s of %s meets %s, which this program serves itself, and neither is more specific", rt.Pattern(), svc.Name, conflict.First.Pattern()),
				Mend: "choose another path, or let identity.listener be another",
			})
		}
	}
	if len(found.List) == 0 {
		return nil
	}
	return found
}
