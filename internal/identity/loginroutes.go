package identity

import (
	"context"
	"net/http"
	"net/url"

	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/page"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

var (
	loginJSONShape = page.Shape{Required: []string{"email", "password"}, Flags: []string{"remember"}}
	loginFormShape = page.Shape{Required: []string{"email", "password"}, Optional: []string{"next"}, Flags: []string{"remember"}}
	logoutShape    = page.Shape{Flags: []string{"everywhere", "keys"}}
)

func (id *Identity) loginRoutes() []Route {
	return []Route{
		id.get(page.LoginPath, id.loginPage),
		id.post(page.LoginPath, id.login),
		id.post("/auth/logout", id.logout),
	}
}

// loginPage is GET /auth/login. It has no JSON twin.
func (id *Identity) loginPage(w http.ResponseWriter, r *http.Request) error {
	if !page.WantsPage(r) {
		return onlyPost(w)
	}
	query := r.URL.Query()
	next := localPath(query.Get("next"))
	if p, err := caller(r); err == nil && !p.StepUp {
		return page.Redirect(w, next)
	} else if err == nil {
		return page.Redirect(w, page.StepUpPath+"?next="+url.QueryEscape(next))
	}
	v := id.loginView(next)
	v.LoggedOut, v.Notice = query.Has("bye"), noticeOf(query.Get("notice"))
	return id.pages.Write(w, r, 0, v, nil)
}

// noticeOf takes what a login page may be asked to say.
func noticeOf(text string) string {
	switch text {
	case "verified", "password_changed", "email_changed":
		return text
	}
	return ""
}

// loginView is the login page as this zone has it.
func (id *Identity) loginView(next string) page.Login {
	return page.Login{
		Next: next, Passkeys: id.factors.HasPasskeys(), Recover: id.mail != nil,
		Register: id.zone.Identity.Registration == zone.RegistrationOpen, Providers: id.providerButtons(),
	}
}

// login is POST /auth/login.
func (id *Identity) login(w http.ResponseWriter, r *http.Request) error {
	v, kind, err := page.Decode(r, loginJSONShape, loginFormShape)
	if err != nil {
		return err
	}
	email := v["email"]
	if kind == page.Form {
		email = typed(email)
	}
	a, attempt, err := id.authenticate(r, email, obs.Secret(v["password"]))
	if err == nil {
		err = id.proceed(w, r, kind, entry{
			account: a, methods: []string{"password"}, level: 1, remember: v.Flag("remember"), known: attempt.Known, next: v["next"], attempt: &attempt,
		})
	}
	if err != nil && kind == page.Form && page.WantsPage(r) && page.Redo(err) {
		id.pages.LogFailure(r, err)
		again := id.loginView(localPath(v["next"]))
		again.Email, again.Remember = email, v.Flag("remember")
		return id.pages.Write(w, r, 0, again, page.RefusalOf(err))
	}
	return err
}

// logout is POST /auth/logout: it ends the session of the request, or all of the
// user's, and has a browser forget what it keeps of this origin. Who has logged
// in on a device stays known there, unless they log out everywhere. API keys are
// no sessions: everywhere ends them where that is asked for, and else says how many
// live on.
func (id *Identity) logout(w http.ResponseWriter, r *http.Request) error {
	everywhere, keys := false, false
	if r.Header.Get("Content-Type") != "" { // a body may be left out
		v, _, err := page.Decode(r, logoutShape, logoutShape)
		if err != nil {
			return err
		}
		if everywhere, keys = v.Flag("everywhere"), v.Flag("keys"); keys && !everywhere {
			return problem.WithDetail(problem.AccountInvalid, "keys: only with everywhere")
		}
	}
	wantsPage := page.WantsPage(r)
	p, err := caller(r)
	switch {
	case err == nil:
		if err := id.endSessions(r.Context(), p, everywhere, keys); err != nil {
			return err
		}
		if byCookie(p) {
			clearCookie(w)
		}
	case wantsPage && problem.ReasonOf(err) == problem.AuthMissing: // logged out already
		clearCookie(w)
	default:
		return err
	}
	clearSite(w, everywhere)
	if wantsPage {
		return page.Redirect(w, page.LoginPath+"?bye")
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// clearSite has a browser forget what it keeps of this origin (Clear Site Data,
// section 3). All cookies would be the known device as well.
func clearSite(w http.ResponseWriter, everywhere bool) {
	what := `"storage", "cache"`
	if everywhere {
		clearNamed(w, DeviceCookie)
		what = `"cookies", ` + what
	}
	clearNamed(w, FlowCookie)
	w.Header().Set("Clear-Site-Data", what)
}

// endSessions ends the session of a principal, or everywhere all of its user's, with
// the API keys where that is asked for.
func (id *Identity) endSessions(ctx context.Context, p *policy.Principal, everywhere, keys bool) error {
	if !everywhere {
		return id.endSession(ctx, p.Subject, p.Session)
	}
	return id.db.change(ctx, func(ctx context.Context, t tx) error {
		if keys {
			if _, err := id.endKeys(ctx, t, p.Subject); err != nil {
				return err
			}
		}
		_, err := id.endAll(ctx, t, p.Subject, "")
		return err
	})
}
