package zone

import (
	"cmp"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Direction says whether a change opens or closes.
type Direction string

// The directions of a change.
const (
	Gain  Direction = "gain"   // somebody may do more
	Lose  Direction = "lose"   // somebody may do less
	Alter Direction = "change" // otherwise: neither more nor less, or it cannot be told
)

// Change is one difference of access between two maps.
type Change struct {
	Direction Direction `json:"direction"`
	What      string    `json:"what"` // GET /orders/{id} of orders; listener public; calls of orders
	Who       string    `json:"who"`  // who gains or loses
	Text      string    `json:"text"` // what became different
}

// String is one line: + for gain, - for loss, ~ for the rest.
func (c Change) String() string {
	sign := map[Direction]string{Gain: "+", Lose: "-", Alter: "~"}[c.Direction]
	return sign + " " + c.What + ": " + c.Who + ": " + c.Text
}

// Diff returns who gains and who loses which access when the map becomes
// another, sorted by what changes; nil when nobody does. What is equal in
// effect (order, defaults written out, file names) is no change.
func Diff(before, after *Zone) []Change {
	var d difference
	d.zone(before, after)
	d.listeners(before, after)
	d.identity(before, after)
	d.services(before, after)
	slices.SortStableFunc(d.changes, func(a, b Change) int {
		return cmp.Or(cmp.Compare(a.What, b.What), cmp.Compare(a.Direction, b.Direction), cmp.Compare(a.Text, b.Text))
	})
	return d.changes
}

// difference collects the changes of one thing at a time.
type difference struct {
	what    string
	changes []Change
}

func (d *difference) add(dir Direction, who, text string) {
	d.changes = append(d.changes, Change{dir, d.what, who, text})
}

// set tells the members that a set gained and lost.
func (d *difference) set(before, after []string, tell func(dir Direction, member string)) {
	for _, m := range after {
		if !slices.Contains(before, m) {
			tell(Gain, m)
		}
	}
	for _, m := range before {
		if !slices.Contains(after, m) {
			tell(Lose, m)
		}
	}
}

// flag tells a condition that came (the callers without it lose) or went.
func (d *difference) flag(before, after bool, who, text string) {
	switch {
	case !before && after:
		d.add(Lose, who, text+" is needed now")
	case before && !after:
		d.add(Gain, who, text+" is not needed any more")
	}
}

// rate tells a bound that became tighter or wider.
func (d *difference) rate(before, after Rate, who string) {
	text := cmp.Or(before.String(), "none") + " became " + cmp.Or(after.String(), "none")
	switch {
	case before == after:
	case after.Count == 0:
		d.add(Gain, who, "limit: "+text)
	case before.Count == 0:
		d.add(Lose, who, "limit: "+text)
	case after.Window == before.Window && after.Count > before.Count:
		d.add(Gain, who, "limit: "+text)
	case after.Window == before.Window:
		d.add(Lose, who, "limit: "+text)
	default:
		d.add(Alter, who, "limit: "+text)
	}
}

// value tells a plain difference.
func (d *difference) value(before, after, who, name string) {
	if before != after {
		d.add(Alter, who, name+": "+cmp.Or(before, "none")+" became "+cmp.Or(after, "none"))
	}
}

// zone tells what holds for all of it.
func (d *difference) zone(before, after *Zone) {
	d.what = "zone"
	d.value(before.Name, after.Name, "everybody", "zone")
	d.set(after.Policies, before.Policies, func(dir Direction, glob string) { // fewer policies let more pass
		d.add(dir, "every caller", "policies "+glob+" "+words(opposite(dir)))
	})
	d.value(trafficText(before.Traffic), trafficText(after.Traffic), "clients that stand out", "traffic")
	d.longer(before.RevocationGrace, after.RevocationGrace, "whose access was revoked", "revocation_grace")
	d.longer(before.Staleness, after.Staleness, "callers of a guard that hears nothing", "staleness")
}

// longer tells a time in which somebody keeps access.
func (d *difference) longer(before, after time.Duration, who, name string) {
	text := name + ": " + FormatDuration(before) + " became " + FormatDuration(after)
	switch {
	case after > before:
		d.add(Gain, who, text)
	case after < before:
		d.add(Lose, who, text)
	}
}

func opposite(dir Direction) Direction {
	if dir == Gain {
		return Lose
	}
	return Gain
}

func trafficText(t Traffic) string {
	parts := []string{t.Action}
	for _, name := range sortedKeys(t.Windows) {
		parts = append(parts, name+" "+t.Windows[name].String())
	}
	return strings.Join(parts, ", ")
}

func (d *difference) listeners(before, after *Zone) {
	names := func(z *Zone) []string { return listenerNames(z) }
	d.set(names(before), names(after), func(dir Direction, name string) {
		d.what = "listener " + name
		if dir == Gain {
			d.add(Gain, "who reaches "+after.Listener(name).Address, "listener added")
		} else {
			d.add(Lose, "who reached "+before.Listener(name).Address, "listener removed")
		}
	})
	for _, a := range after.Listeners {
		b := before.Listener(a.Name)
		if b == nil {
			continue
		}
		d.what = "listener " + a.Name
		d.value(b.Address, a.Address, "everybody", "address")
		d.set(b.Hosts, a.Hosts, func(dir Direction, host string) {
			d.add(dir, "clients of "+host, "host "+words(dir))
		})
		d.flag(b.ClientCA != "", a.ClientCA != "", "clients without a certificate", "a client certificate")
		if b.ClientCA != "" && a.ClientCA != "" { // by name: the folders of the two maps may differ
			d.value(filepath.Base(b.ClientCA), filepath.Base(a.ClientCA), "clients with a certificate", "client_ca")
		}
		d.flag(!b.Anonymous, !a.Anonymous, "anonymous", "a credential")
		d.set(prefixes(b), prefixes(a), func(dir Direction, network string) {
			d.add(dir, "proxies in "+network, "trust in their word on the client's address "+words(dir))
		})
		d.rate(b.Limits.Rate, a.Limits.Rate, "everybody")
	}
	d.what = "listener admin"
	d.value(before.Admin, after.Admin, "administrators", "address")
	d.what = "listener control"
	d.value(before.Control, after.Control, "services", "address")
}

func prefixes(l *Listener) []string {
	list := make([]string, len(l.TrustedProxies))
	for i, p := range l.TrustedProxies {
		list[i] = p.String()
	}
	return list
}

func words(dir Direction) string {
	if dir == Gain {
		return "added"
	}
	return "removed"
}

func (d *difference) identity(before, after *Zone) {
	b, a := before.Identity, after.Identity
	d.what = "identity"
	d.value(b.Listener, a.Listener, "users", "listener")
	d.value(b.URL, a.URL, "users and OAuth clients", "url")
	if b.Registration != a.Registration {
		dir := Lose
		if a.Registration > b.Registration { // closed, invited, open
			dir = Gain
		}
		d.add(dir, "who has no account", "registration: "+b.Registration.String()+" became "+a.Registration.String())
	}
	d.flag(b.MFARequired, a.MFARequired, "users with one factor", "a second factor")
	d.set(providerNames(b), providerNames(a), func(dir Direction, name string) {
		d.add(dir, "users of "+name, "identity provider "+words(dir))
	})
	d.set(clientIDs(b), clientIDs(a), func(dir Direction, id string) {
		d.add(dir, "OAuth client "+id, "client "+words(dir))
	})
	for _, now := range a.Providers {
		if n := slices.Index(providerNames(b), now.Name); n >= 0 {
			d.provider(b.Providers[n], now)
		}
	}
	for _, now := range a.Clients {
		if n := slices.Index(clientIDs(b), now.ID); n >= 0 {
			d.client(b.Clients[n], now)
		}
	}
	d.longer(b.Sessions.Idle, a.Sessions.Idle, "users", "sessions.idle")
	d.longer(b.Sessions.Absolute, a.Sessions.Absolute, "users", "sessions.absolute")
	d.longer(b.Sessions.Remember, a.Sessions.Remember, "users who are remembered", "sessions.remember")
	d.age(b.PasswordMax, a.PasswordMax, "users with an older password", "password.max_age")
}

func (d *difference) client(was, now Client) {
	who := "OAuth client " + now.ID
	d.value(was.Kind, now.Kind, who, "kind")
	d.set(was.RedirectURIs, now.RedirectURIs, func(dir Direction, uri string) { d.add(dir, who, "redirect to "+uri+" "+words(dir)) })
	d.set(was.Scopes, now.Scopes, func(dir Direction, scope string) { d.add(dir, who, "scope "+scope+" "+words(dir)) })
	d.set(was.grants(), now.grants(), func(dir Direction, grant string) { d.add(dir, who, "grant "+grant+" "+words(dir)) })
	d.set(was.LogoutURIs, now.LogoutURIs, func(dir Direction, uri string) { d.add(dir, who, "logout to "+uri+" "+words(dir)) })
	d.value(was.BackchannelLogoutURI, now.BackchannelLogoutURI, who, "backchannel_logout_uri")
	d.value(was.proof(), now.proof(), who, "authentication")
	d.value(was.form(), now.form(), who, "tokens")
}

// grants are those in force, by default or by name.
func (c Client) grants() []string {
	var list []string
	for _, g := range Grants() {
		if c.Allows(g) {
			list = append(list, g)
		}
	}
	return list
}

// proof tells how a client shows who it is.
func (c Client) proof() string {
	switch {
	case c.Secret != nil:
		return "secret"
	case c.JWKS != "":
		return "jwks " + filepath.Base(c.JWKS)
	case c.Certificate != "":
		return "certificate " + c.Certificate
	}
	return "none"
}

// form tells what its tokens are.
func (c Client) form() string {
	form := "opaque"
	if c.JWTTokens {
		form = "jwt"
	}
	for _, also := range []struct {
		name string
		on   bool
	}{{"dpop", c.DPoP}, {"par", c.PAR}, {"without consent", !c.Consent}} {
		if also.on {
			form += ", " + also.name
		}
	}
	return form
}

func providerNames(i Identity) []string {
	list := make([]string, len(i.Providers))
	for n, p := range i.Providers {
		list[n] = p.Name
	}
	return list
}

func clientIDs(i Identity) []string {
	list := make([]string, len(i.Clients))
	for n, c := range i.Clients {
		list[n] = c.ID
	}
	return list
}
