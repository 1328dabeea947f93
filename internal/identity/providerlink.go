package identity

import (
	"context"
	"net/http"
	"net/url"

	"sallyport.dev/internal/broker"
	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/page"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
)

var linkShape = page.Shape{Required: []string{"flow", "password"}}

// linkProvider is POST /auth/providers/{name}/link: with the password of an account
// that holds no factor the provider is connected and the login goes on. One that
// holds a factor is connected when the login is whole, see finishLink: a password
// alone must not leave another way in behind.
func (id *Identity) linkProvider(w http.ResponseWriter, r *http.Request) error {
	v, media, err := page.Decode(r, linkShape, linkShape)
	if err != nil {
		return err
	}
	if media != page.Form {
		return problem.New(problem.RequestContent, nil)
	}
	p, err := id.namedProvider(r)
	if err != nil {
		return err
	}
	l, own, err := id.tryLink(r, p, v["flow"])
	if err != nil {
		return err
	}
	same, attempt, err := id.authenticate(r, own.Email, obs.Secret(v["password"]))
	if err != nil {
		if page.WantsPage(r) && page.Redo(err) {
			id.pages.LogFailure(r, err)
			return id.pages.Write(w, r, 0, page.Link{Provider: p.Name, Title: p.Title, Email: own.Email, Flow: v["flow"]}, page.RefusalOf(err))
		}
		return err
	}
	if same.ID != own.ID {
		return problem.New(problem.AccountFlow, nil)
	}
	e := entry{account: own, methods: []string{"password"}, level: 1, known: attempt.Known, next: l.Asked.Next, attempt: &attempt}
	err = id.db.change(r.Context(), func(ctx context.Context, t tx) error {
		held, err := id.factors.HasTx(ctx, t.whole(), own.ID)
		if err != nil {
			return err
		}
		if held.Any() {
			l.Proved = true
			e.next = "/auth/providers/" + p.Name + "/link?flow=" + url.QueryEscape(v["flow"])
			return id.flows.Update(ctx, t.whole(), flowLink, v["flow"], l)
		}
		return id.takeLink(ctx, t, r, p, v["flow"], own, false)
	})
	if err != nil {
		return err
	}
	return id.proceed(w, r, media, e)
}

// tryLink counts a try, and returns the flow with its account as it is now.
func (id *Identity) tryLink(r *http.Request, p broker.Provider, token string) (l link, own account, err error) {
	err = id.db.change(r.Context(), func(ctx context.Context, t tx) error {
		if _, err := id.flows.Get(ctx, t.whole(), flowLink, token, browserOf(r), &l); err != nil {
			return err
		}
		if own, err = id.linkedAccount(ctx, t, l, p); err != nil {
			return err
		}
		_, err := id.flows.Try(ctx, t.whole(), flowLink, token)
		return err
	})
	return l, own, err
}

// linkedAccount returns the account of a flow, if it is as it was when the provider
// answered. Reason account.flow.
func (id *Identity) linkedAccount(ctx context.Context, t tx, l link, p broker.Provider) (account, error) {
	own, found, err := id.accountInTx(ctx, t, l.User)
	if err == nil && (!found || !linkable(own) || own.Version != l.Version || l.Asked.Provider != p.Name || foldEmail(own.Email) != foldEmail(l.Asked.Claims.Email)) {
		err = problem.New(problem.AccountFlow, nil)
	}
	return own, err
}

// takeLink ends the flow and connects the person whose answer began it, and nobody
// else, to the account that was shown.
func (id *Identity) takeLink(ctx context.Context, t tx, r *http.Request, p broker.Provider, token string, own account, proved bool) error {
	var l link
	if _, err := id.flows.Take(ctx, t.whole(), flowLink, token, browserOf(r), &l); err != nil {
		return err
	}
	now, err := id.linkedAccount(ctx, t, l, p)
	if err != nil {
		return err
	}
	if now.ID != own.ID || now.Version != own.Version || l.Proved != proved {
		return problem.New(problem.AccountFlow, nil)
	}
	return id.connectAndTell(ctx, t, r, now, p, l.Asked.Claims)
}

// finishLink is GET /auth/providers/{name}/link: where the login leads that began
// with a password for the sake of a connection, once the factor was shown too.
func (id *Identity) finishLink(w http.ResponseWriter, r *http.Request) error {
	p, err := id.namedProvider(r)
	if err != nil {
		return err
	}
	who, own, err := id.freshCaller(w, r)
	if err != nil {
		return err
	}
	if who.Level < policy.TwoFactors {
		return problem.New(problem.AuthStepUp, nil)
	}
	err = id.changeAs(r, who, func(ctx context.Context, t tx) error {
		return id.takeLink(ctx, t, r, p, r.URL.Query().Get("flow"), own, true)
	})
	if err != nil {
		return err
	}
	return page.Redirect(w, page.AccountPath+"?notice=provider_linked")
}
