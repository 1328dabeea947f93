package gateway

import (
	"slices"
	"strings"
)

// sessionCookie holds the outside session. It is for the gateway alone.
const sessionCookie = "__Host-session"

// ourCookies are those of the outer door and of the account service behind it:
// services never read them and never set them. Who has a device's is counted as
// the owner by the bounds of guessing; a flow's is half of what opens it.
var ourCookies = []string{sessionCookie, "__Host-flow", "__Host-device"}

// cookiesInward returns a Cookie field without our cookies, for services. A field
// that does not hold one is returned as it came; of others the cookies that stay
// keep their bytes and their order. Empty means that nothing is left.
func cookiesInward(field string) string { return cookiesWithout(field, ourCookies) }

// cookiesLocal is cookiesInward for routes of our own, which are shown all but the
// session.
func cookiesLocal(field string) string { return cookiesWithout(field, ourCookies[:1]) }

func cookiesWithout(field string, names []string) string {
	if !strings.Contains(field, "__Host-") {
		return field
	}
	var kept strings.Builder
	dropped := false
	for pair := range strings.SplitSeq(field, ";") {
		name, _, _ := strings.Cut(pair, "=")
		// Some services trim the name, so "__Host-session =x" is ours too.
		pair = strings.Trim(pair, " \t")
		if slices.Contains(names, strings.Trim(name, " \t")) {
			dropped = true
			continue
		}
		if pair == "" {
			continue
		}
		if kept.Len() > 0 {
			kept.WriteString("; ")
		}
		kept.WriteString(pair)
	}
	if !dropped {
		return field
	}
	return kept.String()
}

// setsOurCookie reports whether a Set-Cookie field would set one of our cookies: a
// service could fix a victim's session with it. Browsers that know no nameless
// cookies send "=__Host-session=x" back as "__Host-session=x", so it counts
// (RFC 6265bis section 5.7, step on empty names).
func setsOurCookie(field string) bool {
	pair, _, _ := strings.Cut(field, ";")
	name, value, found := strings.Cut(pair, "=")
	name, value = strings.Trim(name, " \t"), strings.Trim(value, " \t")
	if !found {
		name, value = "", name
	}
	return slices.ContainsFunc(ourCookies, func(ours string) bool {
		if name != "" {
			return strings.EqualFold(name, ours)
		}
		return len(value) >= len(ours) && strings.EqualFold(value[:len(ours)], ours)
	})
}

// withoutOurs returns the Set-Cookie fields that a service may send; the
// slice itself when there is nothing to remove, nil when nothing is left.
func withoutOurs(fields []string) []string {
	for i, f := range fields {
		if !setsOurCookie(f) {
			continue
		}
		kept := append([]string(nil), fields[:i]...)
		for _, f := range fields[i+1:] {
			if !setsOurCookie(f) {
				kept = append(kept, f)
			}
		}
		return kept
	}
	return fields
}
