package identity

import (
	"context"
	"encoding/base64"
	"net/http"
	"time"

	"sallyport.dev/internal/guess"
	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/page"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// A login by passkey alone begins with nobody, and with every login page that a
// browser opens. So nothing is stored for it: what the server must remember goes
// out sealed and comes back with the answer. That a challenge counts once is kept
// by package factor, when it is answered.

// passkeyPlace is what that seal is bound to.
const passkeyPlace = "identity/passkey-login"

// passkeyTries bounds the answers of one network, each of which costs a signature.
func passkeyTries() []zone.Rate {
	return []zone.Rate{{Count: 60, Window: 10 * time.Minute}, {Count: 600, Window: 24 * time.Hour}}
}

// passkeyLoginBegin is POST /auth/passkey/begin: a challenge for whoever answers it.
func (id *Identity) passkeyLoginBegin(w http.ResponseWriter, r *http.Request) error {
	if err := decodeEmpty(r); err != nil {
		return err
	}
	options, ceremony, err := id.factors.BeginLogin(r.Context())
	if err != nil {
		return err
	}
	sealed, err := id.config.Root.Seal(passkeyPlace, ceremony)
	if err != nil {
		return problem.New(problem.InternalError, err)
	}
	return page.WriteJSON(w, http.StatusOK, ceremonyJSON{Flow: base64.RawURLEncoding.EncodeToString(sealed), Options: options})
}

var (
	passkeyLoginShape     = page.Shape{Required: []string{"flow"}, Flags: []string{"remember"}, Raw: []string{"response"}, Max: passkeyMax}
	passkeyLoginFormShape = page.Shape{Required: []string{"flow"}, Optional: []string{"next"}, Flags: []string{"remember"}, Raw: []string{"response"}, Max: ceremonyMax}
)

// passkeyLogin is POST /auth/passkey: the passkey itself says whose it is. All that
// does not hold is refused alike (account.factor), an unknown passkey as one of an
// account that is disabled.
func (id *Identity) passkeyLogin(w http.ResponseWriter, r *http.Request) error {
	v, kind, err := page.Decode(r, passkeyLoginShape, passkeyLoginFormShape)
	if err != nil {
		return err
	}
	response, err := responseOf(v)
	if err != nil {
		return err
	}
	e, o, err := id.byPasskey(r, kind, v, response)
	if err != nil && kind == page.Form && page.WantsPage(r) && (page.Redo(err) || problem.ReasonOf(err) == problem.AccountFlow) {
		id.pages.LogFailure(r, err)
		again := id.loginView(localPath(v["next"]))
		again.Remember = v.Flag("remember")
		return id.pages.Write(w, r, 0, again, page.RefusalOf(err))
	}
	if err != nil {
		return err
	}
	return id.arrive(w, r, kind, e, o)
}

func (id *Identity) byPasskey(r *http.Request, kind page.Media, v page.Values, response []byte) (e entry, o outcome, err error) {
	network := guess.Network(obs.RequestFrom(r.Context()).Client).String()
	if err := id.guesses.Take(r.Context(), "passkey", network, passkeyTries()...); err != nil {
		return entry{}, outcome{}, err
	}
	sealed, err := base64.RawURLEncoding.DecodeString(v["flow"])
	if err != nil {
		return entry{}, outcome{}, tooLate("the challenge is none of ours")
	}
	ceremony, err := id.config.Root.Open(passkeyPlace, sealed)
	if err != nil {
		return entry{}, outcome{}, tooLate("the challenge is none of ours")
	}
	err = id.db.change(r.Context(), func(ctx context.Context, t tx) error {
		result, err := id.factors.FinishLogin(ctx, t.whole(), ceremony, response)
		if wrongPasskey(err) {
			return problem.New(problem.AccountFactor, err)
		}
		if err != nil {
			return err
		}
		a, err := id.sameAccount(ctx, t, result.User, 0)
		if problem.ReasonOf(err) == problem.AccountFlow {
			return problem.New(problem.AccountFactor, err)
		}
		if err != nil {
			return err
		}
		// An app has no cookies to be known by, and nobody else has its passkey.
		known := kind == page.JSON || id.guesses.KnownDevice(foldEmail(a.Email), deviceOf(r))
		e = entry{account: a, remember: v.Flag("remember"), known: known, next: v["next"]}
		e.proved("passkey", 1)
		if result.Verified { // by PIN, finger or face: two factors
			e.level = policy.TwoFactors
		}
		o, err = id.advance(ctx, t, r, kind, e)
		return err
	})
	return e, o, err
}
