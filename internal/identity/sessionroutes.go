package identity

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

// me is GET /auth/me: who the caller is; as a page, the account with its sessions.
func (id *Identity) me(w http.ResponseWriter, r *http.Request) error {
	if p := policy.PrincipalFrom(r.Context()); ofIssuer(p) && !wantsPage(r) {
		return writeJSON(w, http.StatusOK, map[string]any{"id": p.Subject, "roles": append([]string{}, p.Roles...)})
	}
	p, a, err := id.callersAccount(w, r)
	if err != nil {
		return err
	}
	if !wantsPage(r) {
		return writeJSON(w, http.StatusOK, userAnswer(a.User))
	}
	list, err := id.sessionsOf(r, p)
	if err != nil {
		return err
	}
	return id.pages.account(w, accountView{User: a.User, Sessions: id.sessionViews(list, p.Session)})
}

// listSessions is GET /auth/sessions.
func (id *Identity) listSessions(w http.ResponseWriter, r *http.Request) error {
	p, a, err := id.callersAccount(w, r)
	if err != nil {
		return err
	}
	list, err := id.sessionsOf(r, p)
	if err != nil {
		return err
	}
	if wantsPage(r) {
		return id.pages.sessions(w, accountView{User: a.User, Sessions: id.sessionViews(list, p.Session)})
	}
	answer := sessionsJSON{Sessions: make([]sessionJSON, 0, len(list))}
	for _, s := range list {
		answer.Sessions = append(answer.Sessions, sessionJSON{
			ID: s.ID, CreatedAt: stamp(s.Created), LastUsedAt: stamp(s.LastUsed), ExpiresAt: stamp(s.Expires),
			Client: clientText(s), Agent: s.Agent, Current: s.ID == p.Session,
		})
	}
	return writeJSON(w, http.StatusOK, answer)
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
	to := accountPath
	if session == p.Session {
		to = loginPath + "?bye"
		if byCookie(p) {
			clearCookie(w)
		}
	}
	if wantsPage(r) {
		return redirect(w, to)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (id *Identity) revoke(r *http.Request, p *policy.Principal, session string) error {
	err := id.sessions.Revoke(r.Context(), p.Subject, session)
	if errors.Is(err, store.ErrNotFound) {
		return problem.New(problem.AccountUnknown, err)
	}
	return unavailable(r.Context(), err)
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
		return unavailable(r.Context(), err)
	}
	if wantsPage(r) {
		return redirect(w, accountPath)
	}
	return writeJSON(w, http.StatusOK, revokedJSON{Revoked: n})
}

// callersAccount returns the account of the caller as it is now.
func (id *Identity) callersAccount(w http.ResponseWriter, r *http.Request) (*policy.Principal, account, error) {
	p, err := caller(r)
	if err != nil {
		return nil, account{}, err
	}
	a, known, err := id.accountByID(r.Context(), p.Subject)
	if err == nil && (!known || a.Disabled) { // since the gateway resolved the session
		if byCookie(p) {
			clearCookie(w)
		}
		err = problem.New(problem.AuthRevoked, nil)
	}
	return p, a, err
}

// sessionsOf returns the caller's sessions: the current one first, then the
// latest used.
func (id *Identity) sessionsOf(r *http.Request, p *policy.Principal) ([]Session, error) {
	list, err := id.sessions.List(r.Context(), p.Subject)
	if err != nil {
		return nil, unavailable(r.Context(), err)
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

// agentMax bounds what is kept of User-Agent.
const agentMax = 256

// agentOf returns the browser's own words as printable text, cut to agentMax bytes.
func agentOf(r *http.Request) string {
	s := strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c == utf8.RuneError {
			return -1
		}
		return c
	}, r.UserAgent())
	if len(s) <= agentMax {
		return s
	}
	return strings.ToValidUTF8(s[:agentMax], "")
}

func clientText(s Session) string {
	if !s.Client.IsValid() {
		return ""
	}
	return s.Client.String()
}
