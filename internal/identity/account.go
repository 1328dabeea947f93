package identity

import (
	"context"
	"net/http"
	"slices"

	"sallyport.dev/internal/factor"
	"sallyport.dev/internal/page"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/store"
)

// accountRoutes are what users do with accounts of theirs.
func (id *Identity) accountRoutes() []Route {
	return slices.Concat(
		[]Route{
			id.get(page.AccountPath, id.accountPage),
			id.post("/auth/profile", id.profile),
			id.get("/auth/export", id.export),
		},
		id.verifyRoutes(), id.recoverRoutes(), id.passwordRoutes(), id.emailRoutes(), id.deleteRoutes(), id.keyRoutes(), id.grantRoutes(), id.providerRoutes(),
	)
}

// facts are what is kept of an account, as its user sees it.
type facts struct {
	account     account
	factors     []factor.Factor
	codes       int
	sessions    []Session
	current     string // id of the session of the request
	connections []connection
	grants      []Grant
	keys        []Key
}

// facts gathers what is kept of the caller's account.
func (id *Identity) facts(r *http.Request, p *policy.Principal, a account) (f facts, err error) {
	f = facts{account: a, current: p.Session}
	if f.sessions, err = id.sessionsOf(r, p); err != nil {
		return f, err
	}
	err = id.db.view(r.Context(), func(ctx context.Context, t tx) error {
		if f.factors, err = id.factors.ListTx(ctx, t.whole(), a.ID); err != nil {
			return err
		}
		held, err := id.factors.HasTx(ctx, t.whole(), a.ID)
		if err != nil {
			return err
		}
		f.codes = held.Codes
		f.connections, err = connectionsOf(ctx, t, a.ID)
		return err
	})
	if err != nil {
		return f, err
	}
	if id.keys != nil {
		if f.keys, err = id.keys.ListKeys(r.Context(), a.ID); err != nil {
			return f, store.Refusal(r.Context(), err)
		}
	}
	if id.grants != nil {
		if f.grants, err = id.grants.Grants(r.Context(), a.ID); err != nil {
			return f, store.Refusal(r.Context(), err)
		}
	}
	return f, nil
}

// own is a request whose answer is in the language of an account and names it.
func (id *Identity) own(r *http.Request, a account) *http.Request {
	name := a.Name
	if name == "" {
		name = a.Email
	}
	return r.WithContext(page.WithUser(page.WithLanguage(r.Context(), a.Locale), name))
}

// accountPage is GET /auth/account: everything, as a page or as JSON.
func (id *Identity) accountPage(w http.ResponseWriter, r *http.Request) error {
	p, a, err := id.callersAccount(w, r)
	if err != nil {
		return err
	}
	f, err := id.facts(r, p, a)
	if err != nil {
		return err
	}
	if !page.WantsPage(r) {
		return page.WriteJSON(w, http.StatusOK, f.answer())
	}
	v := id.accountView(r, f)
	v.Notice = doneOf(r.URL.Query().Get("notice"))
	return id.pages.Write(w, r, 0, v, nil)
}

// doneOf takes what an account page may be asked to say.
func doneOf(text string) string {
	switch text {
	case "deletion_cancelled", "done", "email_changed", "factor_added", "factor_removed", "factor_renamed", "grant_revoked", "key_revoked",
		"password_changed", "profile_saved", "provider_linked", "provider_unlinked", "session_revoked", "sessions_revoked":
		return text
	}
	return ""
}

// accountView puts the facts on the account page.
func (id *Identity) accountView(r *http.Request, f facts) page.Account {
	a := f.account
	v := page.Account{
		ID: a.ID, Email: a.Email, Name: a.Name, Locale: a.Locale, Locales: id.pages.Locales(r, a.Locale), Roles: a.Roles,
		HasPassword: a.password != "", PasswordAt: a.passwordAt, Mail: id.mailed(), MFARequired: id.mustHoldFactor(a),
		RecoveryLeft: f.codes, RecoveryMade: f.codes > 0, KeysAllowed: id.keys != nil && len(id.keys.Offered()) > 0, Deleting: a.Deleting,
		Providers: id.providersOf(f.connections),
	}
	for _, h := range f.factors {
		v.Factors = append(v.Factors, page.Factor{ID: h.ID, Kind: string(h.Kind), Name: h.Name, Created: h.Created, Used: h.LastUsed})
	}
	for _, s := range f.sessions {
		v.Sessions = append(v.Sessions, page.Session{ID: s.ID, Device: device(s.Agent), Client: clientText(s), Method: s.Method, Level: s.Level,
			Current: s.ID == f.current, Created: s.Created, Used: s.LastUsed, Expires: s.Expires})
	}
	for _, g := range f.grants {
		v.Grants = append(v.Grants, page.Grant(g))
	}
	for _, k := range f.keys {
		key := page.Key{ID: k.ID, Name: k.Name, Scopes: k.Scopes, Created: k.Created, Expires: k.Expires, Used: k.Used}
		for _, s := range k.Signing {
			key.Signing = append(key.Signing, page.SigningKey{ID: s.ID, Kind: s.Algorithm, Expires: s.Expires})
		}
		v.Keys = append(v.Keys, key)
	}
	return v
}
