package zone

import (
	"fmt"
	"net"
	"net/netip"
)

// check refuses what each key alone cannot show: dangling names,
// contradictions, and what could never work. It also runs on a map that already
// has errors, so whatever failed to be read is the zero value here and passes.
func (r *reader) check(z *Zone) {
	r.checkListeners(z)
	r.checkIdentity(z)
	for _, s := range z.Services {
		r.checkService(z, s)
		for _, rt := range s.Routes {
			r.checkRoute(z, rt)
		}
		for _, c := range s.Calls {
			r.checkCall(z, s, c)
		}
		for _, d := range s.Data {
			r.checkData(s, d)
		}
	}
	r.checkConflicts(z)
	r.checkExports(z)
}

// door is any listener of the zone, for what all have in common.
type door struct {
	name, address string
	at            Pos
}

func (r *reader) doorsOf(z *Zone) []door {
	var all []door
	for _, l := range z.Listeners {
		all = append(all, door{l.Name, l.Address, r.at(pathOf("listeners", l.Name) + ".address").value})
	}
	all = append(all, door{"admin", z.Admin, r.at("listeners.admin.address").value})
	if z.Control != "" {
		all = append(all, door{"control", z.Control, r.at("listeners.control.address").value})
	}
	return all
}

func (r *reader) checkListeners(z *Zone) {
	all := r.doorsOf(z)
	for i, a := range all {
		for _, b := range all[:i] {
			if !overlap(a.address, b.address) {
				continue
			}
			if a.at.Line == 0 || a.at.Line < b.at.Line && a.at.File == b.at.File {
				a, b = b, a // tell it at the later one, and at one that is written
			}
			r.fail(a.at, fmt.Sprintf("listeners %s and %s both listen on %s", b.name, a.name, b.address), "give each an address of its own")
		}
	}
}

// overlap says whether two listeners cannot both have their addresses.
func overlap(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || portA == "0" {
		return false
	}
	if anyAddress(hostA) || anyAddress(hostB) || hostA == hostB {
		return true
	}
	if hostA == "localhost" || hostB == "localhost" {
		return loopback(hostA) && loopback(hostB)
	}
	addressA, errA := netip.ParseAddr(hostA)
	addressB, errB := netip.ParseAddr(hostB)
	return errA == nil && errB == nil && addressA.Unmap() == addressB.Unmap()
}

func anyAddress(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "" || err == nil && a.IsUnspecified()
}

func (r *reader) checkIdentity(z *Zone) {
	i, names := z.Identity, listenerNames(z)
	switch {
	case i.Listener == "":
		r.fail(r.at("listeners").key, "no listener is `public`, so it is open which one serves the account service", "write identity: {listener: NAME}; "+suggest("", names))
	case z.Listener(i.Listener) == nil:
		r.fail(r.at("identity.listener").value, fmt.Sprintf("identity: there is no outside listener %s", i.Listener), suggest(i.Listener, names))
	}
	if s := i.Sessions; s.Idle > s.Absolute {
		r.fail(r.at("identity.sessions").value, fmt.Sprintf("sessions: idle (%s) is longer than absolute (%s)", FormatDuration(s.Idle), FormatDuration(s.Absolute)), "let a session rest for less than it lives")
	} else if s.Remember < s.Absolute {
		r.fail(r.at("identity.sessions").value, fmt.Sprintf("sessions: remember (%s) is shorter than absolute (%s)", FormatDuration(s.Remember), FormatDuration(s.Absolute)), "a remembered session lives longer than others")
	}
	r.checkProviders(z)
	seen := map[string]bool{}
	for n, c := range i.Clients {
		path := fmt.Sprintf("identity.clients[%d]", n)
		if seen[c.ID] {
			r.fail(r.at(path+".id").value, fmt.Sprintf("client %q is there twice", c.ID), "give each client an id of its own")
		}
		seen[c.ID] = true
		r.checkClient(path, c)
	}
}

func listenerNames(z *Zone) []string {
	names := make([]string, len(z.Listeners))
	for i, l := range z.Listeners {
		names[i] = l.Name
	}
	return names
}
