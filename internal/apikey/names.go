package apikey

import (
	"fmt"
	"net/mail"
	"net/netip"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

const (
	namesMax     = 64 // roles or scopes of one key
	nameMax      = 63 // characters
	addressesMax = 32
	contactMax   = 254 // RFC 5321 section 4.5.3.1.3, less the angle brackets
)

// invalid is a refusal that names the field. Whose key it is decides the family
// of reasons: administrators and users ask at different doors.
func (w whose) invalid(format string, args ...any) error {
	reason := problem.AccountInvalid
	if w.anybody {
		reason = problem.AdminInvalid
	}
	return problem.WithDetail(reason, fmt.Sprintf(format, args...))
}

func (w whose) conflict(detail string) error {
	if w.anybody {
		return problem.WithDetail(problem.AdminConflict, detail)
	}
	return problem.WithDetail(problem.AccountConflict, detail)
}

func (w whose) unknown() error {
	if w.anybody {
		return problem.WithDetail(problem.AdminUnknown, "no live key has this id")
	}
	return problem.WithDetail(problem.AccountUnknown, "you have no live key with this id")
}

// checkRights returns roles or scopes sorted and without repetition, or refuses
// one that no map can name.
func (w whose) checkRights(what string, names []string, valid func(string) bool, form string) ([]string, error) {
	sorted := slices.Compact(slices.Sorted(slices.Values(names)))
	if len(sorted) > namesMax {
		return nil, w.invalid("more than %d %ss", namesMax, what)
	}
	for _, n := range sorted {
		if !valid(n) {
			return nil, w.invalid("%s %.80q: want %s, a letter or digit first, at most 100 characters", what, n, form)
		}
	}
	if sorted == nil {
		sorted = []string{} // an empty list in JSON, not null
	}
	return sorted, nil
}

func (w whose) checkRoles(roles []string) ([]string, error) {
	return w.checkRights("role", roles, zone.ValidRole, "letters, digits and . _ : -")
}

func (w whose) checkScopes(scopes []string) ([]string, error) {
	return w.checkRights("scope", scopes, zone.ValidScope, "letters, digits and . _ : / -")
}

// serviceName says whether s is a lower-case letter, then lower-case letters,
// digits and hyphens.
func serviceName(s string) bool {
	if s == "" || len(s) > nameMax || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// label says whether s is one line that a person may call a key by: it shows as
// what it is, in a page and in an administrator's terminal.
func label(s string) bool {
	return s != "" && utf8.ValidString(s) && utf8.RuneCountInString(s) <= nameMax && strings.TrimSpace(s) == s &&
		!strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError })
}

// checkAddresses reads addresses and prefixes; an address is the prefix of its
// whole length. The list that comes back is sorted and names none twice.
func (w whose) checkAddresses(texts []string) ([]netip.Prefix, error) {
	if len(texts) > addressesMax {
		return nil, w.invalid("more than %d addresses", addressesMax)
	}
	list := make([]netip.Prefix, 0, len(texts))
	for _, text := range texts {
		p, ok := parseAddress(text)
		if !ok {
			return nil, w.invalid("address %.80q: want an address or a prefix without host bits, such as 192.0.2.7 or 2001:db8::/32", text)
		}
		list = append(list, p)
	}
	slices.SortFunc(list, netip.Prefix.Compare)
	return slices.Compact(list), nil
}

// parseAddress refuses what would be read as something else than was meant: host
// bits, zones, and IPv4 in IPv6, which no client's address is compared as.
func parseAddress(text string) (netip.Prefix, bool) {
	if a, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), a.Zone() == "" && !a.Is4In6()
	}
	p, err := netip.ParsePrefix(text)
	return p, err == nil && p == p.Masked() && !p.Addr().Is4In6()
}

// checkContact takes one bare address of mail, or none.
func (w whose) checkContact(text string) error {
	if text == "" {
		return nil
	}
	plain := len(text) <= contactMax && !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' })
	if a, err := mail.ParseAddress(text); !plain || err != nil || a.Name != "" || a.Address != text {
		return w.invalid("contact: not an address like name@example.org")
	}
	return nil
}

// The stored form of lists: none of what they hold has a space.
func joinNames(names []string) string { return strings.Join(names, " ") }

func splitNames(text string) []string {
	if names := strings.Fields(text); names != nil {
		return names
	}
	return []string{}
}

func joinAddresses(list []netip.Prefix) string {
	texts := make([]string, len(list))
	for i, p := range list {
		texts[i] = p.String()
	}
	return joinNames(texts)
}

// splitAddresses reads what joinAddresses wrote. What it cannot read it does not
// drop: a limit that is lost would open the key to everybody.
func splitAddresses(text string) ([]netip.Prefix, error) {
	var list []netip.Prefix
	for s := range strings.FieldsSeq(text) {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("apikey: stored address: %w", err)
		}
		list = append(list, p)
	}
	return list, nil
}
