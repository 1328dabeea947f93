package zone

import (
	"cmp"
	"slices"
	"strings"
)

// String tells in one line whom a provider lets in.
func (p Provider) String() string {
	parts := []string{p.Kind}
	for _, part := range []string{p.Issuer, p.Audience, p.ClientID, p.metadataName(), p.EntityID} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	if len(p.Clients) > 0 {
		parts = append(parts, "clients "+strings.Join(p.Clients, " or "))
	}
	if pairs := p.Roles.pairs(); len(pairs) > 0 {
		parts = append(parts, "roles by "+p.Roles.Claim+": "+strings.Join(pairs, ", "))
	}
	return strings.Join(parts, "; ")
}

// pairs lists who has which role, sorted: `shop-support is support`.
func (m *RoleMap) pairs() []string {
	var list []string
	if m != nil {
		for _, value := range sortedKeys(m.Map) {
			for _, role := range m.Map[value] {
				list = append(list, value+" is "+role)
			}
		}
	}
	return list
}

func (p *Provider) sort() {
	slices.Sort(p.Algorithms)
	slices.Sort(p.Clients)
	slices.Sort(p.Scopes)
	if p.Roles != nil {
		for _, roles := range p.Roles.Map {
			slices.Sort(roles)
		}
	}
}

// provider tells what became different for the users of a provider.
func (d *difference) provider(was, now Provider) {
	who := "users of " + now.Name
	d.value(sourceText(was), sourceText(now), who, "identity provider")
	d.value(was.JWKS, now.JWKS, who, "jwks")
	d.value(was.caName(), now.caName(), who, "ca")
	d.value(was.metadataName(), now.metadataName(), who, "metadata")
	if w, n := was.EntityID, now.EntityID; w != n { // without one it is the file's
		d.value(w, n, who, "entity_id")
	}
	d.set(was.Scopes, now.Scopes, func(dir Direction, scope string) {
		d.add(Alter, "the zone about "+who, "scope "+scope+" "+words(dir))
	})
	d.set(was.Algorithms, now.Algorithms, func(dir Direction, name string) {
		d.add(dir, who+" with tokens signed by "+name, "algorithm "+words(dir))
	})
	switch {
	case len(was.Clients) == 0 && len(now.Clients) > 0:
		d.add(Lose, who, "clients: any became "+strings.Join(now.Clients, " or "))
	case len(was.Clients) > 0 && len(now.Clients) == 0:
		d.add(Gain, who, "clients: "+strings.Join(was.Clients, " or ")+" became any")
	default:
		d.set(was.Clients, now.Clients, func(dir Direction, id string) { d.add(dir, who+" through "+id, "client "+words(dir)) })
	}
	if w, n := was.Roles.claim(), now.Roles.claim(); w != "" && n != "" {
		d.value(w, n, who, "roles.claim")
	}
	d.set(was.Roles.pairs(), now.Roles.pairs(), func(dir Direction, pair string) { d.add(dir, who, "role "+words(dir)+": "+pair) })
}

// sourceText is where a provider's users come from.
func sourceText(p Provider) string {
	return strings.Join(slices.DeleteFunc([]string{p.Kind, p.Issuer, p.Audience, p.ClientID}, func(s string) bool { return s == "" }), ", ")
}

func (m *RoleMap) claim() string {
	if m == nil {
		return ""
	}
	return m.Claim
}

// metadataName is an url, or a file by name, as caName.
func (p Provider) metadataName() string {
	if isURL(p.Metadata) {
		return p.Metadata
	}
	return p.Metadata[strings.LastIndexAny(p.Metadata, `/\`)+1:]
}

// caName is by name: the folders of two maps may differ.
func (p Provider) caName() string {
	return cmp.Or(p.CA[strings.LastIndexAny(p.CA, `/\`)+1:], "system")
}
