package identity

import (
	"net/http"

	"sallyport.dev/internal/page"
	"sallyport.dev/internal/password"
	"sallyport.dev/internal/policy"
)

// stepJSON is a login with a step that is left.
type stepJSON struct {
	Step    string   `json:"step"`
	Flow    string   `json:"flow"`
	Factors []string `json:"factors,omitempty"` // of step mfa
}

// arrive answers with what became of an entry.
func (id *Identity) arrive(w http.ResponseWriter, r *http.Request, kind page.Media, e entry, o outcome) error {
	if o.step == "" {
		return id.enter(w, r, kind, e, o)
	}
	if kind != page.Form {
		return page.WriteJSON(w, http.StatusOK, stepJSON{Step: o.step, Flow: o.flow, Factors: o.factors})
	}
	if o.browser != browserOf(r) {
		http.SetCookie(w, cookie(FlowCookie, o.browser))
	}
	var v page.View
	switch o.step {
	case stepMFA:
		v = page.MFA{Flow: o.flow, Factors: o.factors, Next: localPath(e.next), StepUp: e.session != ""}
	case stepEnroll:
		v = page.Enroll{Flow: o.flow, Next: localPath(e.next)}
	default:
		v = page.Password{Flow: o.flow, Email: o.account.Email, Expired: !o.short, Short: o.short, MinLength: minLength(e), Next: localPath(e.next)}
	}
	return id.pages.Write(w, r, 0, v, nil)
}

// minLength is the least length of a password of who came in by e.
func minLength(e entry) int {
	if e.level >= policy.TwoFactors {
		return password.MinSecond
	}
	return password.MinAlone
}

// enter hands a session over: JSON is answered with a token and sets no cookie,
// unless the session was one of a cookie; a form sets the cookie and leads on.
func (id *Identity) enter(w http.ResponseWriter, r *http.Request, kind page.Media, e entry, o outcome) error {
	a := o.account
	if e.session == "" {
		id.recognise(r, e, a)
	}
	answer := loginJSON{Token: o.token, ExpiresAt: page.Stamp(o.session.Expires), User: userAnswer(a.User)}
	if !a.Deleting.IsZero() {
		answer.DeleteAt = page.Stamp(a.Deleting)
	}
	for _, c := range e.codes {
		answer.Codes = append(answer.Codes, string(c))
	}
	inBrowser := kind == page.Form || e.session != "" && byCookie(policy.PrincipalFrom(r.Context()))
	if inBrowser {
		setCookie(w, o.token, o.session.Remember, o.session.Expires.Sub(id.clock()))
		answer.Token = "" // a script must not learn what the cookie hides from it
	}
	if kind != page.Form {
		return page.WriteJSON(w, http.StatusOK, answer)
	}
	if e.session == "" {
		device, life := id.guesses.NewDevice(foldEmail(a.Email), deviceOf(r))
		setFor(w, DeviceCookie, device, life)
	}
	next := localPath(e.next)
	if !a.Deleting.IsZero() && e.session == "" {
		next = page.AccountPath // which tells, and offers to keep the account
	}
	if len(answer.Codes) > 0 {
		return id.pages.Write(w, r, 0, page.Codes{Codes: answer.Codes, Next: next}, nil)
	}
	return page.Follow(w, next) // it may end at a client
}

// localPath is where a page goes on to.
func localPath(next string) string { return page.LocalPath(next, page.AccountPath) }
