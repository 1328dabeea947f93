package logs

import (
	"context"
	"fmt"

	"sallyport.dev/internal/store"
)

const (
	// slotsOfMinute is the number of slots of a minute in log_minutes.
	slotsOfMinute = 1 << 20
	// maxSeries bounds the series of a database: further ones are counted under
	// otherRoute, so that no defect elsewhere can fill it up.
	maxSeries  = 10_000
	otherRoute = "(other)"
)

// readSeries returns the series that the database knows.
func readSeries(ctx context.Context, tx *store.Tx) (map[series]int64, error) {
	rows, err := tx.Query(ctx, `SELECT id, service, route, class, reason FROM log_series`)
	if err != nil {
		return nil, fmt.Errorf("read series: %w", err)
	}
	known := make(map[series]int64)
	for rows.Next() {
		var id int64
		var s series
		if err := rows.Scan(&id, &s.service, &s.route, &s.class, &s.reason); err != nil {
			return nil, fmt.Errorf("read series: %w", err)
		}
		known[s] = id
	}
	return known, rows.Err()
}

// seriesID returns the id of a series, which is made when it is new.
func seriesID(ctx context.Context, tx *store.Tx, known map[series]int64, s series) (int64, error) {
	if id, ok := known[s]; ok {
		return id, nil
	}
	if len(known) >= maxSeries && s.route != otherRoute {
		s.route = otherRoute
		return seriesID(ctx, tx, known, s)
	}
	_, err := tx.Exec(ctx, `INSERT INTO log_series (id, service, route, class, reason)
		SELECT COALESCE(MAX(id), 0) + 1, ?, ?, ?, ? FROM log_series WHERE TRUE
		ON CONFLICT (service, route, class, reason) DO NOTHING`, s.service, s.route, s.class, s.reason)
	if err != nil {
		return 0, fmt.Errorf("add series: %w", err)
	}
	var id int64
	err = tx.QueryRow(ctx, `SELECT id FROM log_series WHERE service = ? AND route = ? AND class = ? AND reason = ?`,
		s.service, s.route, s.class, s.reason).Scan(&id)
	if err != nil {
		return 0, fmt.Errorf("find series: %w", err)
	}
	known[s] = id
	return id, nil
}
