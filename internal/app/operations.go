package app

import (
	"context"
	"net/http"
	"time"

	"sallyport.dev/internal/apikey"
	"sallyport.dev/internal/identity"
	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/session"
)

// administration is what administrators do to accounts, keys and sessions.
type administration struct {
	identity func() *identity.Identity // of the map in force
	sessions *session.Sessions
	keys     *apikey.Keys
	clock    func() time.Time
}

// pageSize is how many users or keys one answer holds.
const pageSize = 1000

func (a *administration) routes(s *adminSocket) {
	s.handle("POST /v1/bootstrap", a.bootstrap)
	s.handle("POST /v1/users", a.addUser)
	s.handle("GET /v1/users", a.listUsers)
	s.handle("DELETE /v1/users/{user}", a.removeUser)
	s.handle("DELETE /v1/users/{user}/factors", a.onUser(func(ctx context.Context, user string) error { return a.identity().ResetFactors(ctx, user) }))
	s.handle("PUT /v1/users/{user}/password", a.setPassword)
	s.handle("POST /v1/users/{user}/disable", a.onUser(func(ctx context.Context, user string) error { return a.identity().SetDisabled(ctx, user, true) }))
	s.handle("POST /v1/users/{user}/enable", a.onUser(func(ctx context.Context, user string) error { return a.identity().SetDisabled(ctx, user, false) }))
	s.handle("POST /v1/users/{user}/roles/grant", a.changeRoles((*identity.Identity).GrantRoles))
	s.handle("POST /v1/users/{user}/roles/revoke", a.changeRoles((*identity.Identity).RevokeRoles))
	s.handle("GET /v1/users/{user}/sessions", a.listSessions)
	s.handle("DELETE /v1/users/{user}/sessions", a.onUser(func(ctx context.Context, user string) error {
		return a.identity().EndAll(ctx, user)
	}))
	s.handle("DELETE /v1/users/{user}/sessions/{session}", a.revokeSession)
	a.keyRoutes(s)
	a.importRoutes(s)
}

func (a *administration) addUser(ctx context.Context, r *http.Request) (any, error) {
	var in NewUser
	if err := decodeBody(r, &in); err != nil {
		return nil, err
	}
	u, err := a.identity().AddUser(ctx, in.Email, obs.Secret(in.Password), in.Roles)
	if err != nil {
		return nil, err
	}
	return userOf(u), nil
}

// listUsers answers with a page of users, in the order of their addresses, that
// starts after the address of the parameter after.
func (a *administration) listUsers(ctx context.Context, r *http.Request) (any, error) {
	users, err := a.identity().Users(ctx, r.URL.Query().Get("after"), pageSize)
	if err != nil {
		return nil, err
	}
	page := Users{Users: make([]User, 0, len(users))}
	for _, u := range users {
		page.Users = append(page.Users, userOf(u))
	}
	if len(users) == pageSize {
		page.Next = users[pageSize-1].Email
	}
	return page, nil
}

// user returns the user of the path, named by e-mail or id.
func (a *administration) user(ctx context.Context, r *http.Request) (identity.User, error) {
	u, err := a.identity().User(ctx, r.PathValue("user"))
	if problem.ReasonOf(err) == problem.AccountUnknown {
		err = problem.WithDetail(problem.AccountUnknown, "no user has this e-mail address or id")
	}
	return u, err
}

// onUser is an operation on the user of the path.
func (a *administration) onUser(do func(ctx context.Context, user string) error) operation {
	return func(ctx context.Context, r *http.Request) (any, error) {
		u, err := a.user(ctx, r)
		if err != nil {
			return nil, err
		}
		return nil, do(ctx, u.ID)
	}
}

// removeUser removes a user, or withdraws the open invitation of who is none yet.
func (a *administration) removeUser(ctx context.Context, r *http.Request) (any, error) {
	u, err := a.user(ctx, r)
	if problem.ReasonOf(err) == problem.AccountUnknown {
		if err = a.identity().Withdraw(ctx, r.PathValue("user")); problem.ReasonOf(err) == problem.AccountUnknown {
			err = problem.WithDetail(problem.AccountUnknown, "no user has this e-mail address or id, nor is there an open invitation")
		}
		return nil, err
	}
	if err != nil {
		return nil, err
	}
	return nil, a.identity().DeleteUser(ctx, u.ID)
}

func (a *administration) setPassword(ctx context.Context, r *http.Request) (any, error) {
	var in NewPassword
	if err := decodeBody(r, &in); err != nil {
		return nil, err
	}
	return a.onUser(func(ctx context.Context, user string) error {
		return a.identity().SetPassword(ctx, user, obs.Secret(in.Password))
	})(ctx, r)
}

func (a *administration) changeRoles(change func(id *identity.Identity, ctx context.Context, user string, roles []string) error) operation {
	return func(ctx context.Context, r *http.Request) (any, error) {
		var in Roles
		if err := decodeBody(r, &in); err != nil {
			return nil, err
		}
		u, err := a.user(ctx, r)
		if err != nil {
			return nil, err
		}
		return nil, change(a.identity(), ctx, u.ID, in.Roles)
	}
}

func (a *administration) listSessions(ctx context.Context, r *http.Request) (any, error) {
	u, err := a.user(ctx, r)
	if err != nil {
		return nil, err
	}
	sessions, err := a.sessions.List(ctx, u.ID)
	list := make([]Session, len(sessions))
	for i, s := range sessions {
		list[i] = Session{ID: s.ID, Created: stamp(s.Created), LastUsed: stamp(s.LastUsed), Expires: stamp(s.Expires), Client: s.Client.String(), Agent: s.Agent}
	}
	return list, err
}

func (a *administration) revokeSession(ctx context.Context, r *http.Request) (any, error) {
	return a.onUser(func(ctx context.Context, user string) error {
		err := a.sessions.Revoke(ctx, user, r.PathValue("session"))
		if problem.ReasonOf(err) == problem.AccountUnknown {
			err = problem.WithDetail(problem.AccountUnknown, "the user has no session with this id")
		}
		return err
	})(ctx, r)
}

// userOf is an account as the admin API shows it.
func userOf(u identity.User) User {
	roles := u.Roles
	if roles == nil {
		roles = []string{}
	}
	return User{ID: u.ID, Email: u.Email, Roles: roles, Verified: u.Verified, Disabled: u.Disabled, Created: stamp(u.Created), Deleting: stamp(u.Deleting)}
}
