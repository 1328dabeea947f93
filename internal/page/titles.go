package page

// title is the key of a page's title, and its heading.
func (f *frame) title() string {
	switch v := f.Page.(type) {
	case MFA:
		if v.StepUp {
			return "title.step-up"
		}
	case Sent:
		return known("title.sent.", v.Kind, "register", "recover", "email")
	case Verify:
		return known("title.verify.", v.Kind, "register", "invite", "email")
	case Password:
		if v.Expired || v.Short {
			return "title.password.expired"
		}
		if v.Token != "" || !v.Current {
			return "title.password.reset"
		}
	case KeyMade:
		if v.Signing {
			return "title.key-made.signing"
		}
	case Consent:
		if v.Device {
			return "title.consent.device"
		}
	case DeviceDone:
		if !v.Allowed {
			return "title.device-done.denied"
		}
	case Message:
		return v.Title
	case refused:
		return f.Refusal.Title
	}
	return "title." + f.Page.template()
}

// known is prefix with name, or with the first of the names when it is none of
// them: a kind that a page does not know is still a page.
func known(prefix, name string, names ...string) string {
	for _, n := range names {
		if n == name {
			return prefix + n
		}
	}
	return prefix + names[0]
}

// Title is the page's title in the visitor's language.
func (f *frame) Title() (string, error) {
	pairs := []any{"Zone", f.Zone}
	switch v := f.Page.(type) {
	case Consent:
		pairs = append(pairs, "Client", v.Title)
	case Link:
		pairs = append(pairs, "Provider", v.Title)
	case refused:
		return f.RefusalTitle(), nil
	case Message:
		return f.Say(v.Title), nil
	}
	return f.T(f.title(), pairs...)
}

// Kind is Kind of the page, as far as there are texts for it.
func (f *frame) Kind() string {
	switch v := f.Page.(type) {
	case Sent:
		return known("", v.Kind, "register", "recover", "email")
	case Verify:
		return known("", v.Kind, "register", "invite", "email")
	}
	return ""
}
