package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"sallyport.dev/zone"
)

// zoneMap checks that the map loads and serves, and that its names lead here.
func (e *examination) zoneMap(ctx context.Context) {
	switch {
	case e.MapError != nil:
		e.mapError()
		return
	case e.Zone == nil:
		e.unknown("map", "sallyport doctor ZONE", "none was named: ports, services and engines are not looked at")
		return
	}
	e.notices()
	e.inUse()
	e.resolve(ctx)
}

func (e *examination) mapError() {
	var wrong *zone.Errors
	if errors.As(e.MapError, &wrong) && len(wrong.List) > 0 {
		e.fail("map", "sallyport check ZONE shows all of them", "%d errors; the first: %s", len(wrong.List)+wrong.More, wrong.List[0].Error())
		return
	}
	e.fail("map", "sallyport check ZONE", "%v", e.MapError)
}

func (e *examination) notices() {
	const name = "map"
	const mend = "sallyport check ZONE shows all of them"
	var by [4]int
	for _, n := range e.Zone.Notices {
		if int(n.Effect) < len(by) {
			by[n.Effect]++
		}
		if n.Effect == zone.StopsServe {
			e.fail(name, mend, "`serve` refuses it: %s: %s: %s", n.Pos, n.Path, n.Text)
			return
		}
	}
	switch {
	case by[zone.RefusesRoute] > 0:
		e.warn(name, mend, "it loads; %d places close routes with 503 zone.not_enforced, %d are not enforced yet, %d are weak", by[zone.RefusesRoute], by[zone.Listed], by[zone.Warning])
	case len(e.Zone.Notices) > 0:
		e.warn(name, mend, "it loads; %d places are not enforced yet, %d are weak", by[zone.Listed], by[zone.Warning])
	default:
		e.ok(name, "it loads without a notice; revision %.12s", e.Zone.Revision)
	}
}

// inUse compares the map that was named with the one in use.
func (e *examination) inUse() {
	const name = "in use"
	switch r := e.Running; {
	case r == nil:
	case r.Refused != "":
		e.fail(name, "mend the map; it is read again when it changes", "the zone goes on with an older map, since the last was refused: %s", r.Refused)
	case r.Revision != e.Zone.Revision:
		e.warn(name, "if this is its map: kill -HUP"+pidOf(r.PID)+", or start it again", "the running zone has revision %.12s, this map is %.12s", r.Revision, e.Zone.Revision)
	default:
		e.ok(name, "the running zone has this map")
	}
}

func pidOf(pid int) string {
	if pid == 0 {
		return " PID"
	}
	return fmt.Sprintf(" %d", pid)
}

const (
	resolveTime = 2 * time.Second // of one name
	mostNames   = 50
)

// resolve asks for the hosts of the listeners. That a name does not lead anywhere
// from here is a warning: this host need not be where clients are.
func (e *examination) resolve(ctx context.Context) {
	const name = "hosts"
	if e.Host.Resolve == nil {
		e.unknown(name, "", "nothing resolves names here")
		return
	}
	asked, known := 0, map[string]bool{}
	var lost []string
	for _, l := range e.Zone.Listeners {
		for _, host := range l.Hosts {
			if _, err := netip.ParseAddr(host); err == nil || local(host) || known[host] {
				continue
			}
			known[host] = true
			if asked++; asked > mostNames {
				e.unknown(name, "", "there are more than %d", mostNames)
				return
			}
			one, cancel := context.WithTimeout(ctx, resolveTime)
			list, err := e.Host.Resolve(one, host)
			cancel()
			if err != nil || len(list) == 0 {
				lost = append(lost, host)
			}
		}
	}
	switch {
	case len(lost) > 0:
		e.warn(name, "a DNS record that leads to the listener, or a line in /etc/hosts of the clients", "cannot be resolved here: %s", strings.Join(lost, ", "))
	case asked == 0:
		e.ok(name, "all are addresses, or localhost")
	default:
		e.ok(name, "all %d names can be resolved here", asked)
	}
}

// loopbackOnly says whether only processes of this host reach an address to listen on.
func loopbackOnly(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.Unmap().IsLoopback()
}
