package app

import (
	"net/url"
	"testing"
	"time"

	"sallyport.dev/internal/logs"
	"sallyport.dev/internal/problem"
)

func TestRecordQuery(t *testing.T) {
	now := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		params string
		want   logs.Query
		ok     bool
	}{
		{"", logs.Query{}, true},
		{"correlation=c&service=s&user=u&reason=auth.login&limit=5&form=json",
			logs.Query{Correlation: "c", Service: "s", User: "u", Reason: "auth.login", Limit: 5}, true},
		{"status=404", logs.Query{Status: logs.Status{Min: 404, Max: 404}}, true},
		{"status=4xx", logs.Query{Status: logs.Status{Min: 400, Max: 499}}, true},
		{"since=10m", logs.Query{Since: now.Add(-10 * time.Minute)}, true},
		{"since=10min", logs.Query{Since: now.Add(-10 * time.Minute)}, true},
		{"since=3d&until=1h30m", logs.Query{Since: now.Add(-72 * time.Hour), Until: now.Add(-90 * time.Minute)}, true},
		{"until=2026-03-04T12:00:00%2B02:00", logs.Query{Until: time.Date(2026, 3, 4, 10, 0, 0, 0, time.UTC)}, true},
		{"limit=0", logs.Query{}, true},
		{"limit=100000", logs.Query{Limit: 100_000}, true},

		{"limit=100001", logs.Query{}, false}, // what has no bound is read from the oldest on, one by one
		{"limit=-1", logs.Query{}, false},
		{"limit=many", logs.Query{}, false},
		{"limit=99999999999999999999", logs.Query{}, false},
		{"status=abc", logs.Query{}, false},
		{"status=600-500", logs.Query{}, false},
		{"reason=made.up", logs.Query{}, false},
		{"since=yesterday", logs.Query{}, false},
		{"since=-10m", logs.Query{}, false}, // the future
		{"since=2026-03-04", logs.Query{}, false},
		{"until=2026-03-04T12:00:00", logs.Query{}, false}, // of which zone?
	} {
		v, err := url.ParseQuery(c.params)
		if err != nil {
			t.Fatal(err)
		}
		got, err := RecordQuery(v, now)
		if c.ok != (err == nil) || !got.Since.Equal(c.want.Since) || !got.Until.Equal(c.want.Until) {
			t.Errorf("%q: %+v, %v, want %+v", c.params, got, err, c.want)
			continue
		}
		if err != nil && problem.ReasonOf(err) != problem.AdminInvalid {
			t.Errorf("%q: %v, want admin.invalid", c.params, err)
		}
		got.Since, got.Until, c.want.Since, c.want.Until = time.Time{}, time.Time{}, time.Time{}, time.Time{}
		if got != c.want {
			t.Errorf("%q: %+v, want %+v", c.params, got, c.want)
		}
	}
}

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"90d": 90 * 24 * time.Hour, "24h": 24 * time.Hour, "10min": 10 * time.Minute, "10m": 10 * time.Minute,
		"1h30m": 90 * time.Minute, "0s": 0, "250ms": 250 * time.Millisecond,
		"": -1, "-1h": -1, "90": -1, "d": -1, "1y": -1, "99999999999d": -1,
	} {
		got, err := Duration(text)
		if (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("Duration(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
}
