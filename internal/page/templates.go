package page

import (
	"embed"
	"fmt"
	"html/template"
	"io"
)

//go:embed web
var web embed.FS

// views are all pages, for those who go through them: to parse their templates
// and, in tests, to show each.
func views() []View {
	return []View{
		Login{}, MFA{}, Enroll{}, Register{}, Sent{}, Verify{}, Recover{}, Password{}, Account{}, NewTOTP{}, NewPasskey{}, Codes{},
		NewKey{}, KeyMade{}, Email{}, Delete{}, Link{}, Bootstrap{}, Consent{}, Device{}, DeviceDone{}, LogoutAsk{}, LoggedOut{}, Message{}, refused{},
	}
}

// parts are the templates that all pages share.
var parts = []string{"frame", "parts"}

// templates are the pages by name.
type templates map[string]*template.Template

// parseTemplates reads the template of each view, with those that the theme
// replaces. Escaping is html/template's, for a theme as well.
func parseTemplates(files themeFiles) (templates, error) {
	all := make(templates)
	for _, v := range views() {
		t := template.New(v.template()).Option("missingkey=error")
		for _, name := range append(append([]string{}, parts...), v.template()) {
			text, from, err := files.template(name)
			if err != nil {
				return nil, err
			}
			if t, err = t.Parse(text); err != nil {
				return nil, fmt.Errorf("%s: %w", from, err)
			}
		}
		all[v.template()] = t
	}
	return all, nil
}

// render writes a page. When a refusal blames an input, the page is gone through
// once before: the summary stands above the inputs, and points only to one that
// is there.
func (t templates) render(w io.Writer, f *frame) error {
	page := t[f.Page.template()]
	if f.Refusal != nil && f.Refusal.Field != "" {
		before := *f
		before.inputs = make(map[string]bool)
		if err := page.ExecuteTemplate(io.Discard, "content", &before); err != nil {
			return err
		}
		f.inputs = before.inputs
	}
	return page.ExecuteTemplate(w, "frame", f)
}
