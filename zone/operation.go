package zone

import (
	"regexp"
	"strings"
)

// operation is METHOD /path: a route as the map writes it.
type operation struct{ method, path string }

func (o operation) String() string { return o.method + " " + o.path }

func methods() []string {
	return []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"}
}

func operationType() typ[operation] {
	const doc = "METHOD /path in the syntax of Go's ServeMux, such as GET /users/{id}"
	pattern := "^(" + strings.Join(methods(), "|") + ") /[!-~]*$"
	return scalar("operation", doc, pattern, parseOperation)
}

func parseOperation(s string) (operation, error) {
	method, path, ok := strings.Cut(s, " ")
	upper := strings.ToUpper(method)
	switch {
	case strings.HasPrefix(s, "/"):
		return operation{}, wrong("write the method before it: GET "+quoteless(s), "%s has no method", quote(s))
	case !ok || path == "":
		return operation{}, errNo
	case upper == "HEAD":
		return operation{}, wrong("declare GET: HEAD follows it", "%s: HEAD has no route of its own", quote(s))
	case !isOneOf(method, methods()):
		return operation{}, wrong(suggest(upper, methods()), "%s is no method of a route", quote(method))
	case strings.ContainsAny(path, " \t"):
		return operation{}, wrong("write one space, between method and path", "%s has a space too many", quote(s))
	case path[0] != '/':
		if i := strings.IndexByte(path, '/'); i > 0 {
			return operation{}, wrong("write "+method+" "+quoteless(path[i:])+"; hosts belong to a listener", "%s has a host", quote(s))
		}
		return operation{}, wrong("write "+method+" /"+quoteless(path), "%s does not start with a slash", quote(path))
	case len(path) > 500:
		return operation{}, wrong("write at most 500 characters", "a path is too long")
	}
	return operation{method, path}, checkPath(path)
}

var (
	pathText = regexp.MustCompile(`^[A-Za-z0-9._~!$&'()*+,=:@-]+$`) // pchar of RFC 3986 without % and ;
	wildName = regexp.MustCompile(`^\{([A-Za-z_][A-Za-z0-9_]*)(\.\.\.)?\}$`)
)

// checkPath refuses a path that has more than one spelling or could never match.
func checkPath(path string) error {
	seen := map[string]bool{}
	segments := strings.Split(path[1:], "/")
	for i, s := range segments {
		last := i == len(segments)-1
		wild := wildName.FindStringSubmatch(s)
		switch {
		case s == "" && last, s == "{$}" && last:
		case s == "":
			return wrong("write single slashes", "%s has an empty segment", quote(path))
		case s == "." || s == "..":
			return wrong("write the path that is meant", "%s has a dot segment", quote(path))
		case wild != nil && seen[wild[1]]:
			return wrong("give each wildcard its own name", "%s: {%s} is there twice", quote(path), wild[1])
		case wild != nil && wild[2] != "" && !last, s == "{$}":
			return wrong("put it at the end", "%s: %s stands before the end", quote(path), s)
		case wild != nil:
			seen[wild[1]] = true
		case strings.ContainsAny(s, "{}"):
			return wrong("write {name}, {name...} or {$} as a whole segment; a name has letters, digits and _", "%s: %s is no wildcard", quote(path), quote(s))
		case strings.ContainsRune(s, '%'):
			return wrong("write the character itself, or a wildcard in its place", "%s is percent-encoded", quote(path))
		case strings.ContainsAny(s, "?#"):
			return wrong("write the path only; values of the query go under params", "%s has a query", quote(path))
		case !pathText.MatchString(s):
			return wrong("use letters, digits and - . _ ~ ! $ & ' ( ) * + , = : @", "%s has a character that no path of a route may have", quote(path))
		}
	}
	return nil
}

// wildcards returns the names of the wildcards of a path; the value says
// whether it takes several segments.
func wildcards(path string) map[string]bool {
	names := map[string]bool{}
	for s := range strings.SplitSeq(path, "/") {
		if wild := wildName.FindStringSubmatch(s); wild != nil {
			names[wild[1]] = wild[2] != ""
		}
	}
	return names
}

// quoteless is quote for a text that the user can paste.
func quoteless(s string) string { return strings.Trim(quote(s), `"`) }

// nameless returns a path with its wildcards' names removed: equal for two
// routes that take the same paths.
func nameless(path string) string {
	segments := strings.Split(path, "/")
	for i, s := range segments {
		if wild := wildName.FindStringSubmatch(s); wild != nil {
			segments[i] = "{" + wild[2] + "}"
		}
	}
	return strings.Join(segments, "/")
}
