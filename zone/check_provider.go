package zone

import (
	"fmt"
	"net/url"
	"strings"
)

func (r *reader) checkProviders(z *Zone) {
	issuers := map[string]string{} // names of bearer providers
	kinds := map[string]string{}   // of those that log users in
	for _, p := range z.Identity.Providers {
		r.checkProvider(p)
		path := pathOf("identity.providers", p.Name)
		if p.Name == "spiffe" { // spiffe://ZONE/SERVICE must stay the subject of a service
			r.fail(r.at(path).key, "the users of a provider spiffe would be named as services are: spiffe:...", "give it another name")
		}
		if p.Issuer == "" {
			continue
		}
		at := r.at(path + ".issuer").value
		if p.Issuer == "https://"+z.Name || p.Issuer == z.Identity.URL {
			r.fail(at, "issuer: "+p.Issuer+" is the zone itself", "name the issuer that the zone is to trust besides itself")
		} else if other, twice := issuers[p.Issuer]; twice && p.Kind == bearerKind {
			r.fail(at, fmt.Sprintf("providers %s and %s have one issuer: whose its tokens are is open", other, p.Name), "keep one of them")
		}
		if p.Kind == bearerKind {
			issuers[p.Issuer] = p.Name
			continue
		}
		source := strings.TrimSuffix(p.Issuer, "/")
		if kind := kinds[source]; kind != "" && kind != p.Kind {
			r.fail(at, fmt.Sprintf("issuer: %s is of a provider of kind %s too: their users could be taken for each other", p.Issuer, kind), "keep one of them")
		}
		kinds[source] = p.Kind
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
		{"title", p.Title != "", []string{"oidc", "github", samlKind}, true},
		{"issuer", p.Issuer != "", []string{"oidc", "github", bearerKind}, p.Kind == "github"},
		{"audience", p.Audience != "", []string{bearerKind}, false},
		{"jwks", p.JWKS != "", []string{bearerKind}, true},
		{"algorithms", p.Algorithms != nil, []string{"oidc", bearerKind}, true},
		{"roles", p.Roles != nil, []string{bearerKind}, true},
		{"clients", p.Clients != nil, []string{bearerKind}, true},
		{"ca", p.CA != "", []string{"oidc", "github", samlKind, bearerKind}, true},
		{"client_id", p.ClientID != "", []string{"oidc", "github"}, false},
		{"client_secret", p.ClientSecret != nil, []string{"oidc", "github"}, p.Kind == "oidc"},
		{"scopes", p.Scopes != nil, []string{"oidc"}, true},
		{"metadata", p.Metadata != "", []string{samlKind}, false},
		{"entity_id", p.EntityID != "", []string{samlKind}, !isURL(p.Metadata)},
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
	if p.Kind == "oidc" && p.Scopes != nil && !isOneOf(openID, p.Scopes) {
		r.fail(r.at(path+".scopes").value, "scopes: without openid the provider does not say who logged in", "add openid")
	}
	if p.Kind == samlKind && p.Metadata != "" && !isURL(p.Metadata) && p.CA != "" {
		r.fail(r.at(path+".ca").key, fmt.Sprintf("provider %s reads its metadata from a file: nothing is fetched", p.Name), "remove ca")
	}
}

// secureURL says whether nobody on the way can answer in the place of the host.
func secureURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname()))
}
