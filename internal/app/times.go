package app

import (
	"errors"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// Duration reads a duration as the map writes it (30d, 10min) or as Go does
// (1h30m, 10m).
func Duration(text string) (time.Duration, error) {
	if d, err := zone.ParseDuration(text); err == nil {
		return d, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, errors.New("want a duration such as 90d, 24h or 10min")
	}
	return d, nil
}

// lifetime reads a duration of a request; empty is 0.
func lifetime(text, field string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := Duration(text)
	if err != nil {
		return 0, problem.WithDetail(problem.AdminInvalid, field+": "+err.Error())
	}
	return d, nil
}

// moment reads a point in time: RFC 3339, or how long before now. Empty is the
// zero time.
func moment(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if back, err := Duration(text); err == nil {
		return now.Add(-back), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, errors.New("want a time such as 2026-11-22T13:00:00Z, or how long ago, such as 10m or 3d")
	}
	return at, nil
}

// stamp prints a time as the admin API does; the zero time is empty.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
