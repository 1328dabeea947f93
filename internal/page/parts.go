package page

import (
	"html/template"
	"slices"
	"strings"
)

// Notice is what was just done, in words; "" when nothing was, or when it was
// refused.
func (f *frame) Notice() (string, error) {
	key := ""
	switch v := f.Page.(type) {
	case Login:
		if key = v.Notice; v.LoggedOut {
			key = "logged_out"
		}
	case Account:
		key = v.Notice
	}
	if key == "" || f.Refusal != nil {
		return "", nil
	}
	return f.Or("notice."+key, "notice.done")
}

// buttons are the buttons that lead to other providers.
type buttons struct {
	Frame     *frame
	Providers []ProviderButton
	Next      string
}

// Buttons goes with the template "providers".
func (f *frame) Buttons(list []ProviderButton, next string) buttons { return buttons{f, list, next} }

// copier is a button that copies the text of an element.
type copier struct{ ID, Word, Done string }

// Copy goes with the template "copy".
func (f *frame) Copy(id string) (copier, error) {
	word, err := f.T("copy")
	if err != nil {
		return copier{}, err
	}
	done, err := f.T("copied")
	return copier{id, word, done}, err
}

// signing is an API key with its signing keys.
type signing struct {
	Frame   *frame
	ID      string
	Signing []SigningKey
}

// Signing goes with the template "signing".
func (f *frame) Signing(k Key) signing { return signing{f, k.ID, k.Signing} }

// Has says whether the user holds a factor of a kind.
func (f *frame) Has(kind string) bool {
	v, ok := f.Page.(MFA)
	return ok && slices.Contains(v.Factors, kind)
}

// EnrollFlow is the flow that the first code of an app goes to.
func (f *frame) EnrollFlow() string {
	v, ok := f.Page.(Enroll)
	if ok && v.TOTP != nil && v.TOTP.Flow != "" {
		return v.TOTP.Flow
	}
	return v.Flow
}

// NextOr is where a page leads that has nothing to submit.
func (f *frame) NextOr(next string) string { return LocalPath(next, AccountPath) }

// AppLink is the address that opens an authenticator app, which html/template
// would not let through by itself.
func (f *frame) AppLink(uri string) template.URL {
	if !strings.HasPrefix(uri, "otpauth://totp/") {
		return ""
	}
	return template.URL(uri) // #nosec G203 -- of this scheme only
}

// Scope is the name of a scope on a list.
func (f *frame) Scope(c Choice) string {
	if c.Title != "" {
		return c.Title
	}
	return f.ScopeName(c.Value)
}

// ScopeName says what a scope lets a program do; one without a text is named as
// it is.
func (f *frame) ScopeName(scope string) string {
	if text, err := f.T("scope." + scope); err == nil {
		return text
	}
	return scope
}

// FactorKind is a sort of second factor in words.
func (f *frame) FactorKind(kind string) (string, error) { return f.Or("factor."+kind, "factor.other") }

// FactorName is what the user calls a factor, else its sort.
func (f *frame) FactorName(v Factor) (string, error) {
	if v.Name != "" {
		return v.Name, nil
	}
	return f.FactorKind(v.Kind)
}
