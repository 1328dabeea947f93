package guard

import (
	"strings"

	"sallyport.dev/internal/svid"
)

// nameOf returns the name of a workload of the zone, as the map has it. A path of
// several parts is no service's name.
func nameOf(id svid.ID) string { return strings.TrimPrefix(id.Path(), "/") }

// right is what one service may do here.
type right struct{ caller, method, path, as string }

// rights are all that the map gives to other services.
func (b *book) rights() map[right]bool {
	all := make(map[right]bool)
	for _, ru := range b.rules {
		if ru.closed != "" {
			continue
		}
		for _, c := range ru.callers {
			all[right{c, ru.route.Method, ru.route.Path, "user"}] = true
		}
		for _, c := range ru.own {
			all[right{c, ru.route.Method, ru.route.Path, "service"}] = true
		}
	}
	return all
}

// lostRights names the services that could do something by old which they cannot
// do by b.
func lostRights(old, b *book) map[string]bool {
	lost, now := make(map[string]bool), b.rights()
	for r := range old.rights() {
		if !now[r] {
			lost[r.caller] = true
		}
	}
	return lost
}

// mayEnter says whether a workload of the zone may connect: the gateway, and what
// may be a service. Which operation is for each request to judge, with a reason
// that can be read; the zone's control part and whatever is not one name of the
// zone have none to ask for.
func mayEnter(name string) bool {
	return name != "" && name != svid.ControlName && !strings.Contains(name, "/")
}
