package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
	"sallyport.dev/zone"
)

// maxClients bounds the clients of the command line.
const maxClients = 10_000

// NewClient is a client to be added. Secret and JWKS of the embedded client, which
// name files, are not looked at.
type NewClient struct {
	zone.Client
	Keys json.RawMessage // JWK set, for private_key_jwt; empty: none
}

// ClientInfo is a client as it is listed. It holds nothing that lets anybody in.
type ClientInfo struct {
	zone.Client
	Method   string    // how it shows who it is: none, client_secret, private_key_jwt, tls_client_auth
	OfMap    bool      // else of the command line
	Created  time.Time // zero: of the map
	OldUntil time.Time // until when the secret before the last rotation is taken; zero: it is not
}

// AddClient registers a client and returns its secret, the only time it is seen;
// empty for a client without one. Reasons: admin.invalid, admin.conflict,
// auth.unavailable.
func (p *Provider) AddClient(ctx context.Context, n NewClient) (secret string, err error) {
	c := &client{Client: n.Client, stored: true}
	c.Secret, c.JWKS = nil, ""
	if len(n.Keys) > 0 {
		if c.keys, err = parseKeys(n.Keys); err != nil {
			return "", problem.WithDetail(problem.AdminInvalid, "keys: "+err.Error())
		}
	}
	if !c.public() && c.keys == nil && c.Certificate == "" {
		secret = newSecret()
		c.secrets = [][]byte{hashOf(secret)}
	}
	st := p.state.Load()
	if err := c.check(); err != nil {
		return "", problem.WithDetail(problem.AdminInvalid, err.Error())
	}
	for _, scope := range c.Scopes {
		if !slices.Contains(st.scopes, scope) {
			return "", problem.WithDetail(problem.AdminInvalid, "scope "+scope+": no route and no client of the map has it")
		}
	}
	if st.clients[c.ID] != nil {
		return "", problem.WithDetail(problem.AdminConflict, "the map has a client of this id")
	}
	record, err := json.Marshal(c.Client)
	if err != nil {
		return "", problem.New(problem.InternalError, err)
	}
	var sum any
	if secret != "" {
		sum = hashOf(secret)
	}
	err = p.db.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		var count int
		if err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM oauth_clients").Scan(&count); err != nil {
			return err
		}
		if count >= maxClients {
			return problem.WithDetail(problem.AdminConflict, fmt.Sprintf("there are %d clients", count))
		}
		var taken int
		err := tx.QueryRow(ctx, "SELECT 1 FROM oauth_clients WHERE id = ?", c.ID).Scan(&taken)
		if err == nil {
			return problem.WithDetail(problem.AdminConflict, "there is a client of this id")
		}
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if err := p.endClient(ctx, tx, c.ID); err != nil { // of a map that had the id before
			return err
		}
		added, err := tx.Exec(ctx, `INSERT INTO oauth_clients (id, kind, record, keys, secret, created_at) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (id) DO NOTHING`, c.ID, c.Kind, string(record), string(n.Keys), sum, store.Micros(p.now()))
		if err == nil && added == 0 {
			err = problem.WithDetail(problem.AdminConflict, "there is a client of this id")
		}
		return err
	})
	p.forgetOrigins()
	return secret, answer(err)
}

// RotateSecret gives a client a new secret. The one before is taken for overlap
// longer; 0: no longer. Reasons: admin.unknown, admin.invalid (it has none).
func (p *Provider) RotateSecret(ctx context.Context, id string, overlap time.Duration) (string, error) {
	secret := newSecret()
	err := p.db.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		var has int
		err := tx.QueryRow(ctx, "SELECT CASE WHEN secret IS NULL THEN 0 ELSE 1 END FROM oauth_clients WHERE id = ?", id).Scan(&has)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return problem.New(problem.AdminUnknown, nil)
		case err != nil:
			return err
		case has == 0:
			return problem.WithDetail(problem.AdminInvalid, "the client has no secret")
		}
		_, err = tx.Exec(ctx, "UPDATE oauth_clients SET old_secret = secret, old_until = ?, secret = ? WHERE id = ?",
			store.Micros(p.now().Add(max(0, min(overlap, 30*24*time.Hour)))), hashOf(secret), id)
		return err
	})
	if err != nil {
		return "", answer(err)
	}
	return secret, nil
}

// Clients lists those of the map and of the command line, by id.
func (p *Provider) Clients(ctx context.Context) ([]ClientInfo, error) {
	var list []ClientInfo
	for _, c := range p.state.Load().clients {
		list = append(list, ClientInfo{Client: c.Client, Method: c.method(), OfMap: true})
	}
	err := p.db.View(ctx, func(ctx context.Context, tx *store.Tx) error {
		rows, err := tx.Query(ctx, "SELECT "+clientColumns+" FROM oauth_clients ORDER BY id LIMIT ?", maxClients)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			c, created, until, err := p.scanClient(rows)
			if err != nil {
				return err
			}
			if until.Before(p.now()) {
				until = time.Time{}
			}
			list = append(list, ClientInfo{Client: c.Client, Method: c.method(), Created: created, OldUntil: until})
		}
		return rows.Err()
	})
	slices.SortFunc(list, func(a, b ClientInfo) int { return strings.Compare(a.ID, b.ID) })
	return list, answer(err)
}

// method is how a client shows who it is.
func (c *client) method() string {
	switch {
	case c.public():
		return "none"
	case c.keys != nil:
		return "private_key_jwt"
	case c.Certificate != "":
		return "tls_client_auth"
	}
	return "client_secret"
}

const clientColumns = "record, keys, secret, old_secret, old_until, created_at"

func (p *Provider) scanClient(row interface{ Scan(...any) error }) (c *client, created, until time.Time, err error) {
	var record, set string
	var secret, old []byte
	var oldUntil, createdAt int64
	if err := row.Scan(&record, &set, &secret, &old, &oldUntil, &createdAt); err != nil {
		return nil, created, until, err
	}
	c = &client{stored: true}
	if err := json.Unmarshal([]byte(record), &c.Client); err != nil {
		return nil, created, until, fmt.Errorf("oauth: a stored client: %w", err)
	}
	if set != "" {
		if c.keys, err = parseKeys([]byte(set)); err != nil {
			return nil, created, until, fmt.Errorf("oauth: client %s: %w", c.ID, err)
		}
	}
	until = store.FromMicros(oldUntil)
	if secret != nil {
		c.secrets = append(c.secrets, secret)
	}
	if old != nil && until.After(p.now()) {
		c.secrets = append(c.secrets, old)
	}
	return c, store.FromMicros(createdAt), until, nil
}

// client returns a registered client; store.ErrNotFound when there is none.
func (p *Provider) client(ctx context.Context, st *state, id string) (*client, error) {
	if c := st.clients[id]; c != nil {
		return c, nil
	}
	var c *client
	err := p.db.View(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		c, _, _, err = p.scanClient(tx.QueryRow(ctx, "SELECT "+clientColumns+" FROM oauth_clients WHERE id = ?", id))
		return err
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// origins are those of public clients' pages: scripts there may ask for tokens
// (CORS). Clients that other processes add are seen a minute later.
func (p *Provider) allowedOrigin(ctx context.Context, st *state, origin string) bool {
	now := p.now()
	known := p.origins.Load()
	if known == nil || known.of != st || now.Sub(known.read) > time.Minute || known.read.After(now) {
		known = &origins{of: st, read: now, all: map[string]bool{}}
		for _, c := range st.clients {
			known.add(c)
		}
		list, err := p.Clients(ctx)
		if err != nil {
			return false
		}
		for i := range list {
			known.add(&client{Client: list[i].Client})
		}
		p.origins.Store(known)
	}
	return known.all[origin]
}

type origins struct {
	of   *state
	read time.Time
	all  map[string]bool
}

func (o *origins) add(c *client) {
	if !c.public() {
		return
	}
	for _, uri := range c.RedirectURIs {
		if u, err := url.Parse(uri); err == nil && u.Scheme == "https" {
			o.all[u.Scheme+"://"+u.Host] = true
		}
	}
}

func (p *Provider) forgetOrigins() { p.origins.Store(nil) }
