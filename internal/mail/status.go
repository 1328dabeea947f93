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

// Status is how the outbox is.
type Status struct {
	Waiting int       // letters
	Oldest  time.Time // when the first of them was asked for; zero when none waits
	Dead    int       // letters of the last 30 days that could not be sent
	Away    time.Time // since when the SMTP server fails, as this process knows it; zero when it does not
	Problem string    // how it fails; nothing secret is in it
}

// Status counts.
func (o *Outbox) Status(ctx context.Context) (s Status, err error) {
	var oldest int64
	err = o.db.View(ctx, func(ctx context.Context, tx *store.Tx) error {
		if err := tx.QueryRow(ctx, `SELECT COUNT(*), COALESCE(MIN(created_at), 0) FROM mail_outbox WHERE ended_at = 0`).Scan(&s.Waiting, &oldest); err != nil {
			return err
		}
		return tx.QueryRow(ctx, `SELECT COUNT(*) FROM mail_outbox WHERE state = 'dead'`).Scan(&s.Dead)
	})
	if err != nil {
		return Status{}, fmt.Errorf("mail: count: %w", err)
	}
	s.Oldest = store.FromMicros(oldest)
	o.weather.mu.Lock()
	defer o.weather.mu.Unlock()
	s.Away, s.Problem = o.weather.since, o.weather.problem
	return s, nil
}

// Waiting returns how many letters wait and when the oldest was asked for.
func (o *Outbox) Waiting(ctx context.Context) (n int, oldest time.Time, err error) {
	s, err := o.Status(ctx)
	return s.Waiting, s.Oldest, err
}

// Dead returns how many letters of the last 30 days could not be sent.
func (o *Outbox) Dead(ctx context.Context) (int, error) {
	s, err := o.Status(ctx)
	return s.Dead, err
}

// Try connects to the SMTP server, shows who we are, and leaves: doctor asks so.
// Its error shows no secret.
func (o *Outbox) Try(ctx context.Context) error {
	c, err := o.dialer.dial(ctx)
	if err != nil {
		return errors.New("mail: " + told(err))
	}
	c.close()
	return nil
}

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
			Help: "What became of letters: sent; dropped (there was nothing to send); retried; refused (for good); expired.",
		}, []string{"outcome"}),
		delay: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "sallyport_mail_delay_seconds",
			Help:    "Time from the commit that asked for a letter until the server took it.",
			Buckets: []float64{.05, .1, .5, 1, 5, 15, 60, 300, 1800, 7200, 86400},
		}),
		waiting: gauge("sallyport_mail_waiting", "Letters that wait to be sent."),
		oldest:  gauge("sallyport_mail_oldest_seconds", "How long the oldest of them has waited."),
		dead:    gauge("sallyport_mail_dead", "Letters of the last 30 days that could not be sent."),
		up:      gauge("sallyport_mail_server_up", "1 while the SMTP server takes letters."),
	}
	for _, outcome := range []string{sent, dropped, "retried", "refused", causeExpired} {
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
	m.dead.Set(float64(s.Dead))
	m.oldest.Set(0)
	if !s.Oldest.IsZero() {
		m.oldest.Set(now.Sub(s.Oldest).Seconds())
	}
	m.up.Set(1)
	if !s.Away.IsZero() {
		m.up.Set(0)
	}
}
