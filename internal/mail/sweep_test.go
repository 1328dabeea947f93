package mail

import (
	"context"
	"slices"
	"testing"
	"time"

	"sallyport.dev/internal/mail/mailtest"
	"sallyport.dev/internal/store"
)

// TestSweep: of a letter that was sent nothing is kept; why one was given up is
// kept for its time.
func TestSweep(t *testing.T) {
	w := newWorld(t)
	w.enqueue("ann@example.org")
	w.flush()
	w.wantStates("")
	if n := w.metric("sallyport_mail_letters_total", sent); n != 1 { // positive control
		t.Errorf("%v sent", n)
	}
	w.server.AnswerAt(mailtest.Rcpt, mailtest.Refuse(550, "5.1.1 no"))
	w.enqueue("bob@example.org")
	w.flush()
	for _, c := range []struct {
		after time.Duration
		want  string
	}{
		{0, "dead 550 5.1.1:1"},
		{29 * 24 * time.Hour, "dead 550 5.1.1:1"},
		{24 * time.Hour, ""},
	} {
		w.now.advance(c.after)
		must(t, w.box.Sweep(t.Context()))
		w.wantStates(c.want)
	}
}

// many puts rows into the store as they may be there.
func (w *world) many(n int, name, state string, expires, ended time.Time) {
	w.t.Helper()
	sealed, endedAt, step := []byte("x"), int64(0), 0
	if !ended.IsZero() {
		sealed, endedAt, step = nil, store.Micros(ended), 1
	}
	must(w.t, w.db.Tx(w.t.Context(), func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO mail_outbox (id, kind, state, sealed, created_at, due_at, expires_at, ended_at)
			WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
			SELECT ? || CAST(i AS TEXT), 'deleted', ?, ?, 1, 1, ?, CAST(? AS BIGINT) + CAST(? AS BIGINT) * i FROM n`,
			n, name, state, sealed, store.Micros(expires), endedAt, step)
		return err
	}))
}

// TestSweepIsWhole: however much there is, one sweep leaves nothing of it; what
// still counts it leaves alone.
func TestSweepIsWhole(t *testing.T) {
	w := newWorld(t)
	now := w.now.time()
	w.box.maxDead = 700
	w.many(1100, "expired-", intent, now.Add(-time.Minute), time.Time{})
	w.many(3, "waits-", intent, now.Add(time.Minute), time.Time{})
	w.many(1100, "sent-", sent, now, now.Add(-time.Minute)) // of an earlier version
	w.many(1100, "old-", dead, now, now.Add(-keepDead-time.Minute))
	w.many(100, "newest-", dead, now, now.Add(time.Minute))
	must(t, w.box.Sweep(t.Context()))
	w.wantStates("dead:100 dead expired:600 intent:3")
	s, err := w.box.Status(t.Context())
	must(t, err)
	if want := []Cause{{causeExpired, 600}, {"", 100}}; s.Waiting != 3 || s.GivenUp != 700 || !slices.Equal(s.Causes, want) {
		t.Errorf("status %+v, want 3 waiting, 700 dead, %v", s, want)
	}
	if n := w.metric("sallyport_mail_letters_total", causeExpired); n != 1100 {
		t.Errorf("%v expired", n)
	}
}

// TestStatus: it tells how long the oldest waits and why, and no address.
func TestStatus(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Full = 50 })
	s, err := w.box.Status(t.Context())
	if err != nil || s.Waiting != 0 || s.Limit != 50 || !s.Oldest.IsZero() || s.Cause != "" || s.GivenUp != 0 || len(s.Causes) != 0 || !s.Failing.IsZero() || s.Failure != "" {
		t.Errorf("an empty one: %+v, %v", s, err)
	}
	w.server.AnswerAt(mailtest.Rcpt, mailtest.Refuse(450, "4.2.0 hidden@example.org is away"))
	asked := w.now.time()
	w.enqueue("hidden@example.org")
	w.flush()
	w.now.advance(time.Minute)
	w.server.Stop()
	w.enqueue("bob@example.org")
	w.flush()
	s, err = w.box.Status(t.Context())
	if err != nil || s.Waiting != 2 || !s.Oldest.Equal(asked) || s.Failing.IsZero() || s.Failure == "" {
		t.Errorf("%+v, %v", s, err)
	}
	w.now.advance(time.Minute)
	must(t, w.box.Sweep(t.Context()))
	for name, want := range map[string]float64{"sallyport_mail_waiting": 2, "sallyport_mail_oldest_seconds": 120, "sallyport_mail_dead": 0, "sallyport_mail_server_up": 0} {
		if got := w.metric(name, ""); got != want {
			t.Errorf("%s = %v, want %v", name, got, want)
		}
	}
}
