package page

import (
	"net/url"
	"strings"
)

// pagePolicy lets a page load our style, script and images, speak to and send
// forms to this origin, and nothing else (CSP Level 3; Trusted Types).
const pagePolicy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; " +
	"base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'; form-action 'self'"

// formActions is a view whose forms may lead out of this origin: browsers hold
// the redirects that follow a form to form-action as well.
type formActions interface{ FormActions() []string }

// contentPolicy is pagePolicy with the further targets of a view's forms.
func contentPolicy(v View) string {
	policy := pagePolicy
	if f, ok := v.(formActions); ok {
		for _, source := range f.FormActions() {
			if isSource(source) {
				policy += " " + source
			}
		}
	}
	return policy
}

// isSource says whether s is one host or scheme source and nothing else: an
// origin (https://host:port), or the scheme of an app, which is a domain name
// turned round (com.example.app:, RFC 8252 section 7.1).
func isSource(s string) bool {
	scheme, rest, ok := strings.Cut(strings.ToLower(s), ":")
	if !ok {
		return false
	}
	if rest == "" {
		return strings.Contains(scheme, ".") && scheme[0] >= 'a' && scheme[0] <= 'z' && strings.Trim(scheme, "abcdefghijklmnopqrstuvwxyz0123456789+-.") == ""
	}
	host, ok := strings.CutPrefix(rest, "//")
	return ok && (scheme == "https" || scheme == "http") && host != "" && strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789-.:[]") == ""
}

// FormSource is the source of a redirect URI, for FormAction: its origin, or the
// scheme of an app. "" for what is neither.
func FormSource(uri string) string {
	u, err := url.Parse(uri)
	if err != nil {
		return ""
	}
	source := u.Scheme + ":"
	if u.Scheme == "https" || u.Scheme == "http" {
		source += "//" + u.Host
	}
	if !isSource(source) {
		return ""
	}
	return source
}
