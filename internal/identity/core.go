package identity

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"time"

	"sallyport.dev/internal/mail"
	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/page"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// AdminRole is the role that administers the zone. Who has it must hold a second
// factor, and is never remembered. It is not `admin`, which services use for
// roles of their own.
const AdminRole = "zone-admin"

// freshFor is how long a proof of who one is lets change what guards the account.
const freshFor = 10 * time.Minute

// mustHoldFactor says whether the account logs in with two factors only.
func (id *Identity) mustHoldFactor(a account) bool {
	return id.zone.Identity.MFARequired || slices.Contains(a.Roles, AdminRole)
}

// fresh is the rule for changes of what guards an account (password, address,
// factors, keys, providers, deletion): a credential was proved within the last ten
// minutes, and two factors if the user holds any. Else the reason is auth.step_up,
// which leads a page to the step-up.
func (id *Identity) fresh(r *http.Request, p *policy.Principal, a account) error {
	held, err := id.factors.Has(r.Context(), a.ID)
	if err != nil {
		return err
	}
	if p.StepUp || id.clock().Sub(p.AuthTime) > freshFor || held.Any() && p.Level < policy.TwoFactors {
		return problem.New(problem.AuthStepUp, nil)
	}
	return nil
}

// freshCaller is callersAccount and fresh.
func (id *Identity) freshCaller(w http.ResponseWriter, r *http.Request) (*policy.Principal, account, error) {
	p, a, err := id.callersAccount(w, r)
	if err == nil {
		err = id.fresh(r, p, a)
	}
	return p, a, err
}

// told bounds the letters that tell of changes to one account: whoever makes changes
// in a loop has been told, and must not fill the outbox for everybody.
var told = []zone.Rate{{Count: 30, Window: time.Hour}, {Count: 100, Window: 24 * time.Hour}}

// tell asks for a letter to the owner of an account, in the transaction of what it
// tells of. A zone without mail has none; that the outbox is full, or the account has
// had its share, undoes nothing.
func (id *Identity) tell(ctx context.Context, t tx, a account, kind string, data map[string]string) error {
	if id.mail == nil {
		return nil
	}
	if a.ID != "" && problem.ReasonOf(id.guesses.Take(ctx, "told", a.ID, told...)) == problem.LimitRate {
		id.log.WarnContext(ctx, "a letter was not written: its account has had many", slog.String("kind", kind), slog.String("user", a.ID))
		return nil
	}
	err := id.mail.Enqueue(ctx, t.whole(), mail.Job{Kind: kind, Address: a.Email, User: a.ID, Data: data, Language: a.Locale})
	if errors.Is(err, mail.ErrFull) {
		id.log.WarnContext(ctx, "a letter was not written: the outbox is full", slog.String("kind", kind), slog.String("user", a.ID))
		return nil
	}
	return err
}

// event is the data of a letter that tells of something that was done by a
// request: when, with what and from where, and where to look.
func (id *Identity) event(r *http.Request, more map[string]string) map[string]string {
	client := obs.RequestFrom(r.Context()).Client
	data := map[string]string{
		"at": page.Stamp(id.clock()), "device": device(agentOf(r)), "place": "", "link": id.config.Base + page.AccountPath,
	}
	if client.IsValid() {
		data["place"] = client.Unmap().WithZone("").String()
	}
	maps.Copy(data, more)
	return data
}

// bump is a change of rights: it grows the account's version, and revokes what is
// remembered of the user. Reason account.unknown: there is no such user.
func (id *Identity) bump(ctx context.Context, t tx, user string) error {
	n, err := t.Exec(ctx, "UPDATE users SET version = version + 1 WHERE id = ?", user)
	if err == nil && n == 0 {
		err = problem.New(problem.AccountUnknown, nil)
	}
	if err != nil {
		return err
	}
	return id.revokeSubject(ctx, t, user)
}

// endAll ends all sessions of a user but one, what is under way, and what was
// granted to programs but for what hangs on the session that is spared. It says how
// many sessions that were.
func (id *Identity) endAll(ctx context.Context, t tx, user, except string) (ended int, err error) {
	if ended, err = id.sessions.RevokeAllTx(ctx, t.whole(), user, except); err != nil {
		return 0, err
	}
	if err := id.flows.End(ctx, t.whole(), user); err != nil || id.config.Ended == nil {
		return ended, err
	}
	return ended, id.config.Ended(ctx, t.whole(), user, except)
}
