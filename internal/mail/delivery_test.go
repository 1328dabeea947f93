package mail

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/internal/mail/mailtest"
	"sallyport.dev/internal/store"
)

// TestRefusals: what the server's answers mean for a letter.
func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		stage mailtest.Stage
		reply mailtest.Reply
		want  string // states
		away  bool
	}{
		{mailtest.Rcpt, mailtest.Refuse(450, "4.2.0 greylisted hidden@example.org"), "ready 450 4.2.0:1", false},
		{mailtest.Rcpt, mailtest.Refuse(550, "5.1.1 no hidden@example.org here"), "dead 550 5.1.1:1", false},
		{mailtest.Rcpt, mailtest.Refuse(553, "no hidden@example.org here"), "dead 553:1", false},
		{mailtest.Data, mailtest.Refuse(554, "5.7.1 spam for hidden@example.org"), "dead 554 5.7.1:1", false},
		{mailtest.Data, mailtest.Refuse(452, "4.3.1 full hidden@example.org"), "ready 452 4.3.1:1", false},
		{mailtest.Mail, mailtest.Refuse(550, "5.7.1 not this sender hidden@example.org"), "ready 550 5.7.1:1", true}, // the map's fault
		{mailtest.Rcpt, mailtest.Refuse(530, "5.7.0 who are you hidden@example.org"), "ready 530 5.7.0:1", true},
		{mailtest.Rcpt, mailtest.Refuse(421, "4.3.2 shutting down hidden@example.org"), "ready 421 4.3.2:1", true},
		{mailtest.Hello, mailtest.Refuse(554, "5.3.2 hidden@example.org"), "ready 554:1", true},
		{mailtest.Mail, mailtest.HangUp(), "ready unreachable:1", true},
		{mailtest.Data, mailtest.HangUp(), "ready unreachable:1", true},
	} {
		t.Run(fmt.Sprint(c.stage, c.want), func(t *testing.T) {
			w := newWorld(t)
			w.server.AnswerAt(c.stage, c.reply)
			w.enqueue("hidden@example.org")
			w.flush()
			w.wantStates(c.want)
			if s, err := w.box.Status(t.Context()); err != nil || s.Failing.IsZero() == c.away || (s.Failure != "") != c.away {
				t.Errorf("status %+v, %v; away should be %t", s, err, c.away)
			}
			if up := w.metric("sallyport_mail_server_up", ""); (up == 0) != c.away {
				t.Errorf("server up: %v", up)
			}
			outcome, dead := "retried", strings.HasPrefix(c.want, "dead")
			if dead {
				outcome = "refused"
			}
			if n := w.metric("sallyport_mail_letters_total", outcome); n != 1 && c.stage != mailtest.Hello {
				t.Errorf("%v %s, want 1", n, outcome)
			}
			w.server.Answer(nil)
			w.now.advance(time.Hour)
			w.flush()
			if n := len(w.server.Messages()); n != 1 && !dead || n != 0 && dead {
				t.Errorf("%d letters came in the end", n)
			}
			if strings.Contains(w.log.String(), "hidden") {
				t.Errorf("the address stands in the log:\n%s", w.log.String())
			}
			if !c.away && !strings.Contains(w.log.String(), "domain=example.org") { // positive control
				t.Errorf("the log does not tell of it:\n%s", w.log.String())
			}
			s, err := w.box.Status(t.Context())
			must(t, err)
			if (s.GivenUp == 1) != dead || dead && (len(s.Causes) != 1 || "dead "+s.Causes[0].Cause+":1" != c.want) {
				t.Errorf("status %+v in the end", s)
			}
		})
	}
}

// TestRetries: a letter is tried again at growing intervals, until it is of no
// use any more.
func TestRetries(t *testing.T) {
	w := newWorld(t)
	tries := 0
	w.server.Answer(func(stage mailtest.Stage, _ string) mailtest.Reply {
		if stage != mailtest.Rcpt {
			return mailtest.Reply{}
		}
		tries++
		return mailtest.Refuse(450, "4.2.0 later")
	})
	must(t, w.add(w.box, Job{
		Kind: Deleted, Address: "ann@example.org", Data: map[string]string{"at": "2026-03-01T11:00:00Z"},
		Expires: w.now.time().Add(2 * time.Hour),
	}))
	start, last := w.now.time(), 0
	var at []time.Duration
	for w.now.time().Sub(start) < 3*time.Hour {
		w.flush()
		if tries != last {
			at, last = append(at, w.now.time().Sub(start)), tries
		}
		w.now.advance(15 * time.Second)
	}
	want := []time.Duration{0, 15, 45, 105, 225, 465, 945, 1905, 3705, 5505} // seconds
	for i := range want {
		want[i] *= time.Second
	}
	if !slices.Equal(at, want) {
		t.Errorf("tried at %v, want %v", at, want)
	}
	w.wantStates("dead expired:1")
	if n := w.metric("sallyport_mail_letters_total", "expired"); n != 1 {
		t.Errorf("%v expired", n)
	}
}

// TestServerAway: while nobody listens one letter asks now and then; when the
// server is back all are sent. None is counted as tried.
func TestServerAway(t *testing.T) {
	const letters = 30
	w := newWorld(t)
	w.server.Stop()
	for i := range letters {
		w.enqueue(fmt.Sprintf("u%d@example.org", i))
	}
	w.flush()
	asked := 0
	away := func() int { w.box.weather.mu.Lock(); defer w.box.weather.mu.Unlock(); return w.box.weather.failures }
	before := away()
	for range 600 {
		w.now.advance(time.Second)
		w.flush()
		if n := away(); n != before {
			asked += n - before
			before = n
		}
	}
	if asked < 10 || asked > 20 {
		t.Errorf("asked %d times in ten minutes, want 1, 2, 4, ... 60 s apart", asked)
	}
	must(t, w.box.Sweep(t.Context()))
	if n, oldest := w.metric("sallyport_mail_waiting", ""), w.metric("sallyport_mail_oldest_seconds", ""); n != letters || oldest != 600 {
		t.Errorf("%v wait, the oldest for %v s", n, oldest)
	}
	w.server.Restart(t)
	w.now.advance(time.Minute)
	w.flush()
	w.wantStates("")
	to := map[string]int{}
	for _, m := range w.server.Messages() {
		to[m.To[0]]++
	}
	if len(to) != letters || len(w.server.Messages()) != letters {
		t.Errorf("%d letters came to %d addresses, want %d", len(w.server.Messages()), len(to), letters)
	}
	if n := w.server.Connections(); n > 1+lanes*(letters/batch+1) {
		t.Errorf("%d connections for %d letters", n, letters)
	}
	if n := w.metric("sallyport_mail_letters_total", "retried"); n != 0 {
		t.Errorf("%v counted as retried", n)
	}
	if log := w.log.String(); strings.Count(log, "letters wait") != 1 || strings.Count(log, "is back") != 1 {
		t.Errorf("log\n%s", log)
	}
}

// TestPoison: a letter at which the server hangs up does not keep the others.
func TestPoison(t *testing.T) {
	w := newWorld(t)
	w.server.Answer(func(stage mailtest.Stage, address string) mailtest.Reply {
		if stage == mailtest.Rcpt && address == "poison@example.org" {
			return mailtest.HangUp()
		}
		return mailtest.Reply{}
	})
	w.enqueue("poison@example.org")
	w.flush()
	w.enqueue("ann@example.org")
	w.now.advance(2 * time.Second)
	w.flush()
	if m := w.server.Next(t); m.To[0] != "ann@example.org" {
		t.Errorf("letter to %s", m.To[0])
	}
	w.wantStates("ready unreachable:1")
}

// TestOneLetterAConnection: a server that takes one letter a connection gets a
// new one for each, and none counts as a failure.
func TestOneLetterAConnection(t *testing.T) {
	for name, reply := range map[string]mailtest.Reply{"hang up": mailtest.HangUp(), "421": mailtest.Refuse(421, "4.7.0 one each")} {
		w := newWorld(t)
		var mu sync.Mutex
		begun, refused := 0, 0
		w.server.Answer(func(stage mailtest.Stage, _ string) mailtest.Reply {
			mu.Lock()
			defer mu.Unlock()
			if stage != mailtest.Mail {
				return mailtest.Reply{}
			}
			if begun == w.server.Connections() {
				refused++
				return reply
			}
			begun++
			return mailtest.Reply{}
		})
		// One lane alone, so that the counts tell of one connection.
		rows := make(chan *row, 3)
		for i := range 3 {
			w.enqueue(fmt.Sprintf("u%d@example.org", i))
		}
		list, err := w.box.take(t.Context(), batch)
		must(t, err)
		for _, r := range list {
			rows <- r
		}
		close(rows)
		w.box.lane(t.Context(), rows, false)
		w.wantStates("")
		if begun != 3 || refused != 2 || w.server.Connections() != 3 {
			t.Errorf("%s: %d letters begun, %d refused over %d connections", name, begun, refused, w.server.Connections())
		}
		if log := w.log.String(); strings.Contains(log, "fails") {
			t.Errorf("%s: log\n%s", name, log)
		}
	}
}

// TestHang: a server that says nothing costs one delivery's time.
func TestHang(t *testing.T) {
	w := newWorld(t)
	for _, stage := range []mailtest.Stage{mailtest.Hello, mailtest.Mail, mailtest.Data} {
		var reached atomic.Bool
		w.server.Answer(func(at mailtest.Stage, _ string) mailtest.Reply {
			if at != stage {
				return mailtest.Reply{}
			}
			reached.Store(true)
			return mailtest.Hang()
		})
		w.enqueue("ann@example.org")
		for limit := 50 * time.Millisecond; !reached.Load(); limit *= 2 { // until it came so far
			if limit > patience {
				t.Fatalf("%s is never reached", stage)
			}
			w.box.dialer.limit = limit
			w.now.advance(time.Hour)
			w.flush()
			w.wantStates("ready unreachable:1")
		}
		w.server.Answer(nil)
		w.box.dialer.limit = patience
		w.now.advance(time.Hour)
		w.flush()
		w.wantStates("")
		must(t, w.db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.Exec(ctx, "DELETE FROM mail_outbox")
			return err
		}))
	}
}

// TestAcceptedUnheard: a letter whose acceptance was not heard is sent again,
// and who gets it can tell that it is the same.
func TestAcceptedUnheard(t *testing.T) {
	w := newWorld(t)
	w.server.AnswerAt(mailtest.Accepted, mailtest.HangUp())
	w.enqueue("ann@example.org")
	w.flush()
	w.wantStates("ready unreachable:1")
	w.server.Answer(nil)
	w.now.advance(time.Hour)
	w.flush()
	list := w.server.Wait(t, 2)
	if a, b := list[0].Header, list[1].Header; a.Get("Message-Id") != b.Get("Message-Id") || a.Get("Date") != b.Get("Date") || a.Get("Message-Id") == "" {
		t.Errorf("headers %v and %v", a, b)
	}
	w.wantStates("")
}

// TestStopDoesNotTear: a delivery that is under way when the process stops comes
// to its end, and what was not begun is left to the next.
func TestStopDoesNotTear(t *testing.T) {
	w := newWorld(t)
	ctx, stop := context.WithCancel(t.Context())
	w.server.Answer(func(stage mailtest.Stage, _ string) mailtest.Reply {
		if stage == mailtest.Data {
			stop()
		}
		return mailtest.Reply{}
	})
	w.enqueue("ann@example.org")
	if err := w.box.Flush(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Flush: %v", err)
	}
	w.wantStates("")
	w.enqueue("bob@example.org")
	w.flush()
	if n := len(w.server.Messages()); n != 2 {
		t.Errorf("%d letters", n)
	}
}

// TestLease: what a process took that is gone is sent by another, when the lease
// has ended and not before; should the first come back it changes nothing.
func TestLease(t *testing.T) {
	w := newWorld(t)
	w.enqueue("ann@example.org")
	list, err := w.box.take(t.Context(), batch)
	if err != nil || len(list) != 1 {
		t.Fatalf("take: %v, %v", list, err)
	}
	other := w.outbox(w.open())
	w.now.advance(leaseLife - time.Second)
	must(t, other.Flush(t.Context()))
	w.wantStates("intent:1")
	if _, done, is := w.box.written(t.Context(), list[0]); is { // it still may
		t.Errorf("the lease is refused in its time: %+v", done)
	}
	var c *connection
	if e := w.box.work(t.Context(), list[0], &c); e.ended() { // but does not begin a delivery any more
		t.Errorf("delivered at the end of a lease: %+v", e)
	}
	w.now.advance(time.Second)
	second, err := other.take(t.Context(), batch)
	if err != nil || len(second) != 1 {
		t.Fatalf("take of another: %v, %v", second, err)
	}
	w.box.finish(t.Context(), ending{row: list[0], state: dead, cause: "late"})
	if _, e, is := w.box.written(t.Context(), list[0]); !is || !e.noted {
		t.Errorf("written with a lost lease: %+v", e)
	}
	w.wantStates("ready:1")
	other.finish(t.Context(), ending{row: second[0], due: w.now.time()})
	must(t, other.Flush(t.Context()))
	w.wantStates("")
	if n := len(w.server.Messages()); n != 1 {
		t.Errorf("%d letters", n)
	}
}

// TestClockPutBack: a letter does not wait for the time that the clock showed once.
func TestClockPutBack(t *testing.T) {
	w := newWorld(t)
	w.now.advance(24 * time.Hour)
	w.enqueue("ann@example.org")
	w.server.AnswerAt(mailtest.Rcpt, mailtest.Refuse(450, "4.2.0 later"))
	w.enqueue("bob@example.org")
	w.flush()
	w.enqueue("eve@example.org")
	if list, err := w.box.take(t.Context(), 1); err != nil || len(list) != 1 { // and its process is gone
		t.Fatalf("take: %v, %v", list, err)
	}
	w.server.Answer(nil)
	for _, c := range []struct {
		back time.Duration
		due  bool
	}{{30 * time.Minute, false}, {23 * time.Hour, true}} { // a pause may be half an hour
		w.now.advance(-c.back)
		must(t, w.box.Sweep(t.Context()))
		if due, err := w.box.anyDue(t.Context()); due != c.due || err != nil {
			t.Errorf("due after %v back: %v, %v, want %v", c.back, due, err, c.due)
		}
	}
	w.flush()
	if n := len(w.server.Messages()); n != 2 {
		t.Errorf("%d letters, want 2: the lease of the third stands", n)
	}
}

// TestTwoWorkers: however many work, each letter is sent once.
func TestTwoWorkers(t *testing.T) {
	const letters = 60
	w := newWorld(t)
	for i := range letters {
		w.enqueue(fmt.Sprintf("u%d@example.org", i))
	}
	boxes := []*Outbox{w.box, w.outbox(w.open()), w.outbox(w.open())}
	var wg sync.WaitGroup
	for _, box := range boxes {
		wg.Go(func() {
			if err := box.Flush(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	to := map[string]int{}
	for _, m := range w.server.Messages() {
		to[m.To[0]]++
	}
	for address, n := range to {
		if n != 1 {
			t.Errorf("%d letters to %s", n, address)
		}
	}
	if len(to) != letters {
		t.Errorf("letters to %d addresses, want %d", len(to), letters)
	}
	w.wantStates("")
}

// TestOwed: an end that the store did not take is written later.
func TestOwed(t *testing.T) {
	w := newWorld(t)
	w.enqueue("ann@example.org")
	db := w.box.db
	closed := w.open()
	must(t, closed.Close())
	w.server.Answer(func(stage mailtest.Stage, _ string) mailtest.Reply {
		if stage == mailtest.Accepted {
			w.box.db = closed
		}
		return mailtest.Reply{}
	})
	if err := w.box.Flush(t.Context()); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Flush: %v, want that the store is away", err)
	}
	w.wantStates("ready:1")
	w.box.db = db
	w.flush()
	w.wantStates("")
	if n := len(w.server.Messages()); n != 1 {
		t.Errorf("%d letters", n)
	}
}

// TestAltered: a row that was changed in the store, or moved, is not sent.
func TestAltered(t *testing.T) {
	w := newWorld(t)
	w.enqueue("ann@example.org")
	w.enqueue("bob@example.org")
	must(t, w.db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE mail_outbox SET sealed = (SELECT sealed FROM mail_outbox ORDER BY id LIMIT 1)")
		return err
	}))
	w.flush()
	w.wantStates("dead altered:1")
}

// TestPause: pauses grow, to a bound, and are shaken.
func TestPause(t *testing.T) {
	for _, c := range []struct {
		failures int
		shake    float64
		want     time.Duration
	}{
		{1, 0.5, 15 * time.Second},
		{1, 0, 7500 * time.Millisecond},
		{2, 0.5, 30 * time.Second},
		{7, 0.5, 16 * time.Minute},
		{8, 0.5, 30 * time.Minute},
		{1000000, 0.5, 30 * time.Minute},
		{1000000, 0.999, 30*time.Minute + time.Duration(0.499*float64(30*time.Minute))},
	} {
		if got := pause(c.failures, firstRetry, lastRetry, c.shake); (got - c.want).Abs() > time.Millisecond {
			t.Errorf("pause(%d, %v) = %v, want %v", c.failures, c.shake, got, c.want)
		}
	}
}
