package identity

import (
	"context"
	"net/http"
	"time"

	"sallyport.dev/internal/factor"
	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/page"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

func (id *Identity) stepUpRoutes() []Route {
	return []Route{
		id.get(page.StepUpPath, id.stepUpPage),
		id.post(page.StepUpPath, id.stepUp),
		id.post("/auth/passkey/begin", id.passkeyLoginBegin),
		sized(id.post("/auth/passkey", id.passkeyLogin), ceremonyMax),
	}
}

// asked is what a step-up asks for.
type asked struct {
	password bool
	kinds    []string // of second factors; none: the user holds none
	held     factor.Held
}

// askFor says what proves anew who a session is of. Who holds a second factor shows
// that: the session stands for the password while that was proved within the
// lifetime of a session that is not remembered. Else, and without a factor, the
// password is asked for.
func (id *Identity) askFor(r *http.Request, p *policy.Principal, a account) (ask asked, err error) {
	err = id.db.view(r.Context(), func(ctx context.Context, t tx) error {
		if ask.held, err = id.factors.HasTx(ctx, t.whole(), a.ID); err != nil || !ask.held.Any() {
			return err
		}
		ask.kinds, err = id.kindsOf(ctx, t, a.ID, ask.held)
		return err
	})
	stale := id.clock().Sub(p.AuthTime) >= id.zone.Identity.Sessions.Absolute
	ask.password = a.password != "" && (stale || !ask.held.Any())
	return ask, err
}

// nothing says whether the user has nothing to prove anew: they came by another
// provider, and go there again.
func (a asked) nothing() bool { return !a.password && !a.held.Any() }

// stepUpRate bounds what one session begins: each may leave a flow behind.
var stepUpRate = zone.Rate{Count: 30, Window: 10 * time.Minute}

// stepUpJSON is what a step-up asks for.
type stepUpJSON struct {
	Password bool     `json:"password"`
	Factors  []string `json:"factors"`
}

// stepUpPage is GET /auth/step-up: what it asks for.
func (id *Identity) stepUpPage(w http.ResponseWriter, r *http.Request) error {
	p, a, err := id.whoAsks(w, r)
	if err != nil {
		return err
	}
	ask, err := id.askFor(r, p, a)
	if err != nil {
		return err
	}
	if !page.WantsPage(r) {
		return page.WriteJSON(w, http.StatusOK, stepUpJSON{Password: ask.password, Factors: append([]string{}, ask.kinds...)})
	}
	next := localPath(r.URL.Query().Get("next"))
	switch {
	case ask.nothing():
		return id.pages.Write(w, r, 0, id.loginView(next), page.RefusalOf(problem.New(problem.AuthStepUp, nil)))
	case ask.password:
		return id.pages.Write(w, r, 0, page.MFA{StepUp: true, Password: true, Email: a.Email, Next: next}, nil)
	}
	if err := id.guesses.Take(r.Context(), "step-up", p.Session, stepUpRate); err != nil {
		return err
	}
	return id.proceed(w, r, page.Form, entry{account: a, level: 1, session: p.Session, next: next})
}

var (
	stepUpJSONShape = page.Shape{Optional: []string{"password"}}
	stepUpFormShape = page.Shape{Optional: []string{"password", "flow", "next"}}
)

// stepUp is POST /auth/step-up: it checks the password where that is asked for, and
// goes on to the second factor where the user holds one. The session is raised in
// the end: it gets a new token.
func (id *Identity) stepUp(w http.ResponseWriter, r *http.Request) error {
	v, kind, err := page.Decode(r, stepUpJSONShape, stepUpFormShape)
	if err != nil {
		return err
	}
	p, a, err := id.whoAsks(w, r)
	if err != nil {
		return err
	}
	ask, err := id.askFor(r, p, a)
	if err != nil {
		return err
	}
	if ask.nothing() {
		return problem.New(problem.AuthStepUp, nil)
	}
	if err := id.guesses.Take(r.Context(), "step-up", p.Session, stepUpRate); err != nil {
		return err
	}
	e := entry{account: a, level: 1, session: p.Session, next: v["next"]}
	if _, sent := v["password"]; sent || ask.password {
		err = id.provePassword(r, a, obs.Secret(v["password"]))
		e.proved("password", 1)
	}
	if err == nil {
		err = id.proceed(w, r, kind, e)
	}
	if err != nil && kind == page.Form && page.WantsPage(r) && page.Redo(err) {
		id.pages.LogFailure(r, err)
		again := page.MFA{StepUp: true, Password: true, Email: a.Email, Next: localPath(v["next"])}
		return id.pages.Write(w, r, 0, again, page.RefusalOf(err))
	}
	return err
}
