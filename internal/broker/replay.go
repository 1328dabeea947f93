package broker

import (
	"context"
	"crypto/sha256"
	"time"

	"sallyport.dev/internal/outward"
	"sallyport.dev/internal/store"
)

// maxExpired is how many rows that are of no use any more one login removes.
const maxExpired = 100

// once takes an assertion, which succeeds for one of any number of callers at
// once. It is taken last: one that is refused otherwise leaves no trace.
func (p *samlProvider) once(ctx context.Context, issuer string, a *assertion, now time.Time) error {
	hash := sha256.Sum256([]byte(issuer + "\x00" + a.id)) // neither has a zero byte
	var taken int64
	err := p.db.Tx(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		taken, err = tx.Exec(ctx, "INSERT INTO broker_assertions (hash, expires_at) VALUES (?, ?) ON CONFLICT (hash) DO NOTHING",
			hash[:], store.Micros(a.expires))
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "DELETE FROM broker_assertions WHERE hash IN (SELECT hash FROM broker_assertions WHERE expires_at < ? LIMIT ?)",
			store.Micros(now.Add(-leeway)), maxExpired)
		return err
	})
	if err != nil {
		return err
	}
	if taken != 1 {
		return invalid("assertion %q was used before", outward.Clip(a.id))
	}
	return nil
}
