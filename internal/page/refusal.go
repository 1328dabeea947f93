package page

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"sallyport.dev/internal/problem"
)

// Refusal is why a form is shown again, or why there is a page of refusal. Its
// texts are keys of messages, so that it reads in the visitor's language.
type Refusal struct {
	Reason problem.Reason
	Field  string // the input at fault; empty: none
	Title  string // key; refusal.REASON when there is such a text, else refusal.FAMILY
	Text   string // key; empty: no more to say
	Plain  string // more to say that has no key: a public detail as it is
	Count  int    // the number that Text speaks of
	More   int    // another number that it speaks of
	After  int    // seconds until another try; 0: unsaid
}

// Redo says whether a form is shown again after err: the visitor can mend it.
// Invalid and expired is what a form carries, such as the answer of a passkey.
func Redo(err error) bool {
	switch problem.ReasonOf(err) {
	case problem.AccountInvalid, problem.AccountPassword, problem.AccountExists, problem.AccountFactor, problem.AccountConflict,
		problem.AuthLogin, problem.AuthInvalid, problem.AuthExpired, problem.LimitRate, problem.LimitAddress, problem.LimitBusy:
		return true
	}
	return false
}

// blamed are the inputs that a detail may name (`email: longer than …`), with the
// last part of the title's key, refusal.field.NAME.
var blamed = map[string]string{
	"email": "email", "new": "email", "password": "password", "current": "current", "code": "code", "name": "name",
	"scopes": "scopes", "expires": "expires", "token": "token", "user_code": "user_code",
}

// RefusalOf puts a refusal into words for a person.
func RefusalOf(err error) *Refusal {
	r := &Refusal{Reason: problem.ReasonOf(err), After: RetryAfter(err)}
	r.Title = "refusal." + r.Reason.Code()
	detail := ""
	if e, ok := errors.AsType[*problem.Error](err); ok {
		detail = e.Detail
	}
	switch r.Reason {
	case problem.AccountInvalid, problem.AdminInvalid:
		if name, rest, ok := strings.Cut(detail, ": "); ok && blamed[name] != "" {
			r.Field, r.Title, detail = name, "refusal.field."+blamed[name], rest
		}
	case problem.AccountPassword:
		r.Field = "password"
	case problem.AccountFactor:
		r.Field = "code"
	case problem.AccountExists:
		r.Field, detail = "email", ""
	case problem.LimitRate, problem.LimitAddress, problem.LimitBusy:
		detail = ""
	}
	r.explain(detail)
	if r.Text == "" && r.Plain == "" {
		r.Text = r.Title + ".text"
	}
	return r
}

// on fits a refusal to the page on which it is shown: a wrong password is told in
// other words where no address was asked for, and what does not hold is a passkey.
func (r *Refusal) on(v View) *Refusal {
	fitted := *r
	say := func(field, title, text string) { fitted.Field, fitted.Title, fitted.Text = field, title, text }
	switch r.Reason {
	case problem.AuthLogin:
		switch v := v.(type) {
		case MFA:
			if v.Password {
				say("password", "refusal.field.own", "refusal.field.current.text")
			} else {
				say("code", "refusal.account.factor", "refusal.account.factor.text")
			}
		case Enroll, NewTOTP:
			say("code", "refusal.account.factor", "refusal.account.factor.text")
		case Password:
			say("current", "refusal.field.current", "refusal.field.current.text")
		case Link:
			say("password", "refusal.field.own", "refusal.field.current.text")
		}
	case problem.AuthInvalid, problem.AuthExpired, problem.AccountExists:
		text := "passkey.failed"
		if r.Reason == problem.AccountExists {
			text = "passkey.known"
		}
		switch v.(type) {
		case NewPasskey, Enroll:
			say("", "passkey.problem", text)
		case Login, MFA:
			if r.Reason != problem.AccountExists {
				say("", "passkey.problem", text)
			}
		}
	}
	return &fitted
}

// RefusalTitle says what was refused.
func (f *frame) RefusalTitle() string {
	family, _, _ := strings.Cut(f.Refusal.Reason.Code(), ".")
	title, err := f.Or(f.Refusal.Title, "refusal."+family)
	if err != nil {
		return f.Refusal.Reason.Title() // a test holds that no reason comes to this
	}
	return title
}

// RefusalText says what to do about it; "" when there is no more to say.
func (f *frame) RefusalText() (string, error) {
	r := f.Refusal
	if r.Text == "" {
		return sentence(r.Plain), nil
	}
	wait, err := f.span(r.After)
	if err != nil {
		return "", err
	}
	text, err := f.N(r.Text, r.Count, "M", r.More, "Wait", wait)
	if err != nil {
		return "", nil // most refusals say it all in their title
	}
	return text, nil
}

// RefusalField is the id of the input at fault, when the page has it.
func (f *frame) RefusalField() string {
	if f.Refusal == nil || !f.inputs[f.Refusal.Field] {
		return ""
	}
	return f.Refusal.Field
}

// sentence makes a public detail, which problem documents hold in lower case,
// into one for a page. The name of a parameter stays as it is.
func sentence(s string) string {
	first, n := utf8.DecodeRuneInString(s)
	if n == 0 {
		return ""
	}
	if word, _, _ := strings.Cut(s, " "); !strings.Contains(word, "_") {
		s = string(unicode.ToUpper(first)) + s[n:]
	}
	if strings.HasSuffix(s, ".") {
		return s
	}
	return s + "."
}
