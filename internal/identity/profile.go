package identity

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"sallyport.dev/internal/page"
	"sallyport.dev/internal/problem"
)

// nameMax bounds the name of a user, in characters.
const nameMax = 100

var profileShape = page.Shape{Optional: []string{"name", "locale"}}

// profile is POST /auth/profile: what is not given stays.
func (id *Identity) profile(w http.ResponseWriter, r *http.Request) error {
	v, media, err := page.Decode(r, profileShape, profileShape)
	if err != nil {
		return err
	}
	p, a, err := id.callersAccount(w, r)
	if err != nil {
		return err
	}
	if name, given := v["name"]; given {
		a.Name, err = checkName(name)
	}
	if locale, given := v["locale"]; given && err == nil {
		if a.Locale = locale; locale != "" && !slices.Contains(id.pages.Languages(), locale) {
			err = problem.WithDetail(problem.AccountInvalid, "locale: not a language of these pages")
		}
	}
	if err == nil {
		err = id.changeAs(r, p, func(ctx context.Context, t tx) error {
			_, err := t.Exec(ctx, "UPDATE users SET name = ?, locale = ? WHERE id = ?", a.Name, a.Locale, a.ID)
			return err
		})
	}
	switch {
	case err != nil && media == page.Form && page.WantsPage(r) && page.Redo(err):
		id.pages.LogFailure(r, err)
		f, factsErr := id.facts(r, p, a)
		if factsErr != nil {
			return factsErr
		}
		return id.pages.Write(w, id.own(r, a), 0, id.accountView(r, f), page.RefusalOf(err))
	case err != nil:
		return err
	case page.WantsPage(r):
		return page.Redirect(w, page.AccountPath+"?notice=profile_saved")
	}
	return page.WriteJSON(w, http.StatusOK, profileOf(a))
}

// checkName takes one line for a person to be called by, in its composed form.
func checkName(name string) (string, error) {
	name = norm.NFC.String(strings.TrimSpace(name))
	switch {
	case !utf8.ValidString(name):
		return "", problem.WithDetail(problem.AccountInvalid, "name: not UTF-8")
	case utf8.RuneCountInString(name) > nameMax:
		return "", problem.WithDetail(problem.AccountInvalid, "name: longer than 100 characters")
	case strings.ContainsFunc(name, func(r rune) bool { return unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp) || bidi(r) }):
		return "", problem.WithDetail(problem.AccountInvalid, "name: not one line of text")
	}
	return name, nil
}

// bidi says whether a character turns the writing of what follows: a name would
// have the text beside it say something else.
func bidi(r rune) bool { return r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069' }
