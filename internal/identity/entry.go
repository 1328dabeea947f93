package identity

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"sallyport.dev/internal/factor"
	"sallyport.dev/internal/flow"
	"sallyport.dev/internal/guess"
	"sallyport.dev/internal/mail"
	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/page"
	"sallyport.dev/internal/password"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
)

// entry is a login, or a step-up, as far as it has come.
type entry struct {
	account  account  // as it was when the first credential was proved
	methods  []string // what was proved: password, passkey, totp, recovery, or a provider's name
	level    int      // what that amounts to
	remember bool
	known    bool   // the device or network is known to be the owner's
	next     string // where a page goes on to
	session  string // step-up: the public id of the session to raise; empty: a login
	// attempt is told when the entry succeeds. nil: the entry comes from a flow or a
	// provider, and was counted elsewhere.
	attempt *guess.Attempt
	codes   []obs.Secret // recovery codes that were made on the way, to be shown once
}

// proved adds a credential that was proved.
func (e *entry) proved(method string, level int) {
	if !slices.Contains(e.methods, method) {
		e.methods = append(slices.Clip(e.methods), method)
	}
	e.level = max(e.level, level)
}

// methodMax is what a session keeps of its method, in bytes.
const methodMax = 32

func (e *entry) method() string {
	m := strings.Join(e.methods, "+")
	return m[:min(len(m), methodMax)]
}

// flowLogin is the kind of flow of a login or step-up with a step that is left.
const flowLogin = "login"

// The steps of a login beyond the first, in their order.
const (
	stepMFA      = "mfa"      // show a second factor
	stepEnroll   = "enroll"   // make one
	stepPassword = "password" // choose a new password, since this one is too old, or too short without a second factor
)

// The bounds of a step.
const (
	stepLife  = 10 * time.Minute
	stepTries = 5
)

// underway is an entry between two requests.
type underway struct {
	Step     string   `json:"step"`
	Methods  []string `json:"methods"`
	Level    int      `json:"level"`
	Remember bool     `json:"remember,omitempty"`
	Known    bool     `json:"known,omitempty"`
	Next     string   `json:"next,omitempty"`
	Session  string   `json:"session,omitempty"`
	Version  uint64   `json:"version"`
	Short    bool     `json:"short,omitempty"` // password: the one in force is too short

	Ceremony []byte  `json:"ceremony,omitempty"` // of a passkey that is asked for
	App      *newApp `json:"app,omitempty"`      // enroll: the app being set up
}

func (u *underway) entry(a account) entry {
	a.Version = u.Version
	return entry{account: a, methods: u.Methods, level: u.Level, remember: u.Remember, known: u.Known, next: u.Next, session: u.Session}
}

// outcome is what became of an entry: a step that is left, or a session.
type outcome struct {
	account account // as it is now
	step    string
	short   bool // step password: the one in force is too short
	flow    string
	factors []string // step mfa: the kinds that the user holds
	browser string   // what the flow is bound to
	token   string
	session Session
}

// advance takes an entry as far as it goes: to the next step that is left, or to
// its session. It runs in the transaction of the proof before it, so that a proof
// and what it opens are one. An account that was changed, disabled or removed
// since its first proof is refused like a wrong password.
func (id *Identity) advance(ctx context.Context, t tx, r *http.Request, kind page.Media, e entry) (outcome, error) {
	a, found, err := id.accountInTx(ctx, t, e.account.ID)
	if err != nil {
		return outcome{}, err
	}
	if !found || a.Disabled || a.Version != e.account.Version {
		return outcome{}, problem.New(problem.AuthLogin, nil)
	}
	o := outcome{account: a}
	if e.level < policy.TwoFactors {
		held, err := id.factors.HasTx(ctx, t.whole(), a.ID)
		if err != nil {
			return outcome{}, err
		}
		switch {
		case held.Any():
			o.step = stepMFA
			if o.factors, err = id.kindsOf(ctx, t, a.ID, held); err != nil {
				return outcome{}, err
			}
		case id.mustHoldFactor(a):
			o.step = stepEnroll
		default:
			o.short = a.stands == ""
		}
	}
	aged := password.Expired(a.passwordAt, id.zone.Identity.PasswordMax, id.clock())
	if o.step == "" && e.session == "" && (aged || o.short) && slices.Contains(e.methods, "password") {
		o.step = stepPassword
	}
	if o.step == "" {
		return o, id.open(ctx, t, r, e, &o)
	}
	if kind == page.Form {
		if o.browser = browserOf(r); o.browser == "" {
			o.browser = newBrowser()
		}
	}
	o.flow, err = id.flows.Begin(ctx, t.whole(), flow.Record{
		Kind: flowLogin, User: a.ID, Browser: o.browser, Tries: stepTries, Expires: id.clock().Add(stepLife),
	}, &underway{
		Step: o.step, Methods: e.methods, Level: e.level, Remember: e.remember, Known: e.known, Next: e.next, Session: e.session, Version: a.Version,
		Short: o.short,
	})
	return o, err
}

// open makes the session of an entry that is whole, always with a new token, and
// ends the one that the request came with; a step-up raises its session instead.
func (id *Identity) open(ctx context.Context, t tx, r *http.Request, e entry, o *outcome) (err error) {
	a := o.account
	if e.session != "" {
		o.token, o.session, err = id.sessions.RaiseTx(ctx, t.whole(), a.ID, e.session, e.level, e.method())
		return err
	}
	if prior, refused := caller(r); refused == nil && prior.Session != "" {
		err := id.sessions.RevokeTx(ctx, t.whole(), prior.Subject, prior.Session)
		if err != nil && problem.ReasonOf(err) != problem.AccountUnknown {
			return err
		}
	}
	o.token, o.session, err = id.sessions.CreateTx(ctx, t.whole(), NewSession{
		User: a.ID, Remember: e.remember && !slices.Contains(a.Roles, AdminRole), Level: e.level, Method: e.method(),
		Client: obs.RequestFrom(r.Context()).Client, Agent: agentOf(r),
	})
	if err != nil || e.known {
		return err
	}
	return id.tell(ctx, t, a, mail.NewDevice, id.event(r, nil))
}

// kindsOf names the kinds of factors with which the user can go on.
func (id *Identity) kindsOf(ctx context.Context, t tx, user string, held factor.Held) ([]string, error) {
	kinds := []string{}
	list, err := id.factors.ListTx(ctx, t.whole(), user)
	if err != nil {
		return nil, err
	}
	usable := func(f factor.Factor) bool { return f.Kind == factor.Passkey && !f.Stale }
	if id.factors.HasPasskeys() && slices.ContainsFunc(list, usable) {
		kinds = append(kinds, "passkey")
	}
	if held.TOTP > 0 {
		kinds = append(kinds, "totp")
	}
	if held.Codes > 0 {
		kinds = append(kinds, "recovery")
	}
	return kinds, nil
}

// proceed goes on with an entry whose first credential was proved, and answers.
func (id *Identity) proceed(w http.ResponseWriter, r *http.Request, kind page.Media, e entry) error {
	var o outcome
	err := id.db.change(r.Context(), func(ctx context.Context, t tx) (err error) {
		o, err = id.advance(ctx, t, r, kind, e)
		return err
	})
	if err != nil {
		return err
	}
	return id.arrive(w, r, kind, e, o)
}

// recognise remembers device and network of a login that succeeded as the owner's.
// That it cannot keeps nobody out.
func (id *Identity) recognise(r *http.Request, e entry, a account) {
	var err error
	if e.attempt != nil {
		err = e.attempt.Succeeded(r.Context())
	} else {
		err = id.guesses.Remember(r.Context(), foldEmail(a.Email), obs.RequestFrom(r.Context()).Client, deviceOf(r))
	}
	if err != nil {
		id.log.WarnContext(r.Context(), "a login is counted as a guess", slog.String("user", a.ID), slog.Any("error", err))
	}
}
