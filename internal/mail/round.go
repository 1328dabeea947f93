package mail

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"sallyport.dev/internal/keys"
	"sallyport.dev/internal/store"
)

// round leases rows that are due, does what is to be done with each and returns
// how many there were. While the server is away it takes one, to ask with.
func (o *Outbox) round(ctx context.Context) (int, error) {
	if err := o.payOwed(ctx); err != nil {
		return 0, err
	}
	limit := batch
	if away, ask := o.weather.away(o.clock()); away {
		if !ask {
			return 0, nil
		}
		limit = 1
	}
	list, err := o.take(ctx, limit)
	if err != nil || len(list) == 0 {
		return 0, err
	}
	rows := make(chan *row, len(list))
	for _, r := range list {
		rows <- r
	}
	close(rows)
	var wg sync.WaitGroup
	for range min(lanes, len(list)) {
		wg.Go(func() { o.lane(ctx, rows, limit == 1) })
	}
	wg.Wait()
	return len(list), nil
}

// lane works on rows one after the other, over one connection while it lasts.
func (o *Outbox) lane(ctx context.Context, rows <-chan *row, probe bool) {
	var c *connection
	defer func() { c.close() }()
	for r := range rows {
		now := o.clock()
		away, _ := o.weather.away(now)
		switch {
		case ctx.Err() != nil, away && !probe:
			o.finish(ctx, ending{row: r, due: now}) // untouched
		default:
			o.finish(ctx, o.work(ctx, r, &c))
		}
	}
}

// work brings a row as far as it can and says what became of it.
func (o *Outbox) work(ctx context.Context, r *row, c **connection) ending {
	if !r.expires.After(o.clock()) {
		return ending{row: r, state: dead, cause: causeExpired}
	}
	letter, e, done := o.written(ctx, r)
	if done {
		return e
	}
	m, err := letter.message(o.from, r.id+"@"+o.zone, r.created)
	if err != nil {
		return o.invalid(ctx, r, err)
	}
	if now := o.clock(); r.until.Sub(now) < reserve { // it may have waited, or slept, for long
		return ending{row: r, due: now}
	}

	// A delivery that has begun is not torn when the process stops: the server
	// may have the letter already.
	dctx, cancel := graceful(ctx, o.last, o.dialer.limit)
	defer cancel()
	if *c != nil { // of the letter before; servers may have had enough of it
		if err = (*c).send(dctx, m); err != nil {
			(*c).close()
			*c = nil
		}
	}
	if *c == nil && (err == nil || unbegun(err)) {
		if *c, err = o.dialer.dial(dctx); err != nil {
			*c = nil
			o.serverFailed(ctx, err)
			return ending{row: r, due: o.clock(), cause: judge(err).cause} // no fault of it: not counted
		}
		if err = (*c).send(dctx, m); err != nil {
			(*c).close()
			*c = nil
		}
	}
	if err == nil {
		o.serverAnswered(ctx)
		return ending{row: r, state: sent, delay: o.clock().Sub(r.created)}
	}
	v := judge(err)
	switch v.blame {
	case ofServer:
		o.serverFailed(ctx, err)
	case forever:
		o.serverAnswered(ctx)
		o.log.WarnContext(ctx, "letter refused for good", "kind", r.kind, "domain", domainOf(letter.To), "cause", v.cause)
		return ending{row: r, state: dead, cause: v.cause}
	default:
		o.serverAnswered(ctx)
		o.log.InfoContext(ctx, "letter refused for now", "kind", r.kind, "domain", domainOf(letter.To), "cause", v.cause)
	}
	return o.again(r, v.cause)
}

// again is a failed try of a row.
func (o *Outbox) again(r *row, cause string) ending {
	return ending{row: r, cause: cause, counted: true, due: o.clock().Add(pause(r.tries+1, firstRetry, lastRetry, o.shake()))}
}

// invalid ends a row whose letter can never be sent.
func (o *Outbox) invalid(ctx context.Context, r *row, err error) ending {
	o.log.ErrorContext(ctx, "letter cannot be sent", "kind", r.kind, "error", err)
	return ending{row: r, state: dead, cause: causeInvalid}
}

func (o *Outbox) serverAnswered(ctx context.Context) {
	if o.weather.there() {
		o.metrics.up.Set(1)
		o.log.InfoContext(ctx, "mail server is back")
	}
}

func (o *Outbox) serverFailed(ctx context.Context, err error) {
	o.metrics.up.Set(0)
	if o.weather.failed(o.clock(), told(err), o.shake()) {
		o.log.ErrorContext(ctx, "mail server fails: letters wait", "error", told(err))
	}
}

// written opens the letter of a row, and has it written first when it is an
// intent. done says that there is none to send.
func (o *Outbox) written(ctx context.Context, r *row) (letter *Letter, e ending, done bool) {
	failed := func(err error) (*Letter, ending, bool) {
		if errors.Is(err, keys.ErrAltered) {
			o.log.ErrorContext(ctx, "row of the outbox was altered", "kind", r.kind, "error", err)
			return nil, ending{row: r, state: dead, cause: causeAltered}, true
		}
		o.log.ErrorContext(ctx, "letter not written", "kind", r.kind, "error", err)
		return nil, o.again(r, causeUnwritten), true
	}
	text, err := o.root.Open(place(r.id, r.state), r.sealed)
	if err != nil {
		return failed(err)
	}
	if r.state == ready {
		letter = &Letter{}
		if err := decode(text, letter); err != nil {
			return failed(fmt.Errorf("mail: open: %w", err))
		}
		return letter, e, false
	}
	var job Job
	if err := decode(text, &job); err != nil {
		return failed(fmt.Errorf("mail: open: %w", err))
	}
	err = o.db.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		letter = nil
		l, err := o.asked(ctx, tx, job)
		if err != nil {
			return err
		}
		if l == nil {
			n, err := o.write(ctx, tx, ending{row: r, state: dropped})
			if err == nil && n != 1 {
				err = errLost
			}
			return err
		}
		if err := l.check(); err != nil {
			return fmt.Errorf("%w: %w", errInvalid, err)
		}
		letter = l
		return o.keep(ctx, tx, r, l)
	})
	switch {
	case errors.Is(err, errLost):
		return nil, ending{row: r, noted: true}, true // the row is another's
	case errors.Is(err, errInvalid):
		return nil, o.invalid(ctx, r, err), true
	case err != nil:
		return failed(err)
	case letter == nil:
		return nil, ending{row: r, state: dropped, noted: true}, true
	}
	return letter, e, false
}

// asked asks what to send. A panic there must not stop all letters.
func (o *Outbox) asked(ctx context.Context, tx *store.Tx, job Job) (l *Letter, err error) {
	defer func() {
		if p := recover(); p != nil {
			l, err = nil, fmt.Errorf("mail: render %s: panic: %v", job.Kind, p)
		}
	}()
	return o.render(ctx, tx, job)
}

// finish notes what became of a row. What the store does not take now is owed.
func (o *Outbox) finish(ctx context.Context, e ending) {
	o.metrics.count(e)
	if e.noted {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.note)
	defer cancel()
	if err := o.end(ctx, e); err != nil {
		o.log.ErrorContext(ctx, "end of a letter not noted yet", "kind", e.row.kind, "state", e.state, "error", err)
		o.mu.Lock()
		defer o.mu.Unlock()
		o.owed = append(o.owed, e)
	}
}

// payOwed writes the endings that are owed. Nothing new is taken before: so there
// are never more than a round has.
func (o *Outbox) payOwed(ctx context.Context) error {
	o.mu.Lock()
	owed := o.owed
	o.owed = nil
	o.mu.Unlock()
	if len(owed) == 0 {
		return nil
	}
	err := o.end(ctx, owed...)
	if err != nil {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.owed = append(o.owed, owed...)
	}
	return err
}

// graceful is ctx, but for a while longer, and for so long in all.
func graceful(ctx context.Context, more, all time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithTimeout(context.WithoutCancel(ctx), all)
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-time.After(more):
			cancel()
		case <-longer.Done():
		}
	})
	return longer, func() { stop(); cancel() }
}
