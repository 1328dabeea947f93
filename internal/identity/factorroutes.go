package identity

import (
	"context"
	"net/http"
	"strings"
	"time"

	"sallyport.dev/internal/factor"
	"sallyport.dev/internal/mail"
	"sallyport.dev/internal/page"
	"sallyport.dev/internal/password"
	"sallyport.dev/internal/problem"
)

func (id *Identity) factorRoutes() []Route {
	return []Route{
		id.get("/auth/factors", id.listFactors),
		id.post("/auth/factors/totp/begin", id.beginTOTP),
		id.post("/auth/factors/totp", id.finishTOTP),
		id.get("/auth/factors/passkey", id.passkeyPage),
		id.post("/auth/factors/passkey/begin", id.beginPasskey),
		sized(id.post("/auth/factors/passkey", id.finishPasskey), ceremonyMax),
		id.post("/auth/factors/codes", id.newCodes),
		id.post("/auth/factors/{id}/remove", id.removeFactor),
		id.post("/auth/factors/{id}/rename", id.renameFactor),
	}
}

// The answers about factors in JSON.
type (
	factorJSON struct {
		ID         string `json:"id"`
		Kind       string `json:"kind"` // passkey, totp
		Name       string `json:"name"`
		CreatedAt  string `json:"created_at"`
		LastUsedAt string `json:"last_used_at,omitempty"`
		Synced     bool   `json:"synced"`
		Stale      bool   `json:"stale"` // made for another host: it cannot be used here
	}
	factorsJSON struct {
		Factors   []factorJSON `json:"factors"`
		CodesLeft int          `json:"recovery_codes_left"`
		Required  bool         `json:"required"` // the last one cannot be removed
	}
	codesJSON struct {
		Codes []string `json:"recovery_codes"`
	}
)

func factorAnswer(f factor.Factor) factorJSON {
	return factorJSON{
		ID: f.ID, Kind: string(f.Kind), Name: f.Name, CreatedAt: page.Stamp(f.Created), LastUsedAt: stampOrNone(f.LastUsed),
		Synced: f.Synced, Stale: f.Stale,
	}
}

func stampOrNone(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return page.Stamp(t)
}

// listFactors is GET /auth/factors; the page of it is a part of the account's.
func (id *Identity) listFactors(w http.ResponseWriter, r *http.Request) error {
	_, a, err := id.callersAccount(w, r)
	if err != nil {
		return err
	}
	if page.WantsPage(r) {
		return page.Redirect(w, page.AccountPath+"#factors")
	}
	answer := factorsJSON{Factors: []factorJSON{}, Required: id.mustHoldFactor(a)}
	err = id.db.view(r.Context(), func(ctx context.Context, t tx) error {
		list, err := id.factors.ListTx(ctx, t.whole(), a.ID)
		if err != nil {
			return err
		}
		for _, f := range list {
			answer.Factors = append(answer.Factors, factorAnswer(f))
		}
		answer.CodesLeft, _, err = id.factors.CodesLeftTx(ctx, t.whole(), a.ID)
		return err
	})
	if err != nil {
		return err
	}
	return page.WriteJSON(w, http.StatusOK, answer)
}

var noFields = page.Shape{}

// decodeEmpty reads a body that says nothing and may be left out.
func decodeEmpty(r *http.Request) error {
	if r.Header.Get("Content-Type") == "" {
		return nil
	}
	_, _, err := page.Decode(r, noFields, noFields)
	return err
}

// newCodes is POST /auth/factors/codes: ten new recovery codes, which end those
// before. Who holds no factor has nothing to recover.
func (id *Identity) newCodes(w http.ResponseWriter, r *http.Request) error {
	if err := decodeEmpty(r); err != nil {
		return err
	}
	p, a, err := id.freshCaller(w, r)
	if err != nil {
		return err
	}
	var codes []string
	err = id.changeAs(r, p, func(ctx context.Context, t tx) error {
		held, err := id.factors.HasTx(ctx, t.whole(), a.ID)
		if err != nil {
			return err
		}
		if !held.Any() {
			return problem.WithDetail(problem.AccountConflict, "there is no second factor yet")
		}
		if codes, err = id.makeCodes(ctx, t, a.ID); err != nil {
			return err
		}
		if err := id.flows.End(ctx, t.whole(), a.ID, flowLogin); err != nil {
			return err
		}
		return id.tell(ctx, t, a, mail.FactorAdded, id.event(r, map[string]string{"factor": "recovery codes", "ended": ""}))
	})
	if err != nil {
		return err
	}
	if page.WantsPage(r) {
		return id.pages.Write(w, r, 0, page.Codes{Codes: codes, Next: page.AccountPath}, nil)
	}
	return page.WriteJSON(w, http.StatusOK, codesJSON{Codes: codes})
}

func (id *Identity) makeCodes(ctx context.Context, t tx, user string) ([]string, error) {
	made, err := id.factors.NewCodes(ctx, t.whole(), user)
	codes := make([]string, 0, len(made))
	for _, c := range made {
		codes = append(codes, string(c))
	}
	return codes, err
}

// factorInPath returns the id in /auth/factors/{id}/ACT, from the path itself, as
// sessionInPath does.
func factorInPath(r *http.Request) string {
	rest, _ := strings.CutPrefix(r.URL.Path, "/auth/factors/")
	factor, _, _ := strings.Cut(rest, "/")
	return factor
}

// removeFactor is POST /auth/factors/{id}/remove. The last one stays where the user
// must hold one, and until the password is one that can stand alone.
func (id *Identity) removeFactor(w http.ResponseWriter, r *http.Request) error {
	if err := decodeEmpty(r); err != nil {
		return err
	}
	p, a, err := id.freshCaller(w, r)
	if err != nil {
		return err
	}
	err = id.changeAs(r, p, func(ctx context.Context, t tx) error {
		now, err := id.sameAccount(ctx, t, a.ID, 0)
		if err != nil {
			return err
		}
		gone, err := id.factors.Remove(ctx, t.whole(), a.ID, factorInPath(r))
		if err != nil {
			return err
		}
		held, err := id.factors.HasTx(ctx, t.whole(), a.ID)
		if err != nil {
			return err
		}
		if !held.Any() && id.mustHoldFactor(now) {
			return problem.WithDetail(problem.AccountConflict, "this is the last second factor, and one is needed here; add another first")
		}
		if !held.Any() && now.password != "" && now.stands != standsLong {
			return shortAlone()
		}
		if err := id.flows.End(ctx, t.whole(), a.ID, flowLogin); err != nil {
			return err
		}
		return id.tell(ctx, t, a, mail.FactorRemoved, id.event(r, map[string]string{"factor": gone.Name}))
	})
	if problem.ReasonOf(err) == problem.AccountPassword && page.WantsPage(r) {
		v := page.Password{Email: a.Email, Current: true, MinLength: password.MinAlone, Next: page.AccountPath + "#factors"}
		return id.pages.Write(w, r, 0, v, page.RefusalOf(err))
	}
	if err != nil {
		return err
	}
	if page.WantsPage(r) {
		return page.Redirect(w, page.AccountPath+"?notice=factor_removed")
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

var renameShape = page.Shape{Required: []string{"name"}}

// renameFactor is POST /auth/factors/{id}/rename.
func (id *Identity) renameFactor(w http.ResponseWriter, r *http.Request) error {
	v, _, err := page.Decode(r, renameShape, renameShape)
	if err != nil {
		return err
	}
	p, a, err := id.freshCaller(w, r)
	if err != nil {
		return err
	}
	err = id.changeAs(r, p, func(ctx context.Context, t tx) error {
		return id.factors.Rename(ctx, t.whole(), a.ID, factorInPath(r), v["name"])
	})
	if err != nil {
		return err
	}
	if page.WantsPage(r) {
		return page.Redirect(w, page.AccountPath+"?notice=factor_renamed")
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
