package oauth

import (
	"context"
	"log/slog"
	"maps"
	"time"

	"sallyport.dev/internal/store"
)

// endTime bounds what the end of clients may wait for the store. What is left then is
// ended by Run.
const endTime = 10 * time.Second

// keepMapClients notes which clients the map in force names, and ends what those were
// granted that it does not name any more. It is asked whenever a map comes into force:
// who has such an id next, in the map or by the command line, is another. Until all has
// ended, what is left is no good either: Resolve knows the clients of the map. before is
// what this process went by until now; nil: it begins.
func (p *Provider) keepMapClients(before *state) {
	ctx, cancel := context.WithTimeout(context.Background(), endTime)
	defer cancel()
	named := p.state.Load().clients
	noted := maps.Clone(named)
	if before != nil { // another process may have ended them, and this one gone on with them
		maps.Copy(noted, before.clients)
	}
	err := p.noteMapClients(ctx, named, noted)
	if err == nil {
		err = p.endGone(ctx)
	}
	if err != nil {
		p.Log.ErrorContext(ctx, "what removed clients were granted has not ended yet", slog.Any("error", err))
	}
}

// noteMapClients compares the clients of the map with those that it had before: in the
// store, and noted. One that the command line has too is not gone.
func (p *Provider) noteMapClients(ctx context.Context, named, noted map[string]*client) error {
	return p.db.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		known := map[string]bool{}
		rows, err := tx.Query(ctx, "SELECT id FROM oauth_map_clients")
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var id string
			if err := rows.Scan(&id); err != nil {
				return err
			}
			known[id] = true
		}
		if err := rows.Err(); err != nil {
			return err
		}
		for id := range noted {
			if known[id] {
				continue
			}
			known[id] = true
			if _, err := tx.Exec(ctx, "INSERT INTO oauth_map_clients (id) VALUES (?) ON CONFLICT (id) DO NOTHING", id); err != nil {
				return err
			}
		}
		now := store.Micros(p.now())
		for id := range known {
			if named[id] != nil {
				continue
			}
			if _, err := tx.Exec(ctx, "DELETE FROM oauth_map_clients WHERE id = ? AND id IN (SELECT id FROM oauth_clients)", id); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, "UPDATE oauth_map_clients SET gone_at = ? WHERE id = ? AND gone_at = 0", now, id); err != nil {
				return err
			}
		}
		return nil
	})
}

// endGone ends what clients were granted before they went, also of one that is back
// meanwhile.
func (p *Provider) endGone(ctx context.Context) error {
	type gone struct {
		id string
		at int64
	}
	var list []gone
	err := p.db.View(ctx, func(ctx context.Context, tx *store.Tx) error {
		list = nil
		rows, err := tx.Query(ctx, "SELECT id, gone_at FROM oauth_map_clients WHERE gone_at > 0")
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var g gone
			if err := rows.Scan(&g.id, &g.at); err != nil {
				return err
			}
			list = append(list, g)
		}
		return rows.Err()
	})
	if err != nil {
		return err
	}
	for _, g := range list {
		if err := p.endGoneClient(ctx, g.id, g.at); err != nil {
			return err
		}
	}
	return nil
}

// endGoneClient ends one client some grants at a time, so that other writers need not
// wait long. Its row goes with the last of them, or stays for one that is back.
func (p *Provider) endGoneClient(ctx context.Context, id string, at int64) error {
	ended := 0
	for {
		n := 0
		err := p.db.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
			const some = "id IN (SELECT id FROM oauth_grants WHERE client_id = ? AND revoked_at = 0 AND created_at <= ? LIMIT ?)"
			if err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM oauth_grants WHERE "+some, id, at, batch).Scan(&n); err != nil {
				return err
			}
			if err := p.endGrants(ctx, tx, "client", some, id, at, batch); err != nil {
				return err
			}
			if n == batch {
				return nil
			}
			for _, statement := range []string{
				"DELETE FROM oauth_consents WHERE client_id = ? AND given_at <= ?",
				"DELETE FROM oauth_requests WHERE client_id = ? AND created_at <= ?",
				"DELETE FROM oauth_logouts WHERE client_id = ? AND created_at <= ?",
			} {
				if _, err := tx.Exec(ctx, statement, id, at); err != nil {
					return err
				}
			}
			if p.state.Load().clients[id] != nil {
				_, err := tx.Exec(ctx, "UPDATE oauth_map_clients SET gone_at = 0 WHERE id = ? AND gone_at = ?", id, at)
				return err
			}
			_, err := tx.Exec(ctx, "DELETE FROM oauth_map_clients WHERE id = ? AND gone_at = ?", id, at)
			return err
		})
		if err != nil {
			return err
		}
		if ended += n; n < batch {
			break
		}
	}
	p.Log.InfoContext(ctx, "the map does not name a client any more: what it was granted has ended", slog.String("client", id), slog.Int("grants", ended))
	return nil
}
