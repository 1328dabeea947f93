package zone

import (
	"fmt"
	"net/url"
)

func (r *reader) checkProviders(z *Zone) {
	issuers := map[string]string{} // names of bearer providers
	for _, p := range z.Identity.Providers {
		r.checkProvider(p)
		path := pathOf("identity.providers", p.Name)
		if p.Name == "spiffe" { // spiffe://ZONE/SERVICE must stay the subject of a service
			r.fail(r.at(path).key, "the users of a provider spiffe would be named as services are: spiffe:...", "give it another name")
		}
		if p.Kind != bearerKind || p.Issuer == "" {
			continue
		}
		at := r.at(path + ".issuer").value
		switch other, twice := issuers[p.Issuer]; {
		case p.Issuer == "https://"+z.Name:
			r.fail(at, "issuer: "+p.Issuer+" is the zone itself", "name the issuer that the zone is to trust besides itself")
		case twice:
			r.fail(at, fmt.Sprintf("providers %s and %s have one issuer: whose its tokens are is open", other, p.Name), "keep one of them")
		}
		issuers[p.Issuer] = p.Name
	}
}

// checkProvider makes sure that a provider has what its kind needs, and nothing
// that its kind ignores.
func (r *reader) checkProvider(p Provider) {
	path := pathOf("identity.providers", p.Name)
	for _, k := range []struct {
		name     string
		written  bool
		kinds    []string
		optional bool
	}{
		{"issuer", p.Issuer != "", []string{"oidc", "saml", bearerKind}, false},
		{"audience", p.Audience != "", []string{bearerKind}, false},
		{"jwks", p.JWKS != "", []string{bearerKind}, true},
		{"algorithms", p.Algorithms != nil, []string{bearerKind}, true},
		{"roles", p.Roles != nil, []string{bearerKind}, true},
		{"clients", p.Clients != nil, []string{bearerKind}, true},
		{"ca", p.CA != "", []string{bearerKind}, true},
		{"client_id", p.ClientID != "", []string{"oidc", "github"}, false},
		{"client_secret", p.ClientSecret != nil, []string{"oidc", "github"}, false},
	} {
		takes := isOneOf(p.Kind, k.kinds)
		_, failed := r.places[path+"."+k.name]
		switch {
		case p.Kind == "":
		case takes && !k.optional && !k.written && !failed:
			r.fail(r.at(path).key, fmt.Sprintf("provider %s of kind %s has no %s", p.Name, p.Kind, k.name), "write "+k.name)
		case !takes && k.written:
			r.fail(r.at(path+"."+k.name).key, fmt.Sprintf("provider %s of kind %s takes no %s", p.Name, p.Kind, k.name), "remove it")
		}
	}
	if p.Kind != bearerKind && p.Issuer != "" && !isHTTPS(p.Issuer) {
		r.fail(r.at(path+".issuer").value, fmt.Sprintf("issuer: a provider of kind %s is not reached over plain http", p.Kind), "write https://")
	}
}

func isHTTPS(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme == "https"
}

// secureURL says whether nobody on the way can answer in the place of the host.
func secureURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname()))
}
