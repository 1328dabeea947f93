package app

import (
	"context"
	"net/http"
	"slices"
	"time"

	"sallyport.dev/internal/identity"
	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/session"
)

// administration is what administrators do to accounts, keys and sessions.
type administration struct {
	identity *identity.Identity
	sessions *session.Sessions
	clock    func() time.Time
}

// keyLife is the life of a key for which none was asked.
const keyLife = 365 * 24 * time.Hour

func (a *administration) routes(s *adminSocket) {
	s.handle("POST /v1/users", a.addUser)
	s.handle("GET /v1/users", a.listUsers)
	s.handle("DELETE /v1/users/{user}", a.onUser(a.identity.DeleteUser))
	s.handle("PUT /v1/users/{user}/password", a.setPassword)
	s.handle("POST /v1/users/{user}/disable", a.onUser(func(ctx context.Context, user string) error { return a.identity.SetDisabled(ctx, user, true) }))
	s.handle("POST /v1/users/{user}/enable", a.onUser(func(ctx context.Context, user string) error { return a.identity.SetDisabled(ctx, user, false) }))
	s.handle("POST /v1/users/{user}/roles/grant", a.changeRoles(func(have, given []string) []string { return append(have, given...) }))
	s.handle("POST /v1/users/{user}/roles/revoke", a.changeRoles(func(have, taken []string) []string {
		return slices.DeleteFunc(have, func(role string) bool { return slices.Contains(taken, role) })
	}))
	s.handle("GET /v1/users/{user}/sessions", a.listSessions)
	s.handle("DELETE /v1/users/{user}/sessions", a.onUser(func(ctx context.Context, user string) error {
		_, err := a.sessions.RevokeAll(ctx, user, "")
		return err
	}))
	s.handle("DELETE /v1/users/{user}/sessions/{session}", a.revokeSession)
	s.handle("POST /v1/keys", a.createKey)
	s.handle("GET /v1/keys", a.listKeys)
	s.handle("POST /v1/keys/{key}/rotate", a.rotateKey)
	s.handle("DELETE /v1/keys/{key}", func(ctx context.Context, r *http.Request) (any, error) {
		return nil, a.identity.RevokeKey(ctx, r.PathValue("key"))
	})
}

func (a *administration) addUser(ctx context.Context, r *http.Request) (any, error) {
	var in NewUser
	if err := decodeBody(r, &in); err != nil {
		return nil, err
	}
	u, err := a.identity.AddUser(ctx, in.Email, obs.Secret(in.Password), in.Roles)
	if err != nil {
		return nil, err
	}
	return userOf(u), nil
}

func (a *administration) listUsers(ctx context.Context, _ *http.Request) (any, error) {
	const page = 1000
	list := []User{}
	for after := ""; ; {
		users, err := a.identity.Users(ctx, after, page)
		if err != nil {
			return nil, err
		}
		for _, u := range users {
			list = append(list, userOf(u))
			after = u.Email
		}
		if len(users) < page {
			return list, nil
		}
	}
}

// onUser is an operation on the user of the path, named by e-mail or id.
func (a *administration) onUser(do func(ctx context.Context, user string) error) operation {
	return func(ctx context.Context, r *http.Request) (any, error) {
		u, err := a.identity.User(ctx, r.PathValue("user"))
		if err != nil {
			return nil, err
		}
		return nil, do(ctx, u.ID)
	}
}

func (a *administration) setPassword(ctx context.Context, r *http.Request) (any, error) {
	var in NewPassword
	if err := decodeBody(r, &in); err != nil {
		return nil, err
	}
	return a.onUser(func(ctx context.Context, user string) error {
		return a.identity.SetPassword(ctx, user, obs.Secret(in.Password))
	})(ctx, r)
}

func (a *administration) changeRoles(change func(have, named []string) []string) operation {
	return func(ctx context.Context, r *http.Request) (any, error) {
		var in Roles
		if err := decodeBody(r, &in); err != nil {
			return nil, err
		}
		u, err := a.identity.User(ctx, r.PathValue("user"))
		if err != nil {
			return nil, err
		}
		roles := change(slices.Clone(u.Roles), in.Roles)
		slices.Sort(roles)
		return nil, a.identity.SetRoles(ctx, u.ID, slices.Compact(roles))
	}
}

func (a *administration) listSessions(ctx context.Context, r *http.Request) (any, error) {
	u, err := a.identity.User(ctx, r.PathValue("user"))
	if err != nil {
		return nil, err
	}
	sessions, err := a.sessions.List(ctx, u.ID)
	list := make([]Session, len(sessions))
	for i, s := range sessions {
		list[i] = Session{ID: s.ID, Created: moment(s.Created), LastUsed: moment(s.LastUsed), Expires: moment(s.Expires), Client: s.Client.String(), Agent: s.Agent}
	}
	return list, err
}

func (a *administration) revokeSession(ctx context.Context, r *http.Request) (any, error) {
	return a.onUser(func(ctx context.Context, user string) error {
		return a.sessions.Revoke(ctx, user, r.PathValue("session"))
	})(ctx, r)
}

func (a *administration) createKey(ctx context.Context, r *http.Request) (any, error) {
	var in NewKey
	if err := decodeBody(r, &in); err != nil {
		return nil, err
	}
	life, err := duration(in.Life, "life")
	if err != nil {
		return nil, err
	}
	if life == 0 {
		life = keyLife
	}
	k, secret, err := a.identity.CreateKey(ctx, identity.NewKey{Name: in.Name, Scopes: in.Scopes, Expires: a.clock().Add(life)})
	if err != nil {
		return nil, err
	}
	return CreatedKey{ID: k.ID, Key: string(secret)}, nil
}

func (a *administration) rotateKey(ctx context.Context, r *http.Request) (any, error) {
	var in RotateKey
	if err := decodeBody(r, &in); err != nil {
		return nil, err
	}
	overlap, err := duration(in.Overlap, "overlap")
	if err != nil {
		return nil, err
	}
	k, secret, err := a.identity.RotateKey(ctx, r.PathValue("key"), overlap)
	if err != nil {
		return nil, err
	}
	return CreatedKey{ID: k.ID, Key: string(secret)}, nil
}

func (a *administration) listKeys(ctx context.Context, _ *http.Request) (any, error) {
	const page = 1000
	list := []Key{}
	for after := ""; ; {
		keys, err := a.identity.Keys(ctx, after, page)
		if err != nil {
			return nil, err
		}
		for _, k := range keys {
			after = k.ID
			if k.Live(a.clock()) {
				list = append(list, Key{ID: k.ID, Name: k.Name, Scopes: k.Scopes, Created: moment(k.Created), Expires: moment(k.Expires), LastUsed: moment(k.Used)})
			}
		}
		if len(keys) < page {
			return list, nil
		}
	}
}

// userOf is an account as the admin API shows it.
func userOf(u identity.User) User {
	roles := u.Roles
	if roles == nil {
		roles = []string{}
	}
	return User{ID: u.ID, Email: u.Email, Roles: roles, Disabled: u.Disabled, Created: moment(u.Created)}
}

// moment prints a time as the admin API does; the zero time is empty.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// duration reads a Go duration of a request; empty is 0.
func duration(text, field string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, problem.WithDetail(problem.AdminInvalid, field+": want a duration such as 24h")
	}
	return d, nil
}
