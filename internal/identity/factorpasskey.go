package identity

import (
	"context"
	"net/http"

	"sallyport.dev/internal/factor"
	"sallyport.dev/internal/page"
)

// passkeyPage is GET /auth/factors/passkey, on which the browser makes a passkey.
func (id *Identity) passkeyPage(w http.ResponseWriter, r *http.Request) error {
	if !page.WantsPage(r) {
		return onlyPost(w)
	}
	if _, _, err := id.freshCaller(w, r); err != nil {
		return err
	}
	return id.pages.Write(w, r, 0, page.NewPasskey{}, nil)
}

// beginPasskey is POST /auth/factors/passkey/begin. It is for the page's script and
// for programs, and has no page.
func (id *Identity) beginPasskey(w http.ResponseWriter, r *http.Request) error {
	v, _, err := decodeBegin(r)
	if err != nil {
		return err
	}
	m, err := id.makerOf(w, r, v["flow"])
	if err != nil {
		return err
	}
	var options []byte
	err = id.db.change(r.Context(), func(ctx context.Context, t tx) error {
		var ceremony []byte
		if options, ceremony, err = id.factors.BeginRegistration(ctx, t.whole(), m.account.ID, m.account.Email); err != nil {
			return err
		}
		if m.entry == nil {
			m.flow, err = id.beginMaking(ctx, t, m, flowPasskey, making{Session: m.by.Session, Ceremony: ceremony})
			return err
		}
		u, _, err := id.stepOf(ctx, t, r, m.flow, stepEnroll)
		if err != nil {
			return err
		}
		u.Ceremony = ceremony
		return id.flows.Update(ctx, t.whole(), flowLogin, m.flow, &u)
	})
	if err != nil {
		return err
	}
	return page.WriteJSON(w, http.StatusOK, ceremonyJSON{Flow: m.flow, Options: options})
}

var (
	newPasskeyShape     = page.Shape{Required: []string{"flow"}, Optional: []string{"name"}, Raw: []string{"response"}, Max: passkeyMax}
	newPasskeyFormShape = page.Shape{Required: []string{"flow"}, Optional: []string{"name", "next"}, Raw: []string{"response"}, Max: ceremonyMax}
)

// finishPasskey is POST /auth/factors/passkey: what the browser made.
func (id *Identity) finishPasskey(w http.ResponseWriter, r *http.Request) error {
	v, kind, err := page.Decode(r, newPasskeyShape, newPasskeyFormShape)
	if err != nil {
		return err
	}
	response, err := responseOf(v)
	if err != nil {
		return err
	}
	m, err := id.makerOf(w, r, v["flow"])
	if err != nil {
		return id.notMade(w, r, kind, m, err)
	}
	name := v["name"]
	if name == "" {
		if name = device(agentOf(r)); name == "" {
			name = "Passkey"
		}
	}
	done, err := id.make(r, kind, &m, flowPasskey, "passkey", func(ctx context.Context, t tx, held *making) (factor.Factor, bool, error) {
		if held.Ceremony == nil {
			return factor.Factor{}, false, tooLate("no passkey was begun")
		}
		made, err := id.factors.FinishRegistration(ctx, t.whole(), m.account.ID, held.Ceremony, response, name)
		if wrongPasskey(err) {
			return factor.Factor{}, false, nil
		}
		return made, err == nil, err
	})
	if err != nil {
		if m.entry == nil && kind == page.Form && page.WantsPage(r) && page.Redo(err) {
			return id.pages.Write(w, r, 0, page.NewPasskey{Next: localPath(v["next"])}, page.RefusalOf(err))
		}
		return id.notMade(w, r, kind, m, err)
	}
	return id.made(w, r, kind, m, done, v["next"])
}
