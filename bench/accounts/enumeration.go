package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"sallyport.dev/internal/kv"
	"sallyport.dev/zone"
)

// delayed are the counters of the bounds of guessing, the first thing that every
// operation here asks, which take longer for accounts that are there when a
// difference is seeded.
type delayed struct {
	kv.Counters
	by time.Duration
}

func (d *delayed) Take(ctx context.Context, key string, rate zone.Rate, now time.Time) (kv.Result, error) {
	if seeded, ok := ctx.Value(seededKey{}).(*atomic.Bool); ok && seeded.CompareAndSwap(true, false) {
		for began := time.Now(); time.Since(began) < d.by; { // a sleep would be as long as its timer likes
		}
	}
	return d.Counters.Take(ctx, key, rate, now)
}

// seededKey marks the requests for accounts that are there. Only delayed reads it.
type seededKey struct{}

// operation is one that must not tell who has an account.
type operation struct {
	name    string
	request func(ctx context.Context, b *bed, email string) (*call, error)
	letter  bool // it may have one written

	known, unknown sample
}

// sample is how long answers took, in us, and those to the requests after them.
type sample struct{ own, after []float64 }

func operations() []*operation {
	return []*operation{
		{name: "login, wrong password", request: func(ctx context.Context, b *bed, email string) (*call, error) {
			return asJSON(ctx, b.newClient(), "/auth/login", map[string]string{"email": email, "password": "not the passphrase"}, http.StatusUnauthorized)
		}},
		{name: "recover", letter: true, request: askToRecover},
		{name: "register, with mail", letter: true, request: func(ctx context.Context, b *bed, email string) (*call, error) {
			return asJSON(ctx, b.newClient(), "/auth/register", map[string]string{"email": email, "password": "seven brown foxes over a hedge"}, http.StatusAccepted)
		}},
	}
}

func askToRecover(ctx context.Context, b *bed, email string) (*call, error) {
	return asJSON(ctx, b.newClient(), "/auth/recover", map[string]string{"email": email}, http.StatusAccepted)
}

// enumerate compares known and unknown accounts by time.
func enumerate(ctx context.Context, p plan) error {
	warm := max(10, p.pairs/20)
	all := operations()
	b, err := newBed(ctx, p.dir, max(smallAccounts, len(all)*(p.pairs+warm)), 0)
	if err != nil {
		return err
	}
	defer b.close()
	b.counters.by = p.seeded

	// The outbox works as in a zone: what it does after an answer may show.
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- b.outbox.Run(running) }()
	defer func() { stop(); <-done }()

	accounts := rand.Perm(b.accounts) // #nosec G404 -- an order
	for i := range p.pairs + warm {
		for _, o := range all {
			n := accounts[0]
			accounts = accounts[1:]
			if err := b.pair(ctx, o, n, p, i >= warm); err != nil {
				return fmt.Errorf("%s: %w", o.name, err)
			}
		}
		if i%100 == 99 {
			fmt.Fprintf(os.Stderr, "%d of %d pairs\n", i+1, p.pairs+warm)
		}
	}
	if err := b.control(ctx, 3*int64(p.pairs+warm)); err != nil {
		return fmt.Errorf("positive control: %w", err)
	}
	return reportEnumeration(all, p)
}

// control makes sure that known accounts were known and strangers strange: the
// right password lets in, and letters went to who asked to recover an account that
// is there, and to both who would register.
func (b *bed) control(ctx context.Context, letters int64) error {
	login, err := b.login(ctx, 0, homeOf(0))
	if err != nil {
		return err
	}
	if err := errors.Join(b.rest(ctx), login()); err != nil {
		return err
	}
	if sent := b.sink.letters.Load(); sent != letters {
		return fmt.Errorf("%d letters were sent, want %d", sent, letters)
	}
	return nil
}

// pair asks an operation about an account and about a stranger, in random order.
func (b *bed) pair(ctx context.Context, o *operation, n int, p plan, keep bool) error {
	emails, samples := []string{emailOf(n), strangerOf(n)}, []*sample{&o.known, &o.unknown}
	first := rand.IntN(2) // #nosec G404 -- an order
	for _, which := range []int{first, 1 - first} {
		marked := ctx
		if which == 0 {
			seeded := new(atomic.Bool)
			seeded.Store(true)
			marked = context.WithValue(ctx, seededKey{}, seeded)
		}
		if err := b.rest(ctx); err != nil {
			return err
		}
		own, after, err := b.probe(ctx, marked, o, emails[which], p.settle)
		if err != nil {
			return err
		}
		if s := samples[which]; keep {
			s.own, s.after = append(s.own, own), append(s.after, after)
		}
	}
	return nil
}

// probe has one request answered and, when that may have a letter written, one
// more of somebody else.
func (b *bed) probe(ctx, marked context.Context, o *operation, email string, settle bool) (own, after float64, err error) {
	b.ahead.Add(int64(2 * time.Second))
	c, err := o.request(marked, b, email)
	if err != nil {
		return 0, 0, err
	}
	next, err := askToRecover(ctx, b, fmt.Sprintf("other%08d@bench.example", b.clients))
	if err != nil {
		return 0, 0, err
	}
	runtime.GC() // else each answer pays for those before it
	began := time.Now()
	b.mux.ServeHTTP(&c.answer, c.request)
	answered := time.Now()
	if settle {
		if err := b.rest(ctx); err != nil {
			return 0, 0, err
		}
	}
	again := time.Now()
	if o.letter {
		b.mux.ServeHTTP(&next.answer, next.request)
		after = micros(time.Since(again))
		err = next.answered()
	}
	return micros(answered.Sub(began)), after, errors.Join(c.answered(), err)
}

// patience is how long the outbox may work on what one request asked for.
const patience = time.Minute

// rest waits until the outbox has nothing to do.
func (b *bed) rest(ctx context.Context) error {
	for began := time.Now(); ; {
		mail, err := b.outbox.Status(ctx)
		if err != nil || mail.Waiting == 0 {
			return err
		}
		if time.Since(began) > patience {
			return errors.New("the outbox does not come to rest")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// reportEnumeration prints what was found. That a seeded delay was not is an error.
func reportEnumeration(all []*operation, p plan) error {
	fmt.Printf("%d pairs of each, seeded delay of known accounts: %v; %s\n\n", p.pairs, p.seeded, time.Now().UTC().Format(time.DateOnly))
	fmt.Println("| request | known, median us | unknown | difference | p by ranks | p by distribution | would find us | verdict |")
	fmt.Println("|---|---:|---:|---:|---:|---:|---:|---|")
	for _, o := range all {
		reportPair(o.name, o.known.own, o.unknown.own)
	}
	for _, o := range all {
		if o.letter {
			reportPair(o.name+": the request after", o.known.after, o.unknown.after)
		}
	}
	for _, o := range all {
		if p.seeded > 0 && !told(o.known.own, o.unknown.own) {
			return fmt.Errorf("%s: the seeded delay of %v was not found", o.name, p.seeded)
		}
	}
	return nil
}

func reportPair(name string, known, unknown []float64) {
	verdict, least := "cannot be told apart", "-"
	if told(known, unknown) {
		verdict = "**told apart**"
	} else {
		least = fmt.Sprintf("%.0f", wouldFind(known, unknown))
	}
	fmt.Printf("| %s | %.0f | %.0f | %+.1f | %.2g | %.2g | %s | %s |\n", name, median(known), median(unknown), median(known)-median(unknown),
		mannWhitney(known, unknown), kolmogorovSmirnov(known, unknown), least, verdict)
}
