package logs

import (
	"context"
	"fmt"
	"time"

	"sallyport.dev/internal/journal"
	"sallyport.dev/internal/store"
)

// Minute is what happened in one minute.
type Minute struct {
	Time        time.Time // its beginning, UTC
	Requests    int64
	Classes     [6]int64 // of requests, by the first digit of the status; 0: any other
	BytesIn     int64
	BytesOut    int64
	DurationSum time.Duration
	DurationMax time.Duration
}

// maxMinutes bounds an answer: a year, and a day.
const maxMinutes = 366 * 24 * 60

// Counts returns the minutes in [since, until) that have requests, in their
// order: of one service, or of all when service is empty. They are as fresh as
// the last roll-up. It waits for `sallyport verify`, as Anchors does: until then
// tests and benchmarks call it.
func Counts(ctx context.Context, db *store.DB, since, until time.Time, service string) ([]Minute, error) {
	from, to := since.Unix()/60, (until.Unix()+59)/60
	if to-from > maxMinutes {
		return nil, fmt.Errorf("logs: counts: %d minutes asked for, at most %d", to-from, maxMinutes)
	}
	query := `SELECT minute, SUM(class_0), SUM(class_1), SUM(class_2), SUM(class_3), SUM(class_4), SUM(class_5),
			SUM(bytes_in), SUM(bytes_out), SUM(duration_sum), MAX(duration_max)
		FROM log_service_minutes WHERE minute >= ? AND minute < ?`
	args := []any{from, to}
	if service != "" {
		query += ` AND service = ?`
		args = append(args, service)
	}
	query += ` GROUP BY minute ORDER BY minute`
	var list []Minute
	err := db.View(ctx, func(ctx context.Context, tx *store.Tx) error {
		rows, err := tx.Query(ctx, query, args...)
		if err != nil {
			return err
		}
		for rows.Next() {
			var minute int64
			var c cell
			if err := rows.Scan(&minute, &c.classes[0], &c.classes[1], &c.classes[2], &c.classes[3], &c.classes[4], &c.classes[5],
				&c.bytesIn, &c.bytesOut, &c.durationSum, &c.durationMax); err != nil {
				return err
			}
			list = append(list, Minute{
				Time: time.Unix(minute*60, 0).UTC(), Requests: c.requests(), Classes: c.classes,
				BytesIn: c.bytesIn, BytesOut: c.bytesOut,
				DurationSum: time.Duration(c.durationSum) * time.Microsecond,
				DurationMax: time.Duration(c.durationMax) * time.Microsecond,
			})
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("logs: counts: %w", err)
	}
	return list, nil
}

// Anchors returns the heads that roll-ups have kept, for journal.Verify. They
// lie in another place than the journal: whoever cuts its end off has to know
// of both. It waits for a command `sallyport verify`.
func Anchors(ctx context.Context, db *store.DB, id string) ([]journal.Head, error) {
	var list []journal.Head
	err := db.View(ctx, func(ctx context.Context, tx *store.Tx) error {
		rows, err := tx.Query(ctx, `SELECT head FROM log_positions WHERE journal = ?`, id)
		if err != nil {
			return err
		}
		for rows.Next() {
			var text string
			if err := rows.Scan(&text); err != nil {
				return err
			}
			var h journal.Head
			if err := h.UnmarshalText([]byte(text)); err != nil {
				return err
			}
			list = append(list, h)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("logs: anchors: %w", err)
	}
	return list, nil
}
