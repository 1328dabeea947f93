package identity

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"sallyport.dev/internal/factor"
	"sallyport.dev/internal/guess"
	"sallyport.dev/internal/mail"
	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/page"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
)

// secondFactor judges what was sent for a step. It says whether that was right,
// and changes nothing when it was wrong; an error ends the request.
type secondFactor func(ctx context.Context, t tx, u *underway, a account) (right bool, err error)

// tooLate is what a login is told whose flow is not there or not of this step.
func tooLate(cause string) error {
	return problem.New(problem.AccountFlow, errors.New("identity: "+cause))
}

// stepOf reads a live flow of a login that waits at a step. A step-up is of use to
// its own session only.
func (id *Identity) stepOf(ctx context.Context, t tx, r *http.Request, flowID, step string) (underway, string, error) {
	var u underway
	record, err := id.flows.Get(ctx, t.whole(), flowLogin, flowID, browserOf(r), &u)
	if err != nil {
		return underway{}, "", err
	}
	if u.Step != step {
		return underway{}, "", tooLate("the flow waits at another step")
	}
	if u.Session != "" {
		if p, err := caller(r); err != nil || p.Session != u.Session || p.Subject != record.User {
			return underway{}, "", tooLate("the flow is of another session")
		}
	}
	return u, record.User, nil
}

// second judges an answer to the step mfa. It is counted before it is looked at,
// in the budget of the account and in the tries of the flow; what is right opens
// the session in the same transaction.
func (id *Identity) second(w http.ResponseWriter, r *http.Request, kind page.Media, flowID, method string, judge secondFactor) error {
	ctx := r.Context()
	var u underway
	var a account
	err := id.db.view(ctx, func(ctx context.Context, t tx) (err error) {
		var user string
		if u, user, err = id.stepOf(ctx, t, r, flowID, stepMFA); err != nil {
			return err
		}
		a, err = id.sameAccount(ctx, t, user, u.Version)
		return err
	})
	if err != nil {
		return id.again(w, r, kind, entry{}, nil, flowID, err)
	}
	attempt, err := id.countSecond(r, u, a)
	if err != nil {
		return id.again(w, r, kind, entry{}, nil, flowID, err)
	}
	var e entry
	var o outcome
	var factors []string
	err = id.db.change(ctx, func(ctx context.Context, t tx) error {
		u, user, err := id.stepOf(ctx, t, r, flowID, stepMFA)
		if err != nil {
			return err
		}
		a, err := id.sameAccount(ctx, t, user, u.Version)
		if err != nil {
			return err
		}
		e = u.entry(a)
		if _, err := id.flows.Try(ctx, t.whole(), flowLogin, flowID); err != nil {
			return err
		}
		right, err := judge(ctx, t, &u, a)
		if err != nil {
			return err
		}
		if !right { // what was counted stays
			held, err := id.factors.HasTx(ctx, t.whole(), user)
			if err == nil {
				factors, err = id.kindsOf(ctx, t, user, held)
			}
			return err
		}
		if _, err := id.flows.Take(ctx, t.whole(), flowLogin, flowID, browserOf(r), nil); err != nil {
			return err
		}
		e.proved(method, policy.TwoFactors)
		o, err = id.advance(ctx, t, r, kind, e)
		return err
	})
	if err == nil && factors != nil {
		err = problem.New(problem.AccountFactor, nil)
	}
	if err != nil {
		return id.again(w, r, kind, e, factors, flowID, err)
	}
	id.forgive(r, attempt)
	return id.arrive(w, r, kind, e, o)
}

// countSecond counts an answer to the step mfa: apart where only the owner can be,
// on a device or network that they have logged in from, and within a session.
func (id *Identity) countSecond(r *http.Request, u underway, a account) (guess.Attempt, error) {
	whence := "session" // one for all of them: who has stolen several must not have as many
	if u.Session == "" {
		var err error
		whence, err = id.guesses.Whence(r.Context(), foldEmail(a.Email), obs.RequestFrom(r.Context()).Client, deviceOf(r))
		if err != nil {
			return guess.Attempt{}, err
		}
	}
	return id.guesses.Second(r.Context(), a.ID, whence)
}

// sameAccount returns the account that a flow began with, if it is as it was: a
// version of 0 is any.
func (id *Identity) sameAccount(ctx context.Context, t tx, user string, version uint64) (account, error) {
	a, found, err := id.accountInTx(ctx, t, user)
	if err != nil {
		return account{}, err
	}
	if !found || a.Disabled || version != 0 && a.Version != version {
		return account{}, tooLate("the account has changed")
	}
	return a, nil
}

// forgive takes back what was counted of a right answer.
func (id *Identity) forgive(r *http.Request, attempt guess.Attempt) {
	if err := attempt.Succeeded(r.Context()); err != nil {
		id.log.WarnContext(r.Context(), "a right answer is counted as a guess", "error", err)
	}
}

// again shows a person the step once more, or where to begin anew.
func (id *Identity) again(w http.ResponseWriter, r *http.Request, kind page.Media, e entry, factors []string, flowID string, err error) error {
	if kind != page.Form || !page.WantsPage(r) {
		return err
	}
	switch {
	case factors != nil && page.Redo(err):
		v := page.MFA{Flow: flowID, Factors: factors, Next: localPath(e.next), StepUp: e.session != ""}
		return id.pages.Write(w, r, 0, v, page.RefusalOf(err))
	case problem.ReasonOf(err) == problem.AccountFlow || page.Redo(err):
		return id.beginAnew(w, r, err)
	}
	return err
}

// beginAnew shows the login page with what ended the steps before it; who is logged
// in is sent back to the step-up.
func (id *Identity) beginAnew(w http.ResponseWriter, r *http.Request, err error) error {
	if _, refused := caller(r); refused == nil {
		return err
	}
	id.pages.LogFailure(r, err)
	return id.pages.Write(w, r, 0, id.loginView(page.AccountPath), page.RefusalOf(err))
}

var (
	codeJSONShape = page.Shape{Required: []string{"flow", "code"}}
	codeFormShape = page.Shape{Required: []string{"flow", "code"}, Optional: []string{"next"}}
)

func (id *Identity) mfaRoutes() []Route {
	return []Route{
		id.get("/auth/mfa", id.mfaPage),
		id.post("/auth/mfa/totp", id.mfaTOTP),
		id.post("/auth/mfa/recovery", id.mfaRecovery),
		id.post("/auth/mfa/passkey/begin", id.mfaPasskeyBegin),
		sized(id.post("/auth/mfa/passkey", id.mfaPasskey), ceremonyMax),
		id.post("/auth/mfa/password", id.mfaPassword),
		id.post("/auth/mfa/enroll/begin", id.beginTOTP),
		id.post("/auth/mfa/enroll", id.finishTOTP),
	}
}

// mfaPage is GET /auth/mfa: the step itself is the answer to the one before it, and
// cannot be loaded again.
func (id *Identity) mfaPage(w http.ResponseWriter, r *http.Request) error {
	if !page.WantsPage(r) {
		return onlyPost(w)
	}
	return page.Redirect(w, page.LoginPath)
}

// mfaTOTP is POST /auth/mfa/totp.
func (id *Identity) mfaTOTP(w http.ResponseWriter, r *http.Request) error {
	v, kind, err := page.Decode(r, codeJSONShape, codeFormShape)
	if err != nil {
		return err
	}
	return id.second(w, r, kind, v["flow"], "totp", func(ctx context.Context, t tx, _ *underway, a account) (bool, error) {
		_, outcome, err := id.factors.CheckTOTP(ctx, t.whole(), a.ID, v["code"])
		return outcome == factor.Right, err
	})
}

// mfaRecovery is POST /auth/mfa/recovery.
func (id *Identity) mfaRecovery(w http.ResponseWriter, r *http.Request) error {
	v, kind, err := page.Decode(r, codeJSONShape, codeFormShape)
	if err != nil {
		return err
	}
	return id.second(w, r, kind, v["flow"], "recovery", func(ctx context.Context, t tx, _ *underway, a account) (bool, error) {
		outcome, left, err := id.factors.UseCode(ctx, t.whole(), a.ID, v["code"])
		if err != nil || outcome != factor.Right {
			return false, err
		}
		return true, id.tell(ctx, t, a, mail.RecoveryUsed, id.event(r, map[string]string{"left": strconv.Itoa(left)}))
	})
}
