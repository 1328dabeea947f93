package zone

import "fmt"

// checkClient finds what cannot work of an OAuth client, and what would be weaker
// than it looks.
func (r *reader) checkClient(path string, c Client) {
	for _, list := range []struct {
		key  string
		uris []string
	}{{"redirect_uris", c.RedirectURIs}, {"logout_uris", c.LogoutURIs}} {
		for n, uri := range list.uris {
			if !safeRedirect(uri) {
				r.fail(r.at(fmt.Sprintf("%s.%s[%d]", path, list.key, n)).value, list.key+": plain http to another host", "write https://")
			}
		}
	}
	if c.BackchannelLogoutURI != "" && !safeRedirect(c.BackchannelLogoutURI) {
		r.fail(r.at(path+".backchannel_logout_uri").value, "backchannel_logout_uri: plain http to another host", "write https://")
	}
	ways := 0
	for _, key := range []struct {
		name  string
		given bool
	}{{"secret", c.Secret != nil}, {"jwks", c.JWKS != ""}, {"certificate", c.Certificate != ""}} {
		if !key.given {
			continue
		}
		if ways++; c.Kind == "public" {
			r.fail(r.at(path+"."+key.name).key, fmt.Sprintf("client %q is public and has a %s", c.ID, key.name), "write kind: confidential, or leave "+key.name+" out: a public client can keep nothing")
		}
	}
	switch {
	case c.Kind == "confidential" && ways == 0:
		r.fail(r.at(path+".id").value, fmt.Sprintf("client %q is confidential and cannot show who it is", c.ID), "write one of secret, jwks and certificate")
	case ways > 1:
		r.fail(r.at(path+".id").value, fmt.Sprintf("client %q has several ways to show who it is", c.ID), "leave one of secret, jwks and certificate: the weakest would count")
	}
	for n, grant := range c.Grants {
		at := r.at(fmt.Sprintf("%s.grants[%d]", path, n)).value
		switch {
		case grant == "authorization_code" && len(c.RedirectURIs) == 0:
			r.fail(at, "authorization_code without redirect_uris", "write redirect_uris: [URL]")
		case (grant == "client_credentials" || grant == "token_exchange") && c.Kind == "public":
			r.fail(at, grant+" for a public client", "write kind: confidential")
		case grant == "refresh_token" && !c.Allows("authorization_code") && !c.Allows("device_code"):
			r.fail(at, "refresh_token without a grant that gives the first one", "add authorization_code or device_code")
		}
	}
	if len(c.Grants) == 0 && !c.Allows("authorization_code") && !c.Allows("client_credentials") {
		r.fail(r.at(path+".id").value, fmt.Sprintf("client %q can get no token", c.ID), "write redirect_uris: [URL], or grants")
	}
}
