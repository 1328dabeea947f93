package identity

import (
	"context"
	"crypto/subtle"
	"net/http"

	"sallyport.dev/internal/mail"
	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/page"
	"sallyport.dev/internal/password"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
	"sallyport.dev/zone"
)

const verifyPath = "/auth/verify"

var verifyShape = page.Shape{Required: []string{"token"}, Optional: []string{"password"}}

// verifyRoutes are where the links of letters lead that show an address to be
// somebody's.
func (id *Identity) verifyRoutes() []Route {
	if !id.mailed() {
		return nil
	}
	return []Route{id.get(verifyPath, id.verifyPage), id.post(verifyPath, id.verify)}
}

// awaited is a flow that waits for a link.
type awaited struct {
	linked
	kind string
	user string // of kind email
}

// awaited finds the flow of a link, whatever it is about. Reason: account.flow.
func (id *Identity) awaited(ctx context.Context, t tx, token string) (awaited, error) {
	var err error
	for _, kind := range []string{flowRegister, flowEmail, flowInvite} {
		a := awaited{kind: kind}
		r, getErr := id.flows.Get(ctx, t.whole(), kind, token, "", &a.linked)
		if getErr == nil {
			a.user = r.User
			return a, id.stillWanted(kind)
		}
		if err = getErr; problem.ReasonOf(err) != problem.AccountFlow {
			break
		}
	}
	return awaited{}, err
}

// stillWanted refuses links that the map no longer wants.
func (id *Identity) stillWanted(kind string) error {
	switch mode := id.zone.Identity.Registration; {
	case kind == flowRegister && mode != zone.RegistrationOpen, kind == flowInvite && mode == zone.RegistrationClosed:
		return problem.New(problem.AccountClosed, nil)
	}
	return nil
}

// choosesPassword says whether the password is chosen with the link. That of an
// account that was asked for in another browser may have been chosen by somebody
// else, who waits for the owner of the address to confirm: so it does not count on
// pages. An app that follows links itself is trusted with what it asked for.
func choosesPassword(a awaited, media page.Media, r *http.Request) bool {
	switch a.kind {
	case flowInvite:
		return true
	case flowRegister:
		own := browserOf(r)
		return media == page.Form && (own == "" || subtle.ConstantTimeCompare([]byte(own), []byte(a.Browser)) != 1)
	}
	return false
}

// mayConfirm: a new address is confirmed by the user of the account, logged in. The
// owner of a mailbox who follows a link of a stranger's making would give their
// address to the stranger's account.
func mayConfirm(a awaited, r *http.Request) error {
	if a.kind != flowEmail {
		return nil
	}
	p, err := caller(r)
	switch {
	case err != nil:
	case p.StepUp:
		err = problem.New(problem.AuthStepUp, nil)
	case p.Subject != a.user:
		err = problem.WithDetail(problem.AccountConflict, "the link is of another account than the one that is logged in")
	}
	return err
}

// verifyPage is GET /auth/verify: a button, since scanners of mail follow links.
func (id *Identity) verifyPage(w http.ResponseWriter, r *http.Request) error {
	if !page.WantsPage(r) {
		return onlyPost(w)
	}
	token := r.URL.Query().Get("token")
	a, err := id.look(r, token)
	if err != nil {
		return err
	}
	return id.pages.Write(w, r, 0, verifyView(a, r, token), nil)
}

func verifyView(a awaited, r *http.Request, token string) page.Verify {
	return page.Verify{Kind: a.kind, Token: token, Email: a.Email, Password: choosesPassword(a, page.Form, r), MinLength: password.MinAlone}
}

func (id *Identity) look(r *http.Request, token string) (a awaited, err error) {
	err = id.db.view(r.Context(), func(ctx context.Context, t tx) error {
		a, err = id.awaited(ctx, t, token)
		return err
	})
	if err == nil {
		err = mayConfirm(a, r)
	}
	return a, err
}

// verify is POST /auth/verify. It opens no session: a link is no login.
func (id *Identity) verify(w http.ResponseWriter, r *http.Request) error {
	v, media, err := page.Decode(r, verifyShape, verifyShape)
	if err != nil {
		return err
	}
	a, err := id.look(r, v["token"])
	if err != nil {
		return err
	}
	u, err := id.confirm(r, media, a, v["token"], obs.Secret(v["password"]))
	if err != nil {
		if media == page.Form && page.WantsPage(r) && page.Redo(err) && a.kind != flowEmail {
			id.pages.LogFailure(r, err)
			return id.pages.Write(w, r, 0, verifyView(a, r, v["token"]), page.RefusalOf(err))
		}
		return err
	}
	switch {
	case !page.WantsPage(r):
		return page.WriteJSON(w, http.StatusOK, userAnswer(u))
	case a.kind == flowEmail:
		return page.Redirect(w, page.AccountPath+"?notice=email_changed")
	}
	return page.Redirect(w, page.LoginPath+"?notice=verified")
}

// confirm does what the link of a letter is about, once.
func (id *Identity) confirm(r *http.Request, media page.Media, a awaited, token string, p obs.Secret) (u User, err error) {
	h := hashed{encoded: a.Hash, form: a.Form, stands: standsLong} // what was asked for was judged to be
	switch {
	case choosesPassword(a, media, r) && p == "":
		return User{}, problem.WithDetail(problem.AccountInvalid, "password: required")
	case a.kind != flowEmail && p != "":
		if h, err = id.hashChosen(r, p, false, a.Email); err != nil {
			return User{}, err
		}
	}
	err = id.db.change(r.Context(), func(ctx context.Context, t tx) error {
		if _, err := id.flows.Take(ctx, t.whole(), a.kind, token, "", nil); err != nil {
			return err
		}
		if a.kind == flowEmail {
			u, err = id.moveTo(ctx, t, r, a)
		} else {
			u, err = id.settle(ctx, t, a, h)
		}
		return err
	})
	return u, err
}

// hashChosen is hashNew behind the bound of the client's address.
func (id *Identity) hashChosen(r *http.Request, p obs.Secret, second bool, words ...string) (hashed, error) {
	leave, err := id.addresses.enter(obs.RequestFrom(r.Context()).Client)
	if err != nil {
		return hashed{}, err
	}
	defer leave()
	return id.hashNew(r.Context(), p, second, words...)
}

// settle makes the account of an address that was shown to be somebody's, or
// gives them the one that nobody had shown to be theirs.
func (id *Identity) settle(ctx context.Context, t tx, a awaited, h hashed) (User, error) {
	var roles []string
	if a.kind == flowInvite {
		open, there, err := id.takeInvitation(ctx, t, a.Email)
		if err == nil && !there {
			err = problem.New(problem.AccountFlow, nil)
		}
		if err != nil {
			return User{}, err
		}
		roles = open.Roles
	}
	have, found, err := id.accountByEmailTx(ctx, t, a.Email)
	if err != nil {
		return User{}, err
	}
	if !found {
		return id.insertUser(ctx, t, User{Email: a.Email, Locale: a.Locale, Roles: roles, Verified: true}, h)
	}
	claimable, err := id.claimable(ctx, t, have)
	switch {
	case err != nil:
		return User{}, err
	case have.Disabled:
		return User{}, problem.New(problem.AccountFlow, nil)
	case !claimable || a.kind == flowInvite: // an invitation is for who has no account
		return User{}, problem.New(problem.AccountExists, nil)
	}
	if _, err := id.claim(ctx, t, have, h); err != nil {
		return User{}, err
	}
	have.Verified = true
	return have.User, nil
}

// moveTo gives an account its new address and tells the old one. Other links of
// letters to the old address end.
func (id *Identity) moveTo(ctx context.Context, t tx, r *http.Request, a awaited) (User, error) {
	if err := id.stillIn(ctx, t, policy.PrincipalFrom(r.Context())); err != nil {
		return User{}, err
	}
	have, found, err := id.accountInTx(ctx, t, a.user)
	if err != nil {
		return User{}, err
	}
	if !found || have.Disabled || foldEmail(have.Email) != foldEmail(a.Before) || policy.PrincipalFrom(r.Context()).Subject != have.ID {
		return User{}, problem.New(problem.AccountFlow, nil)
	}
	if other, taken, err := id.accountByEmailTx(ctx, t, a.Email); err != nil || taken && other.ID != have.ID {
		if err == nil {
			err = problem.New(problem.AccountExists, nil) // told to who reads the mail of both
		}
		return User{}, err
	}
	if _, err := t.Exec(ctx, "UPDATE users SET email = ?, email_key = ?, verified_at = ? WHERE id = ?",
		a.Email, foldEmail(a.Email), store.Micros(id.clock()), have.ID); err != nil {
		return User{}, err
	}
	if err := id.bump(ctx, t, have.ID); err != nil {
		return User{}, err
	}
	if err := id.flows.End(ctx, t.whole(), have.ID); err != nil {
		return User{}, err
	}
	if have.Verified && foldEmail(have.Email) != foldEmail(a.Email) {
		if err := id.tell(ctx, t, have, mail.EmailChanged, id.event(r, nil)); err != nil { // have has the old address still
			return User{}, err
		}
	}
	have.Email, have.Verified = a.Email, true
	return have.User, nil
}
