package identity

import (
	"net/http"

	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
)

var (
	loginJSONShape = shape{required: []string{"email", "password"}, flags: []string{"remember"}}
	loginFormShape = shape{required: []string{"email", "password"}, optional: []string{"next"}, flags: []string{"remember"}}
)

// loginPage is GET /auth/login. It has no JSON twin.
func (id *Identity) loginPage(w http.ResponseWriter, r *http.Request) error {
	if !wantsPage(r) {
		return onlyPost(w)
	}
	next := localPath(r.URL.Query().Get("next"))
	if policy.PrincipalFrom(r.Context()).Kind == policy.User {
		return redirect(w, next)
	}
	return id.pages.login(w, http.StatusOK, loginView{Next: next, LoggedOut: r.URL.Query().Has("bye")})
}

// login is POST /auth/login. JSON is answered with a token and sets no cookie; a
// form sets the cookie and leads on.
func (id *Identity) login(w http.ResponseWriter, r *http.Request) error {
	v, kind, err := decode(r, loginJSONShape, loginFormShape)
	if err != nil {
		return err
	}
	email, remember := v["email"], v["remember"] != ""
	if kind == mediaForm {
		email = typed(email)
	}
	ctx, client := r.Context(), obs.RequestFrom(r.Context()).Client
	a, err := id.authenticate(ctx, email, obs.Secret(v["password"]), client)
	if err == nil {
		var token string
		var s Session
		token, s, err = id.openSession(ctx, a, NewSession{Remember: remember, Client: client, Agent: agentOf(r)}, priorSession(r))
		if err == nil {
			return id.loggedIn(w, kind, a, token, s, remember, v["next"])
		}
	}
	if kind == mediaForm && wantsPage(r) && redo(err) {
		id.logFailure(r, err)
		return id.pages.login(w, 0, loginView{Next: localPath(v["next"]), Email: email, Remember: remember, Refusal: refusalOf(err)})
	}
	return err
}

func (id *Identity) loggedIn(w http.ResponseWriter, kind media, a account, token string, s Session, remember bool, next string) error {
	if kind == mediaForm {
		setCookie(w, token, remember, s.Expires.Sub(id.clock()))
		return redirect(w, localPath(next))
	}
	return writeJSON(w, http.StatusOK, loginJSON{Token: token, ExpiresAt: stamp(s.Expires), User: userAnswer(a.User)})
}

// logout is POST /auth/logout: it ends the session of the request, and has a
// browser forget what it keeps of this origin.
func (id *Identity) logout(w http.ResponseWriter, r *http.Request) error {
	page := wantsPage(r)
	p, err := caller(r)
	switch {
	case err == nil:
		if err := id.endSession(r.Context(), p.Subject, p.Session); err != nil {
			return err
		}
		if byCookie(p) {
			clearCookie(w)
		}
	case page && problem.ReasonOf(err) == problem.AuthMissing: // logged out already
		clearCookie(w)
	default:
		return err
	}
	if !page {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	w.Header().Set("Clear-Site-Data", `"cookies", "storage"`)
	return redirect(w, loginPath+"?bye")
}

// onlyPost answers a path that is a page to browsers and takes POST from others.
func onlyPost(w http.ResponseWriter) error {
	w.Header().Set("Allow", http.MethodPost)
	return problem.New(problem.RouteMethod, nil)
}

// priorSession is the session that a login came with: it ends, so that a login
// never leaves an older one of the same browser behind.
func priorSession(r *http.Request) Session {
	p := policy.PrincipalFrom(r.Context())
	if p.Kind != policy.User {
		return Session{}
	}
	return Session{ID: p.Session, User: p.Subject}
}
