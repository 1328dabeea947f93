package gateway

import "strings"

// sessionCookie holds the outside session. It is for the gateway alone: services
// never read it and never set it.
const sessionCookie = "__Host-session"

// cookiesInward returns a Cookie field without the session cookie. A field that
// does not hold it is returned as it came; of others the cookies that stay keep
// their bytes and their order. Empty means that nothing is left.
func cookiesInward(field string) string {
	if !strings.Contains(field, sessionCookie) {
		return field
	}
	var kept strings.Builder
	for pair := range strings.SplitSeq(field, ";") {
		name, _, _ := strings.Cut(pair, "=")
		// Some services trim the name, so "__Host-session =x" is ours too.
		pair = strings.Trim(pair, " \t")
		if pair == "" || strings.Trim(name, " \t") == sessionCookie {
			continue
		}
		if kept.Len() > 0 {
			kept.WriteString("; ")
		}
		kept.WriteString(pair)
	}
	return kept.String()
}

// setsSession reports whether a Set-Cookie field would set the session cookie: a
// service could fix a victim's session with it. Browsers that know no nameless
// cookies send "=__Host-session=x" back as "__Host-session=x", so it counts
// (RFC 6265bis section 5.7, step on empty names).
func setsSession(field string) bool {
	pair, _, _ := strings.Cut(field, ";")
	name, value, found := strings.Cut(pair, "=")
	name, value = strings.Trim(name, " \t"), strings.Trim(value, " \t")
	if !found {
		name, value = "", name
	}
	if name != "" {
		return strings.EqualFold(name, sessionCookie)
	}
	return len(value) >= len(sessionCookie) && strings.EqualFold(value[:len(sessionCookie)], sessionCookie)
}

// withoutSession returns the Set-Cookie fields that a service may send; the
// slice itself when there is nothing to remove, nil when nothing is left.
func withoutSession(fields []string) []string {
	for i, f := range fields {
		if !setsSession(f) {
			continue
		}
		kept := append([]string(nil), fields[:i]...)
		for _, f := range fields[i+1:] {
			if !setsSession(f) {
				kept = append(kept, f)
			}
		}
		return kept
	}
	return fields
}
