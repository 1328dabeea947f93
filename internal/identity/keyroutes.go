package identity

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"sallyport.dev/internal/mail"
	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/page"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

// keysPath is where the API keys of a user are.
const keysPath = "/auth/keys"

var (
	newKeyShape  = page.Shape{Required: []string{"name"}, Optional: []string{"expires"}, Lists: []string{"scopes", "addresses"}}
	signingShape = page.Shape{Required: []string{"algorithm"}, Optional: []string{"public_key"}}
)

func (id *Identity) keyRoutes() []Route {
	return []Route{
		id.get(keysPath, id.listKeys),
		id.post(keysPath, id.createKey),
		id.post(keysPath+"/{id}/rotate", id.rotateKey),
		id.post(keysPath+"/{id}/revoke", id.revokeKey),
		id.post(keysPath+"/{id}/signing", id.addSigning),
		id.post(keysPath+"/{id}/signing/{signing}/revoke", id.removeSigning),
	}
}

// keyCaller is freshCaller where users may have keys.
func (id *Identity) keyCaller(w http.ResponseWriter, r *http.Request) (*policy.Principal, account, error) {
	if id.keys == nil {
		return nil, account{}, problem.New(problem.RouteUnknown, nil)
	}
	return id.freshCaller(w, r)
}

// listKeys is GET /auth/keys: a page on which to make one; in JSON those there are.
func (id *Identity) listKeys(w http.ResponseWriter, r *http.Request) error {
	if id.keys == nil {
		return problem.New(problem.RouteUnknown, nil)
	}
	if page.WantsPage(r) {
		_, _, err := id.freshCaller(w, r)
		if err != nil {
			return err
		}
		return id.pages.Write(w, r, 0, id.newKeyView(nil), nil)
	}
	_, a, err := id.callersAccount(w, r)
	if err != nil {
		return err
	}
	list, err := id.keys.ListKeys(r.Context(), a.ID)
	if err != nil {
		return store.Refusal(r.Context(), err)
	}
	answer := struct {
		Keys   []keyJSON `json:"keys"`
		Scopes []string  `json:"scopes"` // that a key may have
	}{[]keyJSON{}, append([]string{}, id.keys.Offered()...)}
	for _, k := range list {
		answer.Keys = append(answer.Keys, keyAnswer(k))
	}
	return page.WriteJSON(w, http.StatusOK, answer)
}

func (id *Identity) newKeyView(v page.Values) page.NewKey {
	view := page.NewKey{Name: v["name"], Expires: v["expires"]}
	chosen := map[string]bool{}
	for _, s := range v.List("scopes") {
		chosen[s] = true
	}
	for _, s := range id.keys.Offered() {
		view.Scopes = append(view.Scopes, page.Choice{Value: s, Chosen: chosen[s]})
	}
	return view
}

// keyMadeJSON is a key with its text, which is told this once.
type keyMadeJSON struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	Key       string `json:"key"`
	ExpiresAt string `json:"expires_at,omitempty"`
}

// createKey is POST /auth/keys. A life is asked for in days.
func (id *Identity) createKey(w http.ResponseWriter, r *http.Request) error {
	v, media, err := page.Decode(r, newKeyShape, newKeyShape)
	if err != nil {
		return err
	}
	p, a, err := id.keyCaller(w, r)
	if err != nil {
		return err
	}
	n := NewKey{Name: v["name"], Scopes: v.List("scopes"), Addresses: v.List("addresses")}
	n.Life, err = daysOf(v["expires"])
	var k Key
	var secret obs.Secret
	if err == nil {
		err = id.changeAs(r, p, func(ctx context.Context, t tx) error {
			if k, secret, err = id.keys.CreateKey(ctx, t.whole(), a.ID, n); err != nil {
				return err
			}
			return id.tellKey(ctx, t, r, a, k, "")
		})
	}
	if err != nil && media == page.Form && page.WantsPage(r) && page.Redo(err) {
		id.pages.LogFailure(r, err)
		return id.pages.Write(w, r, 0, id.newKeyView(v), page.RefusalOf(err))
	}
	if err != nil {
		return store.Refusal(r.Context(), err)
	}
	return id.showKey(w, r, http.StatusCreated, k, secret)
}

// daysOf reads a life in days; empty is what the keys do without one.
func daysOf(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > 9999 {
		return 0, problem.WithDetail(problem.AccountInvalid, "expires: want days, from 1")
	}
	return time.Duration(n) * 24 * time.Hour, nil
}

func (id *Identity) showKey(w http.ResponseWriter, r *http.Request, status int, k Key, secret obs.Secret) error {
	if page.WantsPage(r) {
		return id.pages.Write(w, r, status, page.KeyMade{ID: k.ID, Name: k.Name, Secret: string(secret), Expires: k.Expires}, nil)
	}
	return page.WriteJSON(w, status, keyMadeJSON{ID: k.ID, Name: k.Name, Key: string(secret), ExpiresAt: stampOrNone(k.Expires)})
}

// rotateKey is POST /auth/keys/{id}/rotate: another text; the one before goes on
// for a while.
func (id *Identity) rotateKey(w http.ResponseWriter, r *http.Request) error {
	if err := emptyBody(r); err != nil {
		return err
	}
	p, a, err := id.keyCaller(w, r)
	if err != nil {
		return err
	}
	var k Key
	var secret obs.Secret
	err = id.changeAs(r, p, func(ctx context.Context, t tx) error {
		if k, secret, err = id.keys.RotateKey(ctx, t.whole(), a.ID, r.PathValue("id")); err != nil {
			return err
		}
		return id.tellKey(ctx, t, r, a, k, "")
	})
	if err != nil {
		return store.Refusal(r.Context(), err)
	}
	return id.showKey(w, r, http.StatusOK, k, secret)
}

// revokeKey is POST /auth/keys/{id}/revoke.
func (id *Identity) revokeKey(w http.ResponseWriter, r *http.Request) error {
	if err := emptyBody(r); err != nil {
		return err
	}
	_, a, err := id.keyCaller(w, r)
	if err != nil {
		return err
	}
	if err := id.keys.RevokeKey(r.Context(), a.ID, r.PathValue("id")); err != nil {
		return store.Refusal(r.Context(), err)
	}
	return id.done(w, r, "key_revoked")
}

// done answers a change that has nothing to show.
func (id *Identity) done(w http.ResponseWriter, r *http.Request, notice string) error {
	if page.WantsPage(r) {
		return page.Redirect(w, page.AccountPath+"?notice="+notice)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// signingMadeJSON is a signing key; its secret, if it has one, is told this once.
type signingMadeJSON struct {
	signingJSON
	Secret string `json:"secret,omitempty"`
}

// addSigning is POST /auth/keys/{id}/signing.
func (id *Identity) addSigning(w http.ResponseWriter, r *http.Request) error {
	v, _, err := page.Decode(r, signingShape, signingShape)
	if err != nil {
		return err
	}
	p, a, err := id.keyCaller(w, r)
	if err != nil {
		return err
	}
	var s SigningKey
	var secret obs.Secret
	err = id.changeAs(r, p, func(ctx context.Context, t tx) error {
		var of Key
		if of, s, secret, err = id.keys.AddSigningKey(ctx, t.whole(), a.ID, r.PathValue("id"), v["algorithm"], v["public_key"]); err != nil {
			return err
		}
		return id.tellKey(ctx, t, r, a, of, s.Algorithm)
	})
	switch {
	case err != nil:
		return store.Refusal(r.Context(), err)
	case !page.WantsPage(r):
		answer := signingJSON{ID: s.ID, Algorithm: s.Algorithm, CreatedAt: stampOrNone(s.Created), ExpiresAt: stampOrNone(s.Expires)}
		return page.WriteJSON(w, http.StatusCreated, signingMadeJSON{answer, string(secret)})
	case secret == "":
		return page.Redirect(w, page.AccountPath+"?notice=done")
	}
	v2 := page.KeyMade{ID: s.ID, Name: s.Algorithm, Secret: string(secret), Signing: true, Expires: s.Expires}
	return id.pages.Write(w, r, http.StatusCreated, v2, nil)
}

// removeSigning is POST /auth/keys/{id}/signing/{signing}/revoke.
func (id *Identity) removeSigning(w http.ResponseWriter, r *http.Request) error {
	if err := emptyBody(r); err != nil {
		return err
	}
	_, a, err := id.keyCaller(w, r)
	if err != nil {
		return err
	}
	if err := id.keys.RemoveSigningKey(r.Context(), a.ID, r.PathValue("id"), r.PathValue("signing")); err != nil {
		return store.Refusal(r.Context(), err)
	}
	return id.done(w, r, "key_revoked")
}

// tellKey tells the owner of a key that it has another secret: a key that is new, has
// another text, or signs with another key (of an algorithm).
func (id *Identity) tellKey(ctx context.Context, t tx, r *http.Request, a account, k Key, signing string) error {
	return id.tell(ctx, t, a, mail.KeyCreated, id.event(r, map[string]string{"name": k.Name, "expires": page.Stamp(k.Expires), "signing": signing}))
}

// TellKeyExpires asks for the letter that reminds of a key's end: to its owner, or
// to the contact of a key that nobody owns. It runs in the transaction in which the
// reminder is noted.
func (id *Identity) TellKeyExpires(ctx context.Context, whole *store.Tx, owner, contact, name string, expires time.Time) error {
	t := storeTx{whole}
	a := account{User: User{Email: contact}}
	link := id.config.Base + page.LoginPath
	if owner != "" {
		var found bool
		var err error
		if a, found, err = id.accountInTx(ctx, t, owner); err != nil || !found || a.Disabled {
			return err
		}
		link = id.config.Base + page.AccountPath
	}
	if a.Email == "" {
		return nil
	}
	return id.tell(ctx, t, a, mail.KeyExpiring, map[string]string{"name": name, "expires": page.Stamp(expires), "link": link})
}
