package identity

import (
	"fmt"
	"slices"
	"strings"

	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

const (
	namesMax = 64 // roles of one account
)

// checkRoles returns roles sorted and without repetition, or refuses one that
// no map can name.
func checkRoles(roles []string) ([]string, error) {
	return checkNames("role", roles, zone.ValidRole, "letters, digits and . _ : -")
}

func checkNames(what string, names []string, valid func(string) bool, form string) ([]string, error) {
	sorted := slices.Compact(slices.Sorted(slices.Values(names)))
	if len(sorted) > namesMax {
		return nil, problem.WithDetail(problem.AdminInvalid, fmt.Sprintf("more than %d %ss", namesMax, what))
	}
	for _, n := range sorted {
		if !valid(n) {
			return nil, problem.WithDetail(problem.AdminInvalid,
				fmt.Sprintf("%s %.80q: want %s, a letter or digit first, at most 100 characters", what, n, form))
		}
	}
	if sorted == nil {
		sorted = []string{} // an empty list in JSON, not null
	}
	return sorted, nil
}

// joinNames and splitNames are the stored form: names hold no space.
func joinNames(names []string) string { return strings.Join(names, " ") }

func splitNames(text string) []string {
	if names := strings.Fields(text); names != nil {
		return names
	}
	return []string{}
}
