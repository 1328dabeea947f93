package identity

import (
	"context"
	"net/http"
	"time"

	"sallyport.dev/internal/flow"
	"sallyport.dev/internal/guess"
	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/page"
	"sallyport.dev/internal/password"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
	"sallyport.dev/zone"
)

// The first administrator is made with a token that works once.
const (
	flowBootstrap = "bootstrap"
	bootstrapLife = time.Hour
	bootstrapUser = "bootstrap" // whose flow it is: no account has this id
	bootstrapPath = "/auth/bootstrap"
)

// Bootstrap makes the token with which the first administrator is made, and ends
// the one before. Reason admin.conflict: there is an administrator.
func (id *Identity) Bootstrap(ctx context.Context) (token string, expires time.Time, err error) {
	expires = store.FromMicros(store.Micros(id.clock().Add(bootstrapLife)))
	err = id.db.change(ctx, func(ctx context.Context, t tx) error {
		if err := noAdministrator(ctx, t); err != nil {
			return err
		}
		if err := id.flows.End(ctx, t.whole(), bootstrapUser); err != nil {
			return err
		}
		token, err = id.flows.Begin(ctx, t.whole(), flow.Record{Kind: flowBootstrap, User: bootstrapUser, Expires: expires}, nil)
		return err
	})
	if err != nil {
		return "", time.Time{}, err
	}
	return token, expires, nil
}

// BootstrapURL is where a token is taken.
func (id *Identity) BootstrapURL(token string) string {
	return id.config.Base + bootstrapPath + "?token=" + token
}

// noAdministrator refuses where there is one. It looks at every account, which is
// done while a zone is set up.
func noAdministrator(ctx context.Context, t tx) error {
	var n int
	err := t.QueryRow(ctx, "SELECT COUNT(*) FROM users WHERE ' ' || roles || ' ' LIKE ?", "% "+AdminRole+" %").Scan(&n)
	if err == nil && n > 0 {
		err = problem.WithDetail(problem.AdminConflict, "there is an administrator already")
	}
	return err
}

func (id *Identity) bootstrapRoutes() []Route {
	return []Route{id.get(bootstrapPath, id.bootstrapPage), id.post(bootstrapPath, id.bootstrap)}
}

// bootstrapPage is GET /auth/bootstrap. It does not say whether a token is good.
func (id *Identity) bootstrapPage(w http.ResponseWriter, r *http.Request) error {
	if !page.WantsPage(r) {
		return onlyPost(w)
	}
	token := r.URL.Query().Get("token")
	if len(token) > 100 {
		token = ""
	}
	return id.pages.Write(w, r, 0, page.Bootstrap{Token: token, MinLength: password.MinAlone}, nil)
}

var bootstrapShape = page.Shape{Required: []string{"token", "email", "password"}}

// bootstrap is POST /auth/bootstrap: it makes the account of the first administrator
// and leads on to the second factor, without which there is no session.
func (id *Identity) bootstrap(w http.ResponseWriter, r *http.Request) error {
	v, kind, err := page.Decode(r, bootstrapShape, bootstrapShape)
	if err != nil {
		return err
	}
	email := v["email"]
	if kind == page.Form {
		email = typed(email)
	}
	e, o, err := id.firstAdministrator(r, kind, v["token"], email, obs.Secret(v["password"]))
	if err != nil && kind == page.Form && page.WantsPage(r) && (page.Redo(err) || problem.ReasonOf(err) == problem.AccountFlow) {
		id.pages.LogFailure(r, err)
		again := page.Bootstrap{Token: v["token"], Email: email, MinLength: password.MinAlone}
		return id.pages.Write(w, r, 0, again, page.RefusalOf(err))
	}
	if err != nil {
		return err
	}
	return id.arrive(w, r, kind, e, o)
}

func (id *Identity) firstAdministrator(r *http.Request, kind page.Media, token, email string, chosen obs.Secret) (e entry, o outcome, err error) {
	none := func(err error) (entry, outcome, error) { return entry{}, outcome{}, err }
	if email, err = parseEmail(email); err != nil {
		return none(err)
	}
	client := obs.RequestFrom(r.Context()).Client
	if err := id.guesses.Take(r.Context(), flowBootstrap, guess.Network(client).String(), zone.Rate{Count: 20, Window: 10 * time.Minute}); err != nil {
		return none(err)
	}
	err = id.db.view(r.Context(), func(ctx context.Context, t tx) error { // before the price of a hash
		_, err := id.flows.Get(ctx, t.whole(), flowBootstrap, token, "", nil)
		return err
	})
	if err != nil {
		return none(err)
	}
	leave, err := id.addresses.enter(client)
	if err != nil {
		return none(err)
	}
	defer leave()
	h, err := id.hashNew(r.Context(), chosen, false, email)
	if err != nil {
		return none(err)
	}
	err = id.db.change(r.Context(), func(ctx context.Context, t tx) error {
		if _, err := id.flows.Take(ctx, t.whole(), flowBootstrap, token, "", nil); err != nil {
			return err
		}
		if err := noAdministrator(ctx, t); problem.ReasonOf(err) == problem.AdminConflict {
			return tooLate("there is an administrator already")
		} else if err != nil {
			return err
		}
		u, err := id.insertUser(ctx, t, User{Email: email, Roles: []string{AdminRole}, Verified: true}, h)
		if err != nil {
			return err
		}
		e = entry{account: account{User: u}, known: true}
		e.proved("password", 1)
		o, err = id.advance(ctx, t, r, kind, e)
		return err
	})
	return e, o, err
}
