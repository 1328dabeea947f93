package identity

import (
	"net/http"

	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/page"
	"sallyport.dev/internal/password"
	"sallyport.dev/internal/policy"
	"sallyport.dev/zone"
)

var (
	registerJSONShape = page.Shape{Required: []string{"email", "password"}}
	registerFormShape = page.Shape{Required: []string{"email", "password"}, Optional: []string{"next"}}
)

func (id *Identity) registerRoutes() []Route {
	if id.zone.Identity.Registration != zone.RegistrationOpen {
		return nil
	}
	return []Route{id.get("/auth/register", id.registerPage), id.post("/auth/register", id.register)}
}

// registerPage is GET /auth/register. It has no JSON twin.
func (id *Identity) registerPage(w http.ResponseWriter, r *http.Request) error {
	if !page.WantsPage(r) {
		return onlyPost(w)
	}
	next := localPath(r.URL.Query().Get("next"))
	if policy.PrincipalFrom(r.Context()).Kind == policy.User {
		return page.Redirect(w, next)
	}
	return id.pages.Write(w, r, 0, id.registerView(next), nil)
}

func (id *Identity) registerView(next string) page.Register {
	return page.Register{Next: next, MinLength: password.MinAlone, Providers: id.providerButtons()}
}

// register is POST /auth/register where registration is open. With mail the answer
// is 202 for every address. Without it, which is for development, it says that an
// address is taken (409); JSON is then answered with the user, and a form also
// logs in.
func (id *Identity) register(w http.ResponseWriter, r *http.Request) error {
	v, kind, err := page.Decode(r, registerJSONShape, registerFormShape)
	if err != nil {
		return err
	}
	email, secret := v["email"], obs.Secret(v["password"])
	if kind == page.Form {
		email = typed(email)
	}
	if id.mailed() {
		browser := ""
		if kind == page.Form {
			browser = bindBrowser(w, r)
		}
		if err = id.askToRegister(r, email, secret, browser); err == nil {
			return id.sent(w, r, kind, flowRegister, email)
		}
	} else {
		var u User
		u, err = id.signUp(r, email, secret)
		if err == nil && kind == page.JSON {
			return page.WriteJSON(w, http.StatusCreated, userAnswer(u))
		}
		if err == nil {
			return id.proceed(w, r, kind, entry{account: account{User: u}, methods: []string{"password"}, level: 1, known: true, next: v["next"]})
		}
	}
	if kind == page.Form && page.WantsPage(r) && page.Redo(err) {
		id.pages.LogFailure(r, err)
		again := id.registerView(localPath(v["next"]))
		again.Email = email
		return id.pages.Write(w, r, 0, again, page.RefusalOf(err))
	}
	return err
}

// signUp makes an account behind the bound of the client's address. A password
// costs its hash before anyone knows whether the address is taken.
func (id *Identity) signUp(r *http.Request, email string, p obs.Secret) (User, error) {
	leave, err := id.addresses.enter(obs.RequestFrom(r.Context()).Client)
	if err != nil {
		return User{}, err
	}
	defer leave()
	return id.addUser(r.Context(), email, p, nil, false)
}
