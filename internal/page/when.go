package page

import (
	"fmt"
	"time"
)

// moment is a point in time, for the template "when": in words for people, and
// exactly for machines and who asks.
type moment struct{ Words, Exact, At string }

func (f *frame) moment(t time.Time, words string) moment {
	t = t.UTC()
	return moment{Words: words, Exact: t.Format("2006-01-02 15:04 UTC"), At: t.Format(time.RFC3339)}
}

// Date is a day in words.
func (f *frame) Date(t time.Time) (moment, error) {
	t = t.UTC()
	month, err := f.T(fmt.Sprintf("month.%d", t.Month()))
	if err != nil {
		return moment{}, err
	}
	words, err := f.T("date", "Day", t.Day(), "Month", month, "Year", t.Year())
	return f.moment(t, words), err
}

// Ago is how long something is past, in one unit, as people say it; after a
// month the day.
func (f *frame) Ago(t time.Time) (moment, error) {
	var words string
	var err error
	switch d := f.now.Sub(t); {
	case d < time.Minute:
		words, err = f.T("ago.now")
	case d < time.Hour:
		words, err = f.N("ago.minutes", int(d/time.Minute))
	case d < 24*time.Hour:
		words, err = f.N("ago.hours", int(d/time.Hour))
	case d < 31*24*time.Hour:
		words, err = f.N("ago.days", int(d/(24*time.Hour)))
	default:
		return f.Date(t)
	}
	return f.moment(t, words), err
}

// span says how long to wait: seconds up to a minute and a half, minutes up to
// an hour and a half, else hours.
func (f *frame) span(seconds int) (string, error) {
	switch {
	case seconds <= 90:
		return f.N("span.seconds", max(1, seconds))
	case seconds <= 90*60:
		return f.N("span.minutes", (seconds+59)/60)
	}
	return f.N("span.hours", (seconds+3599)/3600)
}
