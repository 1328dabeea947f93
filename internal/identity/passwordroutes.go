package identity

import (
	"context"
	"net/http"
	"strconv"

	"sallyport.dev/internal/mail"
	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/page"
	"sallyport.dev/internal/password"
	"sallyport.dev/internal/problem"
)

const passwordPath = "/auth/password"

var (
	passwordJSONShape = page.Shape{Required: []string{"password"}, Optional: []string{"token", "current"}, Flags: []string{"keys"}}
	passwordFormShape = page.Shape{Required: []string{"password"}, Optional: []string{"token", "current", "next"}, Flags: []string{"keys"}}
)

func (id *Identity) passwordRoutes() []Route {
	strength := id.post("/auth/password/strength", id.strength)
	strength.Durable = false // it changes nothing
	return []Route{id.get(passwordPath, id.passwordPage), id.post(passwordPath, id.password), strength}
}

// leastOf is the least length of a password of an account.
func leastOf(second bool) int {
	if second {
		return password.MinSecond
	}
	return password.MinAlone
}

// passwordPage is GET /auth/password: with the token of a letter, or for who is
// logged in.
func (id *Identity) passwordPage(w http.ResponseWriter, r *http.Request) error {
	if !page.WantsPage(r) {
		return onlyPost(w)
	}
	if query := r.URL.Query(); query.Has("token") {
		a, second, err := id.recovering(r, query.Get("token"))
		if err != nil {
			return err
		}
		return id.pages.Write(w, r, 0, page.Password{Token: query.Get("token"), Email: a.Email, MinLength: leastOf(second)}, nil)
	}
	_, a, err := id.freshCaller(w, r)
	if err != nil {
		return err
	}
	held, err := id.factors.Has(r.Context(), a.ID)
	if err != nil {
		return err
	}
	live, err := id.liveKeys(r.Context(), a.ID)
	if err != nil {
		return err
	}
	return id.pages.Write(w, r, 0, page.Password{Email: a.Email, Current: a.password != "", MinLength: leastOf(held.Any()), Keys: live}, nil)
}

// recovering returns the account that a letter's link lets choose a new password,
// and whether it holds a second factor. Reason account.flow.
func (id *Identity) recovering(r *http.Request, token string) (a account, second bool, err error) {
	err = id.db.view(r.Context(), func(ctx context.Context, t tx) error {
		var l linked
		record, err := id.flows.Get(ctx, t.whole(), flowRecover, token, "", &l)
		if err != nil {
			return err
		}
		if a, err = id.stillOf(ctx, t, record.User, l); err != nil {
			return err
		}
		held, err := id.factors.HasTx(ctx, t.whole(), a.ID)
		second = held.Any()
		return err
	})
	return a, second, err
}

// stillOf returns the account of a link as it is now, unless it was disabled or
// its mail goes elsewhere meanwhile.
func (id *Identity) stillOf(ctx context.Context, t tx, user string, l linked) (account, error) {
	a, found, err := id.accountInTx(ctx, t, user)
	if err == nil && (!found || a.Disabled || foldEmail(a.Email) != foldEmail(l.Email)) {
		err = problem.New(problem.AccountFlow, nil)
	}
	return a, err
}

// password is POST /auth/password: with the token of a letter and a new password,
// or logged in with the one in force and a new one.
func (id *Identity) password(w http.ResponseWriter, r *http.Request) error {
	v, media, err := page.Decode(r, passwordJSONShape, passwordFormShape)
	if err != nil {
		return err
	}
	_, byLetter := v["token"]
	if _, both := v["current"]; both && byLetter {
		return problem.WithDetail(problem.AccountInvalid, "current: not beside a token")
	}
	change, to := id.changePassword, page.LocalPath(v["next"], page.AccountPath+"?notice=password_changed")
	if byLetter {
		change, to = id.resetPassword, page.LoginPath+"?notice=password_changed"
	}
	again, err := change(w, r, v)
	switch {
	case err != nil && media == page.Form && page.WantsPage(r) && page.Redo(err) && again.MinLength > 0:
		id.pages.LogFailure(r, err)
		return id.pages.Write(w, r, 0, again, page.RefusalOf(err))
	case err != nil:
		return err
	case byLetter:
		id.letIn(w, r, media, again.Email)
	}
	if page.WantsPage(r) {
		return page.Follow(w, to)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// letIn remembers the owner of a mailbox by device and network: whoever guesses at
// the account meanwhile shall not keep them out of what the letter gave back.
func (id *Identity) letIn(w http.ResponseWriter, r *http.Request, media page.Media, email string) {
	key := foldEmail(email)
	if err := id.guesses.Remember(r.Context(), key, obs.RequestFrom(r.Context()).Client, deviceOf(r)); err != nil {
		id.log.WarnContext(r.Context(), "who recovered an account is not remembered", "error", err)
	}
	if media == page.Form {
		device, life := id.guesses.NewDevice(key, deviceOf(r))
		setFor(w, DeviceCookie, device, life)
	}
}

// resetPassword ends every session, the user's API keys and what programs were
// granted: whoever comes by the mailbox may have lost the account to somebody, who
// has left those in it. The factors stay, and are asked for at the next login: a
// letter never replaces one.
func (id *Identity) resetPassword(_ http.ResponseWriter, r *http.Request, v page.Values) (again page.Password, err error) {
	a, second, err := id.recovering(r, v["token"])
	if err != nil {
		return again, err
	}
	again = page.Password{Token: v["token"], Email: a.Email, MinLength: leastOf(second)}
	h, err := id.hashChosen(r, obs.Secret(v["password"]), second, a.Email, a.Name)
	if err != nil {
		return again, err
	}
	return again, id.db.change(r.Context(), func(ctx context.Context, t tx) error {
		var l linked
		record, err := id.flows.Take(ctx, t.whole(), flowRecover, v["token"], "", &l)
		if err != nil {
			return err
		}
		if a, err = id.stillOf(ctx, t, record.User, l); err != nil {
			return err
		}
		var ended delegates
		if a.Verified {
			if ended, err = id.endDelegates(ctx, t, a.ID); err == nil { // before they end with the sessions: they are counted
				err = id.storePassword(ctx, t, a.ID, h, "")
			}
		} else if claimable, claimErr := id.claimable(ctx, t, a); claimErr != nil || !claimable {
			err = claimErr
			if err == nil {
				err = problem.New(problem.AccountFlow, nil)
			}
		} else {
			ended, err = id.claim(ctx, t, a, h)
		}
		if err != nil {
			return err
		}
		return id.tell(ctx, t, a, mail.PasswordChanged, id.passwordEvent(r, &ended))
	})
}

// passwordEvent is the data of the letter that tells of a new password; ended is
// what ended with one that was recovered.
func (id *Identity) passwordEvent(r *http.Request, ended *delegates) map[string]string {
	keys, grants := "", ""
	if ended != nil {
		keys, grants = strconv.Itoa(ended.keys), strconv.Itoa(ended.grants)
	}
	return id.event(r, map[string]string{"keys": keys, "grants": grants})
}

// changePassword ends every other session, and the user's API keys where that is
// asked for: they are for programs that go on, and the owner has lost nothing. A
// wrong password in the place of the one in force is a guess, and counted as such.
func (id *Identity) changePassword(w http.ResponseWriter, r *http.Request, v page.Values) (again page.Password, err error) {
	p, a, err := id.freshCaller(w, r)
	if err != nil {
		return again, err
	}
	held, err := id.factors.Has(r.Context(), a.ID)
	if err != nil {
		return again, err
	}
	live, err := id.liveKeys(r.Context(), a.ID)
	if err != nil {
		return again, err
	}
	again = page.Password{Email: a.Email, Current: a.password != "", MinLength: leastOf(held.Any()), Keys: live, Next: v["next"]}
	if a.password != "" {
		if _, there := v["current"]; !there {
			return again, problem.WithDetail(problem.AccountInvalid, "current: required")
		}
		if err := id.checkOwn(r, a, obs.Secret(v["current"])); err != nil {
			return again, err
		}
	}
	h, err := id.hashChosen(r, obs.Secret(v["password"]), held.Any(), a.Email, a.Name)
	if err != nil {
		return again, err
	}
	return again, id.changeAs(r, p, func(ctx context.Context, t tx) error {
		if err := id.unchanged(ctx, t, a); err != nil {
			return err
		}
		if v.Flag("keys") {
			if _, err := id.endKeys(ctx, t, a.ID); err != nil {
				return err
			}
		}
		if err := id.storePassword(ctx, t, a.ID, h, p.Session); err != nil {
			return err
		}
		return id.tell(ctx, t, a, mail.PasswordChanged, id.passwordEvent(r, nil))
	})
}

// checkOwn checks the password of who is logged in, counted as a login is.
func (id *Identity) checkOwn(r *http.Request, a account, p obs.Secret) error {
	same, attempt, err := id.authenticate(r, a.Email, p)
	if err != nil {
		return err
	}
	if same.ID != a.ID { // the address went to another account meanwhile
		return problem.New(problem.AuthLogin, nil)
	}
	id.forgive(r, attempt)
	return nil
}

// unchanged refuses a change of an account that was itself changed since it was
// looked at: what was proved then may no longer hold.
func (id *Identity) unchanged(ctx context.Context, t tx, a account) error {
	now, found, err := id.accountInTx(ctx, t, a.ID)
	if err == nil && (!found || now.Disabled || now.Version != a.Version) {
		err = problem.New(problem.AuthRevoked, nil)
	}
	return err
}
