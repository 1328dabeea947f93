package identity

import (
	"fmt"
	"slices"
	"strings"

	"sallyport.dev/internal/problem"
)

// The bounds of roles and scopes.
const (
	roleLength  = 63
	scopeLength = 128
	namesMax    = 64 // of one account or key
)

// checkRoles returns roles sorted and without repetition, or refuses one that
// no map can name: [a-z][a-z0-9-]{0,62}.
func checkRoles(roles []string) ([]string, error) { return checkNames("role", roles, roleLength, "-") }

// checkScopes does the same for scopes: [a-z][a-z0-9._:-]{0,127}.
func checkScopes(scopes []string) ([]string, error) {
	return checkNames("scope", scopes, scopeLength, "-._:")
}

func checkNames(what string, names []string, length int, also string) ([]string, error) {
	sorted := slices.Compact(slices.Sorted(slices.Values(names)))
	if len(sorted) > namesMax {
		return nil, problem.WithDetail(problem.AdminInvalid, fmt.Sprintf("more than %d %ss", namesMax, what))
	}
	for _, n := range sorted {
		if !validName(n, length, also) {
			return nil, problem.WithDetail(problem.AdminInvalid,
				fmt.Sprintf("%s %.80q: want a letter, then letters, digits or %q, in lower case, at most %d characters", what, n, also, length))
		}
	}
	if sorted == nil {
		sorted = []string{} // an empty list in JSON, not null
	}
	return sorted, nil
}

func validName(s string, length int, also string) bool {
	if s == "" || len(s) > length || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && !strings.Contains(also, string(rune(c))) {
			return false
		}
	}
	return true
}

// joinNames and splitNames are the stored form: names hold no space.
func joinNames(names []string) string { return strings.Join(names, " ") }

func splitNames(text string) []string {
	if names := strings.Fields(text); names != nil {
		return names
	}
	return []string{}
}
