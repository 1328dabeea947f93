package broker

import (
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/internal/broker/brokertest"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

// TestReplay: an assertion counts once, whoever brings it and however often at once.
func TestReplay(t *testing.T) {
	w, p := newSAMLWorld(t)
	redirect, s := w.begin("saml", Ask{})
	request, relay := brokertest.Request(t, redirect)
	answer := p.Text(t, request, brokertest.Answer{})
	finish := func() error {
		_, err := w.Finish(t.Context(), "saml", s, brokertest.Post(request.AssertionConsumerServiceURL, answer, relay))
		return err
	}
	// One that is refused is not used up.
	broken := brokertest.Post(request.AssertionConsumerServiceURL, strings.Replace(answer, ">jane-1<", ">root<", 1), relay)
	_, err := w.Finish(t.Context(), "saml", s, broken)
	check(t, err, problem.ProviderInvalid)
	var all sync.WaitGroup
	results := make([]error, 8)
	for n := range results {
		all.Go(func() { results[n] = finish() })
	}
	all.Wait()
	won := 0
	for _, err := range results {
		if err == nil {
			won++
		} else {
			check(t, err, problem.ProviderInvalid)
		}
	}
	if won != 1 {
		t.Errorf("%d of %d were let in, want 1", won, len(results))
	}
	w.clock.advance(5*time.Minute + 59*time.Second) // to the end of its life, with the skew
	check(t, finish(), problem.ProviderInvalid)
	if !strings.Contains(w.log.String(), "was used before") {
		t.Error("the log does not say that it was used before")
	}
	count := func() (n int) {
		t.Helper()
		err := w.db.View(t.Context(), func(ctx ctx, tx *store.Tx) error {
			return tx.QueryRow(ctx, "SELECT COUNT(*) FROM broker_assertions").Scan(&n)
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := count(); n != 1 {
		t.Errorf("%d rows, want 1", n)
	}
	w.clock.advance(2 * time.Minute)
	_, err = w.answered(p, brokertest.Answer{})
	check(t, err, problem.OK)
	if n := count(); n != 1 {
		t.Errorf("%d rows, want 1: the other is of no use any more", n)
	}
}

// TestNoReplayStore: without the table nobody is let in.
func TestNoReplayStore(t *testing.T) {
	w, p := newSAMLWorld(t)
	_, err := w.answered(p, brokertest.Answer{})
	check(t, err, problem.OK)
	if err := w.db.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = w.answered(p, brokertest.Answer{})
	check(t, err, problem.ProviderUnavailable)
}
