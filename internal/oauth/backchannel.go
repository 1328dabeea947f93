package oauth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"sallyport.dev/internal/store"
)

// The bounds of back-channel logout.
const (
	maxLogouts   = 1000 // of one revocation
	logoutTries  = 5
	logoutBatch  = 20
	logoutLease  = time.Minute
	logoutBefore = 2 * time.Minute // life of a logout token
)

const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

// enqueueLogouts notes which clients are to be told that a session has ended, in
// the transaction that ends it.
func (p *Provider) enqueueLogouts(ctx context.Context, tx *store.Tx, condition string, args ...any) error {
	type receiver struct{ client, sub, sid string }
	var list []receiver
	rows, err := tx.Query(ctx, "SELECT DISTINCT client_id, sub, sid FROM oauth_grants WHERE sid > '' AND revoked_at = 0 AND "+condition+" LIMIT ?",
		append(args, maxLogouts)...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var r receiver
		if err := rows.Scan(&r.client, &r.sub, &r.sid); err != nil {
			return err
		}
		list = append(list, r)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, r := range list {
		uri, err := p.logoutURI(ctx, tx, r.client)
		if err != nil {
			return err
		}
		if uri == "" {
			continue
		}
		now := store.Micros(p.now())
		if _, err := tx.Exec(ctx, "INSERT INTO oauth_logouts (id, client_id, sub, sid, created_at, next_at) VALUES (?, ?, ?, ?, ?, ?)",
			newID(), r.client, r.sub, r.sid, now, now); err != nil {
			return err
		}
	}
	return nil
}

// logoutURI is where a client wants to be told; empty: nowhere.
func (p *Provider) logoutURI(ctx context.Context, tx *store.Tx, id string) (string, error) {
	if c := p.state.Load().clients[id]; c != nil {
		return c.BackchannelLogoutURI, nil
	}
	c, _, _, err := p.scanClient(tx.QueryRow(ctx, "SELECT "+clientColumns+" FROM oauth_clients WHERE id = ?", id))
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return c.BackchannelLogoutURI, nil
}

// waiting is one logout token that is to be sent.
type waiting struct {
	id, client, sub, sid, uri string
	tries                     int
}

// SendLogouts sends the logout tokens that are due, and returns how many it tried.
// Run does so every few seconds.
func (p *Provider) SendLogouts(ctx context.Context) (int, error) {
	list, err := p.leaseLogouts(ctx)
	if err != nil {
		return 0, err
	}
	errs := make([]error, len(list))
	var sends sync.WaitGroup
	for i, l := range list { // side by side: one that does not answer holds up no other, nor outlasts the lease
		sends.Go(func() { errs[i] = p.sendLogout(ctx, l) })
	}
	sends.Wait()
	return len(list), errors.Join(errs...)
}

func (p *Provider) leaseLogouts(ctx context.Context) (list []waiting, err error) {
	now := p.now()
	due := 0
	err = p.db.View(ctx, func(ctx context.Context, tx *store.Tx) error { // most often nothing is: then nobody waits for a writer
		return tx.QueryRow(ctx, "SELECT COUNT(*) FROM oauth_logouts WHERE next_at <= ?", store.Micros(now)).Scan(&due)
	})
	if err != nil || due == 0 {
		return nil, err
	}
	err = p.db.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		rows, err := tx.Query(ctx, `UPDATE oauth_logouts SET tries = tries + 1, next_at = ? WHERE id IN
			(SELECT id FROM oauth_logouts WHERE next_at <= ? ORDER BY next_at LIMIT ?) RETURNING id, client_id, sub, sid, tries`,
			store.Micros(now.Add(logoutLease)), store.Micros(now), logoutBatch)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var l waiting
			if err := rows.Scan(&l.id, &l.client, &l.sub, &l.sid, &l.tries); err != nil {
				return err
			}
			list = append(list, l)
		}
		if err := rows.Err(); err != nil {
			return err
		}
		for i := range list {
			if list[i].uri, err = p.logoutURI(ctx, tx, list[i].client); err != nil {
				return err
			}
		}
		return nil
	})
	return list, err
}

// sendLogout tells one client. What fails is tried again, each time later; a
// client that refuses the token (400) is not asked twice.
func (p *Provider) sendLogout(ctx context.Context, l waiting) error {
	again, err := p.postLogoutToken(ctx, l)
	next := p.now().Add(time.Duration(1<<(2*l.tries)) * time.Second)
	return p.db.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		if err != nil && again && l.tries < logoutTries {
			_, err := tx.Exec(ctx, "UPDATE oauth_logouts SET next_at = ? WHERE id = ?", store.Micros(next), l.id)
			return err
		}
		event := EventLogoutSent
		if err != nil {
			event = EventLogoutFailed
			p.Log.WarnContext(ctx, "a client was not told of a logout", slog.String("client", l.client), slog.Any("error", err))
		}
		p.Count(event)
		_, err := tx.Exec(ctx, "DELETE FROM oauth_logouts WHERE id = ?", l.id)
		return err
	})
}

func (p *Provider) postLogoutToken(ctx context.Context, l waiting) (again bool, err error) {
	if l.uri == "" {
		return false, nil // it has none any more
	}
	now := p.Clock()
	token, err := p.signJWT(ctx, "logout+jwt", map[string]any{
		"iss": p.Issuer, "sub": l.sub, "aud": l.client, "sid": l.sid, "iat": now.Unix(), "exp": now.Add(logoutBefore).Unix(), "jti": newSecret(),
		"events": map[string]any{logoutEvent: map[string]any{}},
	})
	if err != nil {
		return true, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, l.uri, strings.NewReader(url.Values{"logout_token": {token}}.Encode()))
	if err != nil {
		return false, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := p.Config.Client.Do(r)
	if err != nil {
		return true, err
	}
	defer answer.Body.Close()
	_, _ = io.CopyN(io.Discard, answer.Body, 4<<10)
	switch answer.StatusCode {
	case http.StatusOK, http.StatusNoContent:
		return false, nil
	case http.StatusBadRequest:
		return false, errors.New("the client refused the logout token")
	}
	return true, fmt.Errorf("the client answered %d", answer.StatusCode)
}
