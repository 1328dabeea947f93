package identity

import (
	"context"
	"net/http"
	"strconv"

	"sallyport.dev/internal/factor"
	"sallyport.dev/internal/flow"
	"sallyport.dev/internal/mail"
	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/page"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
)

// A factor is made by who is logged in and has proved who they are lately, or by
// who must hold one before there is a session: then the flow of the login stands
// for it (step enroll). Both come by the same operations.

// newApp is an authenticator app being set up. What is shown of it is kept, sealed
// with the flow, so that a page can be shown again after a wrong code.
type newApp struct {
	Sealed []byte `json:"sealed"`
	Secret string `json:"secret"`
	URI    string `json:"uri"`
	SVG    string `json:"svg"`
}

// The kinds of flows in which a factor is made by who is logged in.
const (
	flowTOTP    = "totp"
	flowPasskey = "new-passkey"
)

// making is a factor being made.
type making struct {
	Session  string  `json:"session"`
	Next     string  `json:"next,omitempty"`
	App      *newApp `json:"app,omitempty"`
	Ceremony []byte  `json:"ceremony,omitempty"`
}

// maker is who makes a factor.
type maker struct {
	account account
	entry   *entry // the login that it is made for; nil: who is logged in, by
	by      *policy.Principal
	flow    string
}

// spared is the session in which a factor is made, or that it raises.
func (m maker) spared() string {
	if m.entry != nil {
		return m.entry.session
	}
	return m.by.Session
}

// makerOf finds who makes a factor: by the flow of a login when flowID is one, else
// who is logged in.
func (id *Identity) makerOf(w http.ResponseWriter, r *http.Request, flowID string) (maker, error) {
	if flowID != "" {
		var m maker
		err := id.db.view(r.Context(), func(ctx context.Context, t tx) error {
			u, user, err := id.stepOf(ctx, t, r, flowID, stepEnroll)
			if err != nil {
				return err
			}
			a, err := id.sameAccount(ctx, t, user, u.Version)
			e := u.entry(a)
			m = maker{account: a, entry: &e, flow: flowID}
			return err
		})
		if err == nil {
			return m, nil
		}
		if _, refused := caller(r); refused != nil || problem.ReasonOf(err) != problem.AccountFlow {
			return maker{}, err
		}
	}
	p, a, err := id.freshCaller(w, r)
	return maker{account: a, by: p, flow: flowID}, err
}

var (
	beginShape     = page.Shape{Optional: []string{"flow"}}
	beginFormShape = page.Shape{Optional: []string{"flow", "next"}}
)

// totpJSON is an app being set up: what is shown once.
type totpJSON struct {
	Flow   string `json:"flow"`
	Secret string `json:"secret"`
	URI    string `json:"uri"`
	QR     string `json:"qr"` // SVG
}

// beginTOTP is POST /auth/factors/totp/begin, and /auth/mfa/enroll/begin.
func (id *Identity) beginTOTP(w http.ResponseWriter, r *http.Request) error {
	v, kind, err := decodeBegin(r)
	if err != nil {
		return err
	}
	m, err := id.makerOf(w, r, v["flow"])
	if err != nil {
		return err
	}
	begun, err := id.factors.BeginTOTP(m.account.ID, m.account.Email, "")
	if err != nil {
		return err
	}
	app := &newApp{Sealed: begun.Sealed, Secret: string(begun.Secret), URI: string(begun.URI), SVG: string(begun.SVG)}
	err = id.db.change(r.Context(), func(ctx context.Context, t tx) error {
		if m.entry == nil {
			m.flow, err = id.beginMaking(ctx, t, m, flowTOTP, making{Session: m.by.Session, Next: localPath(v["next"]), App: app})
			return err
		}
		u, _, err := id.stepOf(ctx, t, r, m.flow, stepEnroll)
		if err != nil {
			return err
		}
		u.App = app
		return id.flows.Update(ctx, t.whole(), flowLogin, m.flow, &u)
	})
	if err != nil {
		return err
	}
	if kind == page.Form || page.WantsPage(r) {
		return id.showTOTP(w, r, m, app, localPath(v["next"]), nil)
	}
	return page.WriteJSON(w, http.StatusOK, totpJSON{Flow: m.flow, Secret: app.Secret, URI: app.URI, QR: app.SVG})
}

// decodeBegin reads the body of what begins, which may be left out.
func decodeBegin(r *http.Request) (page.Values, page.Media, error) {
	if r.Header.Get("Content-Type") == "" {
		return page.Values{}, page.NoMedia, nil
	}
	return page.Decode(r, beginShape, beginFormShape)
}

// beginMaking keeps a factor being made by who is logged in.
func (id *Identity) beginMaking(ctx context.Context, t tx, m maker, kind string, data making) (string, error) {
	if err := id.stillIn(ctx, t, m.by); err != nil {
		return "", err
	}
	if err := id.flows.End(ctx, t.whole(), m.account.ID, kind); err != nil { // one at a time
		return "", err
	}
	return id.flows.Begin(ctx, t.whole(), flow.Record{Kind: kind, User: m.account.ID, Tries: stepTries, Expires: id.clock().Add(stepLife)}, &data)
}

// makingOf reads a factor being made by who is logged in, for the session that began it.
func (id *Identity) makingOf(ctx context.Context, t tx, m maker, kind string) (making, error) {
	var data making
	if err := id.stillIn(ctx, t, m.by); err != nil {
		return data, err
	}
	record, err := id.flows.Get(ctx, t.whole(), kind, m.flow, "", &data)
	if err == nil && (record.User != m.account.ID || data.Session != m.by.Session) {
		err = tooLate("the flow is of another session")
	}
	return data, err
}

func (id *Identity) showTOTP(w http.ResponseWriter, r *http.Request, m maker, app *newApp, next string, refusal *page.Refusal) error {
	shown := page.TOTP{Flow: m.flow, Secret: app.Secret, URI: app.URI, QR: app.SVG}
	if m.entry != nil {
		return id.pages.Write(w, r, 0, page.Enroll{Flow: m.flow, TOTP: &shown, Next: localPath(m.entry.next)}, refusal)
	}
	return id.pages.Write(w, r, 0, page.NewTOTP{TOTP: shown, Next: next}, refusal)
}

var (
	totpShape     = page.Shape{Required: []string{"flow", "code"}, Optional: []string{"name"}}
	totpFormShape = page.Shape{Required: []string{"flow", "code"}, Optional: []string{"name", "next"}}
)

// finishTOTP is POST /auth/factors/totp, and /auth/mfa/enroll: the first code of the app.
func (id *Identity) finishTOTP(w http.ResponseWriter, r *http.Request) error {
	v, kind, err := page.Decode(r, totpShape, totpFormShape)
	if err != nil {
		return err
	}
	m, err := id.makerOf(w, r, v["flow"])
	if err != nil {
		return id.notMade(w, r, kind, m, err)
	}
	name := v["name"]
	if name == "" {
		name = "TOTP"
	}
	var app *newApp
	done, err := id.make(r, kind, &m, flowTOTP, "totp", func(ctx context.Context, t tx, held *making) (factor.Factor, bool, error) {
		if app = held.App; app == nil {
			return factor.Factor{}, false, tooLate("no app was begun")
		}
		made, outcome, err := id.factors.EnableTOTP(ctx, t.whole(), m.account.ID, app.Sealed, v["code"], name)
		return made, outcome == factor.Right, err
	})
	if err != nil && app != nil && kind == page.Form && page.WantsPage(r) && page.Redo(err) {
		return id.showTOTP(w, r, m, app, localPath(v["next"]), page.RefusalOf(err))
	}
	if err != nil {
		return id.notMade(w, r, kind, m, err)
	}
	return id.made(w, r, kind, m, done, v["next"])
}

// notMade leads a login whose enrolment ended back to its beginning.
func (id *Identity) notMade(w http.ResponseWriter, r *http.Request, kind page.Media, m maker, err error) error {
	if m.entry == nil && m.by != nil || kind != page.Form || !page.WantsPage(r) || problem.ReasonOf(err) != problem.AccountFlow {
		return err
	}
	return id.beginAnew(w, r, err)
}

// doneMaking is a factor that was made.
type doneMaking struct {
	factor  factor.Factor
	codes   []string // recovery codes that came with the first one
	ended   int      // other sessions that ended with the first one
	outcome outcome  // of the login that it was made for
}

// make adds a factor by what judge finds right: with recovery codes when the user
// has none, a letter, and the end of logins that wait at a step which is not what
// it was. The first one ends the other sessions, which showed less than the account
// asks for from now on. A wrong answer takes one of the flow's tries.
func (id *Identity) make(r *http.Request, kind page.Media, m *maker, flowKind, method string,
	judge func(ctx context.Context, t tx, held *making) (factor.Factor, bool, error)) (done doneMaking, err error) {
	wrong := false
	err = id.db.change(r.Context(), func(ctx context.Context, t tx) error {
		var held making
		if m.entry != nil {
			u, user, err := id.stepOf(ctx, t, r, m.flow, stepEnroll)
			if err != nil {
				return err
			}
			if _, err := id.sameAccount(ctx, t, user, u.Version); err != nil {
				return err
			}
			held, flowKind = making{App: u.App, Ceremony: u.Ceremony}, flowLogin
		} else if held, err = id.makingOf(ctx, t, *m, flowKind); err != nil {
			return err
		}
		if _, err := id.flows.Try(ctx, t.whole(), flowKind, m.flow); err != nil {
			return err
		}
		made, right, err := judge(ctx, t, &held)
		if err != nil {
			return err
		}
		if wrong = !right; wrong {
			return nil // what was counted stays
		}
		if err := id.flows.End(ctx, t.whole(), m.account.ID, flowLogin, flowKind); err != nil {
			return err
		}
		now, err := id.factors.HasTx(ctx, t.whole(), m.account.ID)
		if err != nil {
			return err
		}
		done.factor = made
		if now.Codes == 0 {
			if done.codes, err = id.makeCodes(ctx, t, m.account.ID); err != nil {
				return err
			}
		}
		if now.Passkeys+now.TOTP == 1 {
			if done.ended, err = id.endAll(ctx, t, m.account.ID, m.spared()); err != nil {
				return err
			}
		}
		ended := ""
		if done.ended > 0 {
			ended = strconv.Itoa(done.ended)
		}
		if err := id.tell(ctx, t, m.account, mail.FactorAdded, id.event(r, map[string]string{"factor": made.Name, "ended": ended})); err != nil || m.entry == nil {
			return err
		}
		m.entry.proved(method, policy.TwoFactors)
		for _, c := range done.codes {
			m.entry.codes = append(m.entry.codes, obs.Secret(c))
		}
		done.outcome, err = id.advance(ctx, t, r, kind, *m.entry)
		return err
	})
	if err == nil && wrong {
		err = problem.New(problem.AccountFactor, nil)
	}
	return done, err
}

// madeJSON is a factor that was made.
type madeJSON struct {
	Factor factorJSON `json:"factor"`
	Codes  []string   `json:"recovery_codes,omitempty"`
	Ended  int        `json:"sessions_ended,omitempty"` // others, with the first factor
}

func (id *Identity) made(w http.ResponseWriter, r *http.Request, kind page.Media, m maker, done doneMaking, next string) error {
	switch {
	case m.entry != nil:
		return id.arrive(w, r, kind, *m.entry, done.outcome)
	case !page.WantsPage(r):
		return page.WriteJSON(w, http.StatusCreated, madeJSON{Factor: factorAnswer(done.factor), Codes: done.codes, Ended: done.ended})
	case len(done.codes) > 0:
		return id.pages.Write(w, r, 0, page.Codes{Codes: done.codes, Ended: done.ended, Next: localPath(next)}, nil)
	}
	return page.Follow(w, page.LocalPath(next, page.AccountPath+"?notice=factor_added"))
}
