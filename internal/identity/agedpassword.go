package identity

import (
	"context"
	"net/http"

	"sallyport.dev/internal/mail"
	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/page"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
)

var (
	agedJSONShape = page.Shape{Required: []string{"flow", "password"}}
	agedFormShape = page.Shape{Required: []string{"flow", "password"}, Optional: []string{"next"}}
)

// mfaPassword is POST /auth/mfa/password: a new password for one that is older than
// the zone lets it be, or too short now that no factor stands beside it, before there
// is a session. All other steps are done by then.
func (id *Identity) mfaPassword(w http.ResponseWriter, r *http.Request) error {
	v, kind, err := page.Decode(r, agedJSONShape, agedFormShape)
	if err != nil {
		return err
	}
	var e entry
	short := false
	err = id.db.view(r.Context(), func(ctx context.Context, t tx) error {
		u, user, err := id.stepOf(ctx, t, r, v["flow"], stepPassword)
		if err != nil {
			return err
		}
		a, err := id.sameAccount(ctx, t, user, u.Version)
		e, short = u.entry(a), u.Short
		return err
	})
	if err != nil {
		return id.again(w, r, kind, entry{}, nil, v["flow"], err)
	}
	var o outcome
	h, err := id.replaceAged(r, e, obs.Secret(v["password"]))
	if err == nil {
		err = id.db.change(r.Context(), func(ctx context.Context, t tx) error {
			if _, _, err := id.stepOf(ctx, t, r, v["flow"], stepPassword); err != nil {
				return err
			}
			if _, err := id.sameAccount(ctx, t, e.account.ID, e.account.Version); err != nil {
				return err
			}
			if err := id.storePassword(ctx, t, e.account.ID, h, ""); err != nil { // ends the flow as well
				return err
			}
			e.account.Version++
			if err := id.tell(ctx, t, e.account, mail.PasswordChanged, id.passwordEvent(r, nil)); err != nil {
				return err
			}
			o, err = id.advance(ctx, t, r, kind, e)
			return err
		})
	}
	if err != nil && kind == page.Form && page.WantsPage(r) && page.Redo(err) {
		id.pages.LogFailure(r, err)
		again := page.Password{Flow: v["flow"], Email: e.account.Email, Expired: !short, Short: short, MinLength: minLength(e), Next: localPath(e.next)}
		return id.pages.Write(w, r, 0, again, page.RefusalOf(err))
	}
	if err != nil {
		return err
	}
	return id.arrive(w, r, kind, e, o)
}

// replaceAged judges and hashes the new password: it must not be the one that it
// replaces.
func (id *Identity) replaceAged(r *http.Request, e entry, p obs.Secret) (hashed, error) {
	leave, err := id.addresses.enter(obs.RequestFrom(r.Context()).Client)
	if err != nil {
		return hashed{}, err
	}
	defer leave()
	same, _, err := id.passwords.Check(r.Context(), p, e.account.password, e.account.form)
	if err != nil {
		return hashed{}, err
	}
	if same {
		return hashed{}, problem.WithDetail(problem.AccountPassword, "this is the password that is to be replaced; choose another")
	}
	a := e.account
	return id.hashNew(r.Context(), p, e.level >= policy.TwoFactors, a.Email, a.Name)
}
