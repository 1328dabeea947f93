package zone

import "strings"

// bearerKind is the kind of provider whose tokens count as they are.
const bearerKind = "bearer"

const samlKind = "saml"

func providersType() typ[[]Provider] {
	provider := object("identity provider", "kind, and what the kind needs",
		key("kind", oneOf("kind of provider", plainWords("oidc", "github", samlKind, bearerKind)), func(p *Provider) *string { return &p.Kind },
			"what it speaks; `bearer`: JWTs of the issuer count as `user` with the `sub` NAME:SUB, for moving in").must(),
		key("title", title(), func(p *Provider) *string { return &p.Title }, "what its button says (oidc, github, saml)").says("NAME"),
		key("issuer", issuer(), func(p *Provider) *string { return &p.Issuer },
			"who issues, exactly as its tokens say (oidc, bearer); an own GitHub server (github)"),
		key("audience", text(), func(p *Provider) *string { return &p.Audience }, "the audience that its tokens must name (bearer)"),
		key("jwks", jwksURL(), func(p *Provider) *string { return &p.JWKS }, "where its keys are (bearer)").
			says("jwks_uri of ISSUER/.well-known/openid-configuration"),
		key("algorithms", oneOrList(oneOf("signature algorithm", plainWords(algorithms()...))), func(p *Provider) *[]string { return &p.Algorithms },
			"how its tokens may be signed (oidc, bearer)").says("ES256, ES384, RS256, PS256, EdDSA"),
		key("roles", optional(roleMapType()), func(p *Provider) **RoleMap { return &p.Roles },
			"which roles its users have, by a claim of the token (bearer)").says("none"),
		key("clients", oneOrList(text()), func(p *Provider) *[]string { return &p.Clients },
			"the clients whose tokens count, by the claim `client_id` or `azp` (bearer)").says("any"),
		key("ca", filePath(), func(p *Provider) *string { return &p.CA }, "PEM file with the only roots for its TLS").says("those of the system"),
		key("client_id", text(), func(p *Provider) *string { return &p.ClientID }, "the zone's id at the provider (oidc, github)"),
		key("client_secret", optional(secret()), func(p *Provider) **Secret { return &p.ClientSecret },
			"the zone's secret at the provider (oidc, github); an oidc provider may have given none"),
		key("scopes", oneOrList(scope()), func(p *Provider) *[]string { return &p.Scopes }, "what is asked for (oidc)").says("openid, email, profile"),
		key("metadata", metadata(), func(p *Provider) *string { return &p.Metadata },
			"file or https url of its metadata, whose certificates sign for it (saml)"),
		key("entity_id", text(), func(p *Provider) *string { return &p.EntityID },
			"what the metadata must be of (saml); required where it comes by url").says("what the file says"),
	)
	return object("providers", "providers by name",
		&each[[]Provider, string, Provider]{name(), provider, "an identity provider", func(all *[]Provider, name string, _ Pos, p Provider) {
			p.Name = name
			*all = append(*all, p)
		}})
}

// algorithms are the asymmetric ones of RFC 7518 section 3.1 and RFC 8037
// section 3.1. A symmetric one would make every verifier an issuer, and `none`
// everybody.
func algorithms() []string {
	return []string{"ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA"}
}

// openID is the scope without which there is no ID token.
const openID = "openid"

func defaultScopes() []string { return []string{openID, "email", "profile"} }

func defaultAlgorithms() []string { return []string{"ES256", "ES384", "EdDSA", "PS256", "RS256"} }

func roleMapType() typ[RoleMap] {
	roles := object("roles by value", "roles by value of the claim",
		&each[map[string][]string, string, []string]{claimValue(), oneOrList(role()), "the roles of users whose claim has this value", func(all *map[string][]string, value string, _ Pos, roles []string) {
			put(all, value, roles)
		}})
	return object("role map", "claim and map",
		key("claim", claim(), func(m *RoleMap) *string { return &m.Claim },
			"the claim: a text or a list of texts; /a/b is the member b of the claim a").must(),
		key("map", roles, func(m *RoleMap) *map[string][]string { return &m.Map }, "roles by value of the claim; other values are no roles").must(),
	)
}

// claim is where in a token something stands: the name of a claim, or a JSON
// pointer (RFC 6901) into one.
func claim() typ[string] {
	return matching("claim", "the name of a claim, or a JSON pointer such as /realm_access/roles", `^([^/\x00-\x1f\x7f][^\x00-\x1f\x7f]*|(/([^~/\x00-\x1f\x7f]|~[01])+)+)$`, 200)
}

func claimValue() typ[string] {
	return matching("value of a claim", "text on one line", `^[^\x00-\x1f\x7f]+$`, 500)
}

// issuer is compared with what tokens say, so it is kept as it is written.
func issuer() typ[string] {
	return httpsURL("issuer", "an https url, such as https://accounts.google.com")
}

func title() typ[string] {
	return matching("title", "text on one line", `^[^\x00-\x1f\x7f]+$`, 60)
}

// metadata is a file, or an url when it has a scheme.
func metadata() typ[string] {
	const doc = "a path relative to the folder of the map, or an https url"
	file, address := filePath(), httpsURL("metadata url", "an https url, such as https://sso.example/metadata")
	return scalar("metadata", doc, `^[^\x00-\x1f\x7f]+$`, func(s string) (string, error) {
		if isURL(s) {
			return address.parse(s)
		}
		return file.parse(s)
	})
}

// isURL says whether a value that may be a file is an url.
func isURL(s string) bool { return strings.Contains(s, "://") }

func jwksURL() typ[string] {
	return httpsURL("jwks url", "an https url, such as https://sso.example/keys")
}

// httpsURL is the address of who must be known for sure: plain http is for
// loopback alone.
func httpsURL(name, doc string) typ[string] {
	of := webURL(name, doc, "https", "http")
	return scalar(name, doc, `^https?://[^@?#]+$`, func(s string) (string, error) {
		v, err := of.parse(s)
		switch {
		case err != nil:
		case len(v) > 500:
			err = errNo
		case !secureURL(v):
			err = wrong("write https://; plain http is for loopback only", "%s can be forged on the way", quote(s))
		}
		return v, err
	})
}
