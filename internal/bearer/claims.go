package bearer

import (
	"slices"
	"strings"
	"time"

	"sallyport.dev/internal/outward"
	"sallyport.dev/internal/policy"
	"sallyport.dev/zone"
)

// names says whether aud is the audience or a list with it (RFC 7519 section 4.1.3).
func names(c outward.Object, audience string) bool {
	switch aud := c["aud"].(type) {
	case string:
		return aud == audience
	case []any:
		found := false
		for _, a := range aud {
			s, ok := a.(string)
			if !ok {
				return false
			}
			found = found || s == audience
		}
		return found && len(aud) <= maxAudience
	default:
		return false
	}
}

// read makes a principal of claims that are not verified yet, or refuses them.
func (i *issuer) read(t *jwt, now time.Time) (policy.Principal, time.Time, error) {
	var none policy.Principal
	c := t.claims
	if !slices.Contains(i.Algorithms, string(t.algorithm)) {
		return none, time.Time{}, refuse(i, "alg %q is not among %v", outward.Clip(string(t.algorithm)), i.Algorithms)
	}
	if !names(c, i.Audience) {
		return none, time.Time{}, refuse(i, "aud does not name %q", i.Audience)
	}
	if why := notAccess(t); why != "" {
		return none, time.Time{}, refuse(i, "%s", why)
	}
	expires, ok := c.Moment("exp")
	if !ok {
		return none, time.Time{}, refuse(i, "exp is missing or no time")
	}
	for _, name := range []string{"nbf", "iat"} {
		at, ok := c.Moment(name)
		switch {
		case !c.Has(name):
		case !ok:
			return none, time.Time{}, refuse(i, "%s is no time", name)
		case at.After(now.Add(leeway)):
			return none, time.Time{}, refuse(i, "%s is %s in the future", name, at.Sub(now).Round(time.Second))
		}
	}
	if !visible(c.Text("sub")) {
		return none, time.Time{}, refuse(i, "sub is missing, longer than %d bytes, or not of visible ASCII", maxSubject)
	}
	client, err := i.clientOf(c)
	if err != nil {
		return none, time.Time{}, err
	}
	if !now.Before(expires) {
		return none, time.Time{}, errExpired
	}
	return policy.Principal{
		Kind: policy.User, Subject: i.Name + ":" + c.Text("sub"), Client: client,
		Roles: rolesOf(c, i.Roles), Level: 1, Method: Method, AuthTime: authTime(c, now),
	}, expires, nil
}

// notAccess says what a token is that is no access token, or one that must not
// be taken from whoever holds it. JWT has no sure mark for access tokens but
// at+jwt, which few issuers set: these are the marks of the others.
func notAccess(t *jwt) string {
	c := t.claims
	kind := strings.ToLower(c.Text("typ")) // Keycloak
	switch kind {
	case "id", "serialized-id", "refresh", "offline", "logout":
		return "the claim typ says " + kind
	}
	if use := c.Text("token_use"); use != "" && use != "access" { // Cognito
		return "the claim token_use says " + outward.Clip(use)
	}
	for _, name := range []string{"at_hash", "c_hash", "s_hash"} { // OpenID Connect Core section 3.3.2.11
		if c.Has(name) {
			return "it is an ID token: it has " + name
		}
	}
	switch {
	case c.Has("nonce") && !t.access && kind != "bearer": // older Keycloaks put one into access tokens
		return "it looks like an ID token: it has nonce"
	case c.Has("events"): // RFC 8417
		return "it is a security event token"
	case c.Has("cnf"): // RFC 7800: RFC 8705, RFC 9449
		return "it is bound to its sender by cnf, which is not checked here"
	}
	return ""
}

// clientOf returns who asked for the token, PROVIDER:CLIENT: clients of the zone
// have no colon in their ids.
func (i *issuer) clientOf(c outward.Object) (string, error) {
	id := ""
	for _, name := range []string{"client_id", "azp"} { // RFC 9068 section 2.2; OpenID Connect Core section 2
		if !c.Has(name) {
			continue
		}
		s := c.Text(name)
		if !visible(s) || id != "" && id != s {
			return "", refuse(i, "client_id and azp are no client's id, or differ")
		}
		id = s
	}
	switch {
	case len(i.Clients) > 0 && !slices.Contains(i.Clients, id):
		return "", refuse(i, "client %q is not among %v", outward.Clip(id), i.Clients)
	case id == "":
		return "", nil
	}
	return i.Name + ":" + id, nil
}

// authTime is when the user logged in, if the issuer says so and it can be: the
// zero time is long ago.
func authTime(c outward.Object, now time.Time) time.Time {
	at, ok := c.Moment("auth_time")
	if !ok || at.After(now.Add(leeway)) {
		return time.Time{}
	}
	return earlier(at, now)
}

// visible says whether a name can stand in a header, a record and a path of a
// route as it is, so that it is the same everywhere.
func visible(s string) bool {
	for k := range len(s) {
		if s[k] <= ' ' || s[k] > '~' {
			return false
		}
	}
	return s != "" && len(s) <= maxSubject
}

// rolesOf returns the roles that the map gives for the values of its claim,
// sorted. Everything else in the claim is passed over.
func rolesOf(c outward.Object, m *zone.RoleMap) []string {
	if m == nil {
		return nil
	}
	var roles []string
	switch v := at(c, m.Claim).(type) {
	case string:
		roles = slices.Clone(m.Map[v])
	case []any:
		for _, one := range v {
			if s, ok := one.(string); ok {
				roles = append(roles, m.Map[s]...)
				if len(roles) > maxToken { // short values that have many roles
					roles = distinct(roles)
				}
			}
		}
	}
	return distinct(roles)
}

func distinct(list []string) []string {
	slices.Sort(list)
	return slices.Compact(list)
}

// at returns a claim, or what a JSON pointer (RFC 6901) leads to through objects.
func at(c outward.Object, claim string) any {
	if !strings.HasPrefix(claim, "/") {
		return c[claim]
	}
	var v any = map[string]any(c)
	for step := range strings.SplitSeq(claim[1:], "/") {
		object, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = object[strings.ReplaceAll(strings.ReplaceAll(step, "~1", "/"), "~0", "~")]
	}
	return v
}
