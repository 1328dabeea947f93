package mail

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"strings"
	"sync"
	"time"

	"sallyport.dev/internal/keys"
	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/store"
	"sallyport.dev/zone"
)

// ErrFull says that too many letters wait already: nothing was stored, and the
// transaction is as good as before.
var ErrFull = errors.New("mail: the outbox is full")

// Render says what to send for a job, nil for nothing. It is called in a write
// transaction, in which what it writes is committed together with the letter or
// not at all; it must not wait for the network. The letter goes to Letter.To,
// which is the account's address, never one that was only typed. An error is
// tried again until the job expires.
type Render func(ctx context.Context, tx *store.Tx, job Job) (*Letter, error)

// Config is what an outbox needs.
type Config struct {
	DB      *store.DB
	Root    *keys.Root
	Zone    *zone.Zone // with Identity.Mail
	URL     obs.Secret // what zone.Identity.Mail.SMTP holds
	Base    string     // where the zone's pages are, https://host[:port]; empty: the first host of identity's listener
	Render  Render     // nil: every job is a letter to its address, of its kind and data
	Clock   func() time.Time
	Log     *slog.Logger
	Metrics *obs.Metrics // may be nil

	Roots  *x509.CertPool // of the SMTP server's certificate; nil: the system's
	Full   int            // most letters that wait; 100,000 when 0
	Jitter func() float64 // in [0, 1): shakes pauses; random when nil
}

// Outbox takes jobs and sends letters. It is safe for concurrent use.
type Outbox struct {
	db      *store.DB
	root    *keys.Root
	letters *Letters
	render  Render
	clock   func() time.Time
	log     *slog.Logger
	from    string
	zone    string
	dialer  dialer
	last    time.Duration // lastDelivery
	note    time.Duration // lastWrite
	full    int
	maxDead int
	shake   func() float64
	weather weather
	metrics *metrics

	mu    sync.Mutex
	count int       // rows that wait, about; guarded by mu
	at    time.Time // when they were counted; guarded by mu
	owed  []ending  // of rows of ours that the store did not take; guarded by mu
	swept time.Time // guarded by mu
}

// New makes an outbox. A url, sender or template that cannot be used is an error
// that says what to do; none shows the url.
func New(c Config) (*Outbox, error) {
	if c.Zone.Identity.Mail == nil {
		return nil, errors.New("mail: the map has no identity.mail")
	}
	at, err := parseURL(string(c.URL))
	if err != nil {
		return nil, fmt.Errorf("mail: identity.mail.smtp: the url %w", err)
	}
	from := c.Zone.Identity.Mail.From
	if err := checkAddress(from); err != nil {
		return nil, errors.New("mail: identity.mail.from: only ASCII characters; write an international domain in its xn-- form")
	}
	letters, err := OpenLetters(c.Zone, c.Base)
	if err != nil {
		return nil, err
	}
	o := &Outbox{
		db: c.DB, root: c.Root, letters: letters, render: c.Render, clock: c.Clock, log: c.Log,
		from: from, zone: c.Zone.Name, full: c.Full, maxDead: maxDead, shake: c.Jitter,
		dialer: dialer{relay: at, roots: c.Roots, helo: c.Zone.Name, limit: deliveryLimit},
		last:   lastDelivery, note: lastWrite,
	}
	if o.render == nil {
		o.render = o.plain
	}
	if o.clock == nil {
		o.clock = time.Now
	}
	if o.log == nil {
		o.log = slog.New(slog.DiscardHandler)
	}
	if o.full == 0 {
		o.full = 100_000
	}
	if o.shake == nil {
		o.shake = mathrand.Float64 // #nosec G404 -- it spreads retries, it hides nothing
	}
	o.metrics = newMetrics(c.Metrics)
	return o, nil
}

// Compose writes a letter of one of Kinds; see Letters.Compose.
func (o *Outbox) Compose(kind, language string, data map[string]string) (Letter, error) {
	return o.letters.Compose(kind, language, data)
}

// plain is the Render of an outbox that was given none.
func (o *Outbox) plain(_ context.Context, _ *store.Tx, job Job) (*Letter, error) {
	l, err := o.letters.Compose(job.Kind, job.Language, job.Data)
	l.To = job.Address
	return &l, err
}

// Enqueue asks for a letter, in the caller's transaction: if that is rolled back
// nothing is sent. It is one insert, whatever the address is. ErrFull leaves the
// transaction as it was; so does a job that cannot be.
func (o *Outbox) Enqueue(ctx context.Context, tx *store.Tx, job Job) error {
	if err := job.check(); err != nil {
		return err
	}
	now := o.clock()
	if job.Expires.IsZero() {
		job.Expires = now.Add(usualLife)
	}
	if latest := now.Add(longestLife); job.Expires.After(latest) {
		job.Expires = latest
	}
	if err := o.room(ctx, tx, now, job.User != ""); err != nil {
		return err
	}
	id := strings.ToLower(rand.Text())
	text, err := encode(job)
	if err != nil {
		return fmt.Errorf("mail: %w", err)
	}
	sealed, err := o.root.Seal(place(id, intent), text)
	if err != nil {
		return fmt.Errorf("mail: %w", err)
	}
	if _, err := tx.Exec(ctx, `INSERT INTO mail_outbox (id, kind, state, sealed, created_at, due_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		id, job.Kind, intent, sealed, store.Micros(now), store.Micros(now), store.Micros(job.Expires)); err != nil {
		return fmt.Errorf("mail: enqueue: %w", err)
	}
	return nil
}

// room says whether there is room for a letter. It goes by what was counted last
// and came in since; when that is too much it counts again, once a second. The
// last tenth is kept for those who have an account: strangers cannot keep the
// letters away that warn its owner.
func (o *Outbox) room(ctx context.Context, tx *store.Tx, now time.Time, known bool) error {
	full := o.full
	if !known {
		full -= full / 10
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.count >= full && (o.at.IsZero() || now.Sub(o.at) >= time.Second || now.Before(o.at)) {
		n, err := countWaiting(ctx, tx, o.full)
		if err != nil {
			return fmt.Errorf("mail: count what waits: %w", err)
		}
		o.count, o.at = n, now
	}
	if o.count >= full {
		o.metrics.ended.WithLabelValues(outcomeFull).Inc()
		return ErrFull
	}
	o.count++
	return nil
}

// counted notes how many rows wait.
func (o *Outbox) counted(n int, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.count, o.at = n, now
}
