package identity

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"sallyport.dev/internal/page"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

func (id *Identity) sessionRoutes() []Route {
	end := id.post("/auth/sessions/{id}", id.revokeSession)
	end.Method = "DELETE"
	return []Route{
		id.get("/auth/me", id.me),
		id.get("/auth/sessions", id.listSessions),
		id.post("/auth/sessions/revoke-others", id.revokeOthers),
		id.post("/auth/sessions/{id}/revoke", id.revokeSession),
		end,
	}
}

// me is GET /auth/me: who the caller is; to a browser, the way to the account page.
func (id *Identity) me(w http.ResponseWriter, r *http.Request) error {
	if p := policy.PrincipalFrom(r.Context()); ofIssuer(p) && !page.WantsPage(r) {
		return page.WriteJSON(w, http.StatusOK, map[string]any{"id": p.Subject, "roles": append([]string{}, p.Roles...)})
	}
	_, a, err := id.callersAccount(w, r)
	if err != nil {
		return err
	}
	if page.WantsPage(r) {
		return page.Redirect(w, page.AccountPath)
	}
	return page.WriteJSON(w, http.StatusOK, userAnswer(a.User))
}

// listSessions is GET /auth/sessions; the page of it is a part of the account's.
func (id *Identity) listSessions(w http.ResponseWriter, r *http.Request) error {
	p, _, err := id.callersAccount(w, r)
	if err != nil {
		return err
	}
	if page.WantsPage(r) {
		return page.Redirect(w, page.AccountPath+"#sessions")
	}
	list, err := id.sessionsOf(r, p)
	if err != nil {
		return err
	}
	answer := sessionsJSON{Sessions: make([]sessionJSON, 0, len(list))}
	for _, s := range list {
		answer.Sessions = append(answer.Sessions, sessionJSON{
			ID: s.ID, CreatedAt: page.Stamp(s.Created), LastUsedAt: page.Stamp(s.LastUsed), ExpiresAt: page.Stamp(s.Expires),
			Client: clientText(s), Agent: s.Agent, Level: s.Level, Method: s.Method, Current: s.ID == p.Session,
		})
	}
	return page.WriteJSON(w, http.StatusOK, answer)
}

// revokeSession is POST /auth/sessions/{id}/revoke and DELETE /auth/sessions/{id}.
// A session of somebody else is as unknown as one that never was.
func (id *Identity) revokeSession(w http.ResponseWriter, r *http.Request) error {
	p, err := caller(r)
	if err != nil {
		return err
	}
	session := sessionInPath(r)
	if err := id.revoke(r, p, session); err != nil {
		return err
	}
	to := page.AccountPath
	if session == p.Session {
		to = page.LoginPath + "?bye"
		if byCookie(p) {
			clearCookie(w)
		}
	}
	if page.WantsPage(r) {
		return page.Redirect(w, to)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (id *Identity) revoke(r *http.Request, p *policy.Principal, session string) error {
	err := id.sessions.Revoke(r.Context(), p.Subject, session)
	if errors.Is(err, store.ErrNotFound) {
		return problem.New(problem.AccountUnknown, err)
	}
	return store.Refusal(r.Context(), err)
}

// revokeOthers is POST /auth/sessions/revoke-others: it ends every session of
// the caller but this one.
func (id *Identity) revokeOthers(w http.ResponseWriter, r *http.Request) error {
	p, err := caller(r)
	if err != nil {
		return err
	}
	n, err := id.sessions.RevokeAll(r.Context(), p.Subject, p.Session)
	if err != nil {
		return store.Refusal(r.Context(), err)
	}
	if page.WantsPage(r) {
		return page.Redirect(w, page.AccountPath)
	}
	return page.WriteJSON(w, http.StatusOK, revokedJSON{Revoked: n})
}

// callersAccount returns the account of the caller as it is now; the request goes on
// in its language. Reason auth.step_up: the session lacks a second factor that the
// zone wants by now.
func (id *Identity) callersAccount(w http.ResponseWriter, r *http.Request) (*policy.Principal, account, error) {
	p, a, err := id.whoAsks(w, r)
	if err == nil && p.StepUp {
		err = problem.New(problem.AuthStepUp, nil)
	}
	return p, a, err
}

// whoAsks is callersAccount for the way to the second factor: it takes a session
// that lacks it.
func (id *Identity) whoAsks(w http.ResponseWriter, r *http.Request) (*policy.Principal, account, error) {
	p, err := caller(r)
	if err != nil {
		return nil, account{}, err
	}
	var a account
	known := false
	err = id.db.view(r.Context(), func(ctx context.Context, t tx) (err error) {
		if a, known, err = id.accountInTx(ctx, t, p.Subject); err != nil || !known || a.Disabled {
			return err
		}
		return id.stillIn(ctx, t, p)
	})
	if err == nil && (!known || a.Disabled) { // since the gateway resolved the session
		if byCookie(p) {
			clearCookie(w)
		}
		err = problem.New(problem.AuthRevoked, nil)
	}
	if err == nil {
		*r = *id.own(r, a) // for whatever answers it, refusals too
	}
	return p, a, err
}

// stillIn refuses a request whose session has ended since the gateway resolved it: a
// body may be sent slowly, and whoever had the session must not leave anything behind.
// changeAs asks it in the transaction that writes. Reason auth.revoked.
// The cookie stays: it may be of the session that took the place of this one.
func (id *Identity) stillIn(ctx context.Context, t tx, p *policy.Principal) error {
	err := id.sessions.LiveTx(ctx, t.whole(), p.Subject, p.Session)
	switch problem.ReasonOf(err) {
	case problem.AuthInvalid, problem.AuthExpired:
		return problem.New(problem.AuthRevoked, err)
	}
	return err
}

// changeAs is a change by who is logged in, while that holds.
func (id *Identity) changeAs(r *http.Request, p *policy.Principal, f func(ctx context.Context, t tx) error) error {
	return id.db.change(r.Context(), func(ctx context.Context, t tx) error {
		if err := id.stillIn(ctx, t, p); err != nil {
			return err
		}
		return f(ctx, t)
	})
}

// sessionsOf returns the caller's sessions: the current one first, then the
// latest used.
func (id *Identity) sessionsOf(r *http.Request, p *policy.Principal) ([]Session, error) {
	list, err := id.sessions.List(r.Context(), p.Subject)
	if err != nil {
		return nil, store.Refusal(r.Context(), err)
	}
	slices.SortStableFunc(list, func(a, b Session) int {
		if a.ID == p.Session || b.ID == p.Session {
			return cmp.Compare(btoi(b.ID == p.Session), btoi(a.ID == p.Session))
		}
		return b.LastUsed.Compare(a.LastUsed)
	})
	return list, nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// sessionInPath returns the id in /auth/sessions/{id} with or without /revoke.
// It is read from the path itself: whichever matcher chose the route, the
// handler needs nothing of it.
func sessionInPath(r *http.Request) string {
	rest, _ := strings.CutPrefix(r.URL.Path, "/auth/sessions/")
	return strings.TrimSuffix(rest, "/revoke")
}

func clientText(s Session) string {
	if !s.Client.IsValid() {
		return ""
	}
	return s.Client.String()
}
