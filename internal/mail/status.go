package mail

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/store"
)

// Status is how the outbox is. No address, secret or text of the server's is in it.
type Status struct {
	Waiting int       // letters
	Limit   int       // most that may wait
	Oldest  time.Time // when the first of them was asked for; zero when none waits
	Cause   string    // why that one was not sent at its last try; empty: there was none
	GivenUp int       // letters given up: of the last 30 days, and ten thousand at most
	Causes  []Cause   // of those, the most frequent first; a few
	Failing time.Time // since when the SMTP server fails, as this process knows it; zero when it does not
	Failure string    // how it fails
}

// Cause is why letters were given up: SMTP's code and enhanced code (RFC 3463), or
// a word of ours.
type Cause struct {
	Cause   string
	Letters int
}

const mostCauses = 5 // that Status tells

// Status counts.
func (o *Outbox) Status(ctx context.Context) (s Status, err error) {
	err = o.db.View(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		s = Status{Limit: o.full}
		if err = tx.QueryRow(ctx, `SELECT COUNT(*) FROM mail_outbox WHERE ended_at = 0`).Scan(&s.Waiting); err != nil {
			return err
		}
		var oldest int64
		switch err = tx.QueryRow(ctx, `SELECT created_at, cause FROM mail_outbox WHERE ended_at = 0 ORDER BY created_at LIMIT 1`).Scan(&oldest, &s.Cause); {
		case err == nil:
			s.Oldest = store.FromMicros(oldest)
		case !errors.Is(err, store.ErrNotFound):
			return err
		}
		if err = tx.QueryRow(ctx, `SELECT COUNT(*) FROM mail_outbox WHERE state = 'dead'`).Scan(&s.GivenUp); err != nil {
			return err
		}
		s.Causes, err = deadCauses(ctx, tx)
		return err
	})
	if err != nil {
		return Status{}, fmt.Errorf("mail: count: %w", err)
	}
	o.weather.mu.Lock()
	defer o.weather.mu.Unlock()
	s.Failing, s.Failure = o.weather.since, o.weather.problem
	return s, nil
}

func deadCauses(ctx context.Context, tx *store.Tx) (list []Cause, err error) {
	rows, err := tx.Query(ctx, `SELECT cause, COUNT(*) FROM mail_outbox WHERE state = 'dead' GROUP BY cause ORDER BY COUNT(*) DESC, cause LIMIT ?`, mostCauses)
	if err != nil {
		return nil, err
	}
	for rows.Next() {
		var c Cause
		if err := rows.Scan(&c.Cause, &c.Letters); err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, rows.Err()
}

// outcomeFull is of a letter that was not taken.
const outcomeFull = "full"

// metrics are what Prometheus sees. Nothing of a letter is a label.
type metrics struct {
	ended   *prometheus.CounterVec
	delay   prometheus.Histogram
	waiting prometheus.Gauge
	oldest  prometheus.Gauge
	dead    prometheus.Gauge
	up      prometheus.Gauge
}

func newMetrics(all *obs.Metrics) *metrics {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	m := &metrics{
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_mail_letters_total",
			Help: "What became of letters: sent; dropped (there was nothing to send); retried; refused (for good); expired; full (not taken: no room).",
		}, []string{"outcome"}),
		delay: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "sallyport_mail_delay_seconds",
			Help:    "Time from the commit that asked for a letter until the server took it.",
			Buckets: []float64{.05, .1, .5, 1, 5, 15, 60, 300, 1800, 7200, 86400},
		}),
		waiting: gauge("sallyport_mail_waiting", "Letters that wait to be sent."),
		oldest:  gauge("sallyport_mail_oldest_seconds", "How long the oldest of them has waited."),
		dead:    gauge("sallyport_mail_dead", "Letters given up: of the last 30 days, and ten thousand at most."),
		up:      gauge("sallyport_mail_server_up", "1 while the SMTP server takes letters."),
	}
	for _, outcome := range []string{sent, dropped, "retried", "refused", causeExpired, outcomeFull} {
		m.ended.WithLabelValues(outcome)
	}
	m.up.Set(1)
	if all != nil {
		all.Registry.MustRegister(m.ended, m.delay, m.waiting, m.oldest, m.dead, m.up)
	}
	return m
}

// count counts what became of a row.
func (m *metrics) count(e ending) {
	switch {
	case e.state == dead && e.cause == causeExpired:
		m.ended.WithLabelValues(causeExpired).Inc()
	case e.state == dead:
		m.ended.WithLabelValues("refused").Inc()
	case e.ended():
		m.ended.WithLabelValues(e.state).Inc()
	case e.counted:
		m.ended.WithLabelValues("retried").Inc()
	}
	if e.state == sent {
		m.delay.Observe(e.delay.Seconds())
	}
}

// show sets the gauges.
func (m *metrics) show(s Status, now time.Time) {
	m.waiting.Set(float64(s.Waiting))
	m.dead.Set(float64(s.GivenUp))
	m.oldest.Set(0)
	if !s.Oldest.IsZero() {
		m.oldest.Set(now.Sub(s.Oldest).Seconds())
	}
	m.up.Set(1)
	if !s.Failing.IsZero() {
		m.up.Set(0)
	}
}
