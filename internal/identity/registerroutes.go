package identity

import (
	"net/http"

	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
)

var (
	registerJSONShape = shape{required: []string{"email", "password"}}
	registerFormShape = shape{required: []string{"email", "password"}, optional: []string{"next"}}
)

// registerPage is GET /auth/register. It has no JSON twin.
func (id *Identity) registerPage(w http.ResponseWriter, r *http.Request) error {
	if err := id.registrable(); err != nil {
		return err
	}
	if !wantsPage(r) {
		return onlyPost(w)
	}
	next := localPath(r.URL.Query().Get("next"))
	if policy.PrincipalFrom(r.Context()).Kind == policy.User {
		return redirect(w, next)
	}
	return id.pages.register(w, http.StatusOK, registerView{Next: next})
}

// register is POST /auth/register where registration is open and there is no
// mail: development. It says that an address is taken (409), which with mail
// will be told to the owner of the address alone. JSON is answered with the
// user; a form also logs in.
func (id *Identity) register(w http.ResponseWriter, r *http.Request) error {
	if err := id.registrable(); err != nil {
		return err
	}
	v, kind, err := decode(r, registerJSONShape, registerFormShape)
	if err != nil {
		return err
	}
	email := v["email"]
	if kind == mediaForm {
		email = typed(email)
	}
	ctx, client := r.Context(), obs.RequestFrom(r.Context()).Client
	u, err := id.signUp(r, email, obs.Secret(v["password"]))
	if err == nil && kind == mediaJSON {
		return writeJSON(w, http.StatusCreated, userAnswer(u))
	}
	if err == nil {
		var token string
		var s Session
		token, s, err = id.openSession(ctx, account{User: u}, NewSession{Client: client, Agent: agentOf(r)}, priorSession(r))
		if err == nil {
			return id.loggedIn(w, mediaForm, account{User: u}, token, s, false, v["next"])
		}
	}
	if kind == mediaForm && wantsPage(r) && redo(err) {
		id.logFailure(r, err)
		return id.pages.register(w, 0, registerView{Next: localPath(v["next"]), Email: email, Refusal: refusalOf(err)})
	}
	return err
}

// signUp makes an account behind the bound of the client's address. A password
// costs its hash before anyone knows whether the address is taken.
func (id *Identity) signUp(r *http.Request, email string, password obs.Secret) (User, error) {
	leave, err := id.addresses.enter(obs.RequestFrom(r.Context()).Client)
	if err != nil {
		return User{}, err
	}
	defer leave()
	return id.addUser(r.Context(), email, password, nil, false)
}

// registrable refuses what cannot be done yet: with mail, an account begins with
// a letter to its address, and there is no mail in this version.
func (id *Identity) registrable() error {
	if id.zone.Identity.Mail != nil {
		return problem.New(problem.ZoneNotEnforced, nil)
	}
	return nil
}
