package identity

import (
	"context"
	"net/http"

	"sallyport.dev/internal/broker"
	"sallyport.dev/internal/flow"
	"sallyport.dev/internal/mail"
	"sallyport.dev/internal/page"
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// notConnected is the answer to who is somebody at a provider and nobody here. It is
// the same whether there is an account with the address or not, unless the
// provider verified that: else it could be asked about any address.
func notConnected() error {
	return problem.WithDetail(problem.AccountConflict, "this login is not connected with an account here; log in another way and connect it on the account page")
}

// answered goes on with what a provider said.
func (id *Identity) answered(w http.ResponseWriter, r *http.Request, p broker.Provider, a errand) error {
	if !sameText(a.Browser, browserOf(r)) { // the flow was bound to it; said once more where it counts
		return problem.New(problem.AccountFlow, nil)
	}
	if a.User != "" {
		return id.connectOwn(w, r, p, a)
	}
	var own account
	var ask bool
	err := id.db.change(r.Context(), func(ctx context.Context, t tx) (err error) {
		own, ask, err = id.knownBy(ctx, t, a)
		return err
	})
	switch {
	case err != nil:
		return err
	case ask:
		return id.askLink(w, r, p, a, own)
	}
	return id.enterBy(w, r, a, own)
}

// enterBy logs in with a provider: one factor, however the provider came to know
// who it is, so that one which is held here is asked for.
func (id *Identity) enterBy(w http.ResponseWriter, r *http.Request, a errand, own account) error {
	return id.proceed(w, r, page.Form, entry{
		account: own, methods: []string{"provider:" + a.Provider}, level: 1, next: a.Next,
		known: id.guesses.KnownDevice(foldEmail(own.Email), deviceOf(r)),
	})
}

// knownBy returns whose account the answer opens, and makes one where that may be.
// ask says that there is one with the address which the answer does not open yet.
func (id *Identity) knownBy(ctx context.Context, t tx, a errand) (own account, ask bool, err error) {
	user, err := userOf(ctx, t, a.Claims)
	if err != nil {
		return account{}, false, err
	}
	if user != "" {
		own, found, err := id.accountInTx(ctx, t, user)
		switch {
		case err == nil && (!found || own.Disabled):
			err = problem.New(problem.ProviderDenied, nil)
		case err == nil && a.Again != "" && a.Again != own.ID:
			err = problem.New(problem.AccountFlow, nil)
		}
		if err != nil {
			return account{}, false, err
		}
		return own, false, id.used(ctx, t, a.Claims)
	}
	if a.Again != "" || !a.Claims.EmailVerified {
		return account{}, false, notConnected()
	}
	email, err := parseEmail(a.Claims.Email)
	if err != nil {
		return account{}, false, notConnected()
	}
	own, found, err := id.accountByEmailTx(ctx, t, email)
	switch {
	case err != nil:
		return account{}, false, err
	case found && linkable(own):
		return own, true, nil
	case found || id.zone.Identity.Registration != zone.RegistrationOpen:
		return account{}, false, notConnected()
	}
	name, err := checkName(a.Claims.Name)
	if err != nil {
		name = ""
	}
	u, err := id.insertUser(ctx, t, User{Email: email, Name: name, Locale: a.Locale, Verified: true}, hashed{})
	if err != nil {
		return account{}, false, err
	}
	_, err = id.connect(ctx, t, u.ID, a.Claims)
	return account{User: u}, false, err
}

// linkable says whether an account may be offered to who shows its password and has
// its address verified at a provider. One whose own address nobody has shown to be
// theirs is not: it may have been made to lie in wait for who has. One without a
// password has nothing to be shown here: its user connects it from within.
func linkable(a account) bool { return a.Verified && !a.Disabled && a.password != "" }

// connectOwn connects the provider to the account of the very session that asked.
func (id *Identity) connectOwn(w http.ResponseWriter, r *http.Request, p broker.Provider, a errand) error {
	who, own, err := id.callersAccount(w, r)
	if err != nil {
		return err
	}
	if own.ID != a.User || who.Session != a.Session {
		return problem.New(problem.AccountFlow, nil)
	}
	if err := id.fresh(r, who, own); err != nil {
		return err
	}
	err = id.changeAs(r, who, func(ctx context.Context, t tx) error {
		if err := id.unchanged(ctx, t, own); err != nil {
			return err
		}
		return id.connectAndTell(ctx, t, r, own, p, a.Claims)
	})
	if err != nil {
		return err
	}
	return page.Redirect(w, page.AccountPath+"?notice=provider_linked")
}

func (id *Identity) connectAndTell(ctx context.Context, t tx, r *http.Request, own account, p broker.Provider, c broker.Claims) error {
	isNew, err := id.connect(ctx, t, own.ID, c)
	if err != nil || !isNew {
		return err
	}
	return id.tell(ctx, t, own, mail.ProviderLinked, id.event(r, map[string]string{"provider": p.Title}))
}

// unlinkProvider is POST /auth/providers/{name}/unlink, also of a provider that the
// map no longer names.
func (id *Identity) unlinkProvider(w http.ResponseWriter, r *http.Request) error {
	if err := emptyBody(r); err != nil {
		return err
	}
	who, own, err := id.freshCaller(w, r)
	if err != nil {
		return err
	}
	err = id.changeAs(r, who, func(ctx context.Context, t tx) error {
		if err := id.unchanged(ctx, t, own); err != nil {
			return err
		}
		return id.disconnect(ctx, t, own, r.PathValue("name"))
	})
	if err != nil {
		return err
	}
	return id.done(w, r, "provider_unlinked")
}

// link is a flow in which somebody known to a provider is to show that an account
// is theirs: bound to that account, to the issuer and subject in Asked.Claims, and
// by its id to this one answer.
type link struct {
	Asked   errand `json:"asked"`
	User    string `json:"user"`
	Version uint64 `json:"version"`
	Proved  bool   `json:"proved,omitempty"` // the password was shown; a factor is asked for
}

// linkTries is how many passwords one answer of a provider may be followed by.
const linkTries = 5

// askLink asks for the password of the account that has the address.
func (id *Identity) askLink(w http.ResponseWriter, r *http.Request, p broker.Provider, a errand, own account) error {
	a.State = broker.State{}
	var token string
	err := id.db.change(r.Context(), func(ctx context.Context, t tx) (err error) {
		token, err = id.flows.Begin(ctx, t.whole(), flow.Record{
			Kind: flowLink, User: own.ID, Browser: a.Browser, Tries: linkTries, Expires: id.clock().Add(providerLife),
		}, link{Asked: a, User: own.ID, Version: own.Version})
		return err
	})
	if err != nil {
		return err
	}
	return id.pages.Write(w, r, 0, page.Link{Provider: p.Name, Title: p.Title, Email: own.Email, Flow: token}, nil)
}
