package identity

import (
	"context"
	"encoding/json"
	"net/http"

	"sallyport.dev/internal/page"
	"sallyport.dev/internal/problem"
)

// passkeyMax bounds what a browser answers to a challenge; package factor has a
// tighter bound of the answer itself. As a form it is longer.
const passkeyMax = 80 << 10

var (
	flowShape        = page.Shape{Required: []string{"flow"}}
	passkeyJSONShape = page.Shape{Required: []string{"flow"}, Raw: []string{"response"}, Max: passkeyMax}
	passkeyFormShape = page.Shape{Required: []string{"flow"}, Optional: []string{"next"}, Raw: []string{"response"}, Max: ceremonyMax}
)

// ceremonyJSON begins a ceremony in the browser.
type ceremonyJSON struct {
	Flow    string          `json:"flow"`
	Options json.RawMessage `json:"options"`
}

// responseOf returns what the browser answered.
func responseOf(v page.Values) ([]byte, error) {
	raw := v.Raw("response")
	if raw == nil {
		return nil, problem.WithDetail(problem.AccountInvalid, "response: required")
	}
	return raw, nil
}

// mfaPasskeyBegin is POST /auth/mfa/passkey/begin: the challenge for a passkey as
// second factor. It is for the page's script and for programs, and has no page.
func (id *Identity) mfaPasskeyBegin(w http.ResponseWriter, r *http.Request) error {
	v, _, err := page.Decode(r, flowShape, flowShape)
	if err != nil {
		return err
	}
	var options []byte
	err = id.db.change(r.Context(), func(ctx context.Context, t tx) error {
		u, user, err := id.stepOf(ctx, t, r, v["flow"], stepMFA)
		if err != nil {
			return err
		}
		if options, u.Ceremony, err = id.factors.BeginAssert(ctx, t.whole(), user); err != nil {
			return err
		}
		return id.flows.Update(ctx, t.whole(), flowLogin, v["flow"], &u)
	})
	if err != nil {
		return err
	}
	return page.WriteJSON(w, http.StatusOK, ceremonyJSON{Flow: v["flow"], Options: options})
}

// mfaPasskey is POST /auth/mfa/passkey.
func (id *Identity) mfaPasskey(w http.ResponseWriter, r *http.Request) error {
	v, kind, err := page.Decode(r, passkeyJSONShape, passkeyFormShape)
	if err != nil {
		return err
	}
	response, err := responseOf(v)
	if err != nil {
		return err
	}
	return id.second(w, r, kind, v["flow"], "passkey", func(ctx context.Context, t tx, u *underway, a account) (bool, error) {
		if u.Ceremony == nil {
			return false, nil
		}
		result, err := id.factors.FinishAssert(ctx, t.whole(), a.ID, u.Ceremony, response)
		if wrongPasskey(err) {
			return false, nil
		}
		if err == nil && result.Cloned {
			id.log.WarnContext(ctx, "the counter of a passkey did not grow: there may be a copy", "user", a.ID, "factor", result.Factor.ID)
		}
		return err == nil, err
	})
}

// wrongPasskey says whether an answer of a browser did not hold, which changed
// nothing and counts as a wrong one.
func wrongPasskey(err error) bool {
	switch problem.ReasonOf(err) {
	case problem.AuthInvalid, problem.AuthExpired, problem.AccountInvalid:
		return true
	}
	return false
}
