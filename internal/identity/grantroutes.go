package identity

import (
	"net/http"

	"sallyport.dev/internal/page"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

func (id *Identity) grantRoutes() []Route {
	return []Route{
		id.get("/auth/grants", id.listGrants),
		id.post("/auth/grants/{client}/revoke", id.revokeGrant),
	}
}

// listGrants is GET /auth/grants; the page of it is a part of the account's.
func (id *Identity) listGrants(w http.ResponseWriter, r *http.Request) error {
	_, a, err := id.callersAccount(w, r)
	if err != nil {
		return err
	}
	if page.WantsPage(r) {
		return page.Redirect(w, page.AccountPath+"#grants")
	}
	answer := struct {
		Grants []grantJSON `json:"grants"`
	}{[]grantJSON{}}
	if id.grants != nil {
		list, err := id.grants.Grants(r.Context(), a.ID)
		if err != nil {
			return store.Refusal(r.Context(), err)
		}
		for _, g := range list {
			answer.Grants = append(answer.Grants, grantAnswer(g))
		}
	}
	return page.WriteJSON(w, http.StatusOK, answer)
}

// revokeGrant is POST /auth/grants/{client}/revoke. It takes no fresh login: it
// only takes rights away, and whoever needs it needs it now.
func (id *Identity) revokeGrant(w http.ResponseWriter, r *http.Request) error {
	if err := emptyBody(r); err != nil {
		return err
	}
	_, a, err := id.callersAccount(w, r)
	if err != nil {
		return err
	}
	if id.grants == nil {
		return problem.New(problem.AccountUnknown, nil)
	}
	if err := id.grants.RevokeGrant(r.Context(), a.ID, r.PathValue("client")); err != nil {
		return store.Refusal(r.Context(), err)
	}
	return id.done(w, r, "grant_revoked")
}
