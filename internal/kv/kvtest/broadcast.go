package kvtest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"sallyport.dev/internal/kv"
)

// next is the next message; one that never comes ends the test.
func next(t *testing.T, s *kv.Subscription) string {
	t.Helper()
	select {
	case m := <-s.C:
		return string(m)
	case <-time.After(2 * time.Minute):
		t.Fatal("no message came")
		return ""
	}
}

func publishes(t *testing.T, e Engine) {
	var subs []*kv.Subscription
	for range 2 {
		s, err := e.Subscribe(t.Context(), "news")
		must(t, err)
		defer s.Close()
		subs = append(subs, s)
	}
	other, err := e.Subscribe(t.Context(), "other")
	must(t, err)
	defer other.Close()

	buffer := make([]byte, 1)
	for i := range 10 {
		buffer[0] = byte('0' + i)
		must(t, e.Publish(t.Context(), "news", buffer))
	}
	must(t, e.Publish(t.Context(), "nobody", []byte("lost")))
	must(t, e.Publish(t.Context(), "other", []byte("end")))
	for n, s := range subs {
		for i := range 10 {
			if got, want := next(t, s), fmt.Sprint(i); got != want {
				t.Errorf("subscription %d, message %d = %q, want %q", n, i, got, want)
			}
		}
	}
	if got := next(t, other); got != "end" {
		t.Errorf("first message of another channel = %q, want %q", got, "end")
	}
	for name, err := range map[string]error{
		"no channel":    e.Publish(t.Context(), "", nil),
		"long channel":  e.Publish(t.Context(), tooLong, nil),
		"large message": e.Publish(t.Context(), "news", make([]byte, kv.MaxMessage+1)),
	} {
		if !errors.Is(err, kv.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
}

// dropsForTheSlow: nobody reads, and the publisher comes to its end.
func dropsForTheSlow(t *testing.T, e Engine) {
	slow, err := e.Subscribe(t.Context(), "news")
	must(t, err)
	mark, err := e.Subscribe(t.Context(), "mark")
	must(t, err)
	const more = 10
	for i := range kv.MaxPending + more {
		must(t, e.Publish(t.Context(), "news", fmt.Append(nil, i)))
	}
	must(t, e.Publish(t.Context(), "mark", nil)) // what one publishes comes in order
	next(t, mark)
	for i := range kv.MaxPending { // the oldest are kept
		if got, want := next(t, slow), fmt.Sprint(i); got != want {
			t.Errorf("message %d = %q, want %q", i, got, want)
		}
	}
	if n := slow.Dropped(); n != more {
		t.Errorf("dropped %d, want %d", n, more)
	}
	must(t, e.Publish(t.Context(), "news", []byte("room again")))
	if got := next(t, slow); got != "room again" {
		t.Errorf("after reading = %q, want %q", got, "room again")
	}
}

func subscriptionEnds(t *testing.T, e Engine) {
	closed, err := e.Subscribe(t.Context(), "news")
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended, err := e.Subscribe(ctx, "news")
	must(t, err)
	stays, err := e.Subscribe(t.Context(), "news")
	must(t, err)
	defer stays.Close()

	closed.Close()
	closed.Close()
	cancel()
	for name, s := range map[string]*kv.Subscription{"closed": closed, "context": ended} {
		if m, ok := <-s.C; ok {
			t.Errorf("%s: received %q, want the end", name, m)
		}
	}
	ended.Close()
	must(t, e.Publish(t.Context(), "news", []byte("still here")))
	if got := next(t, stays); got != "still here" {
		t.Errorf("the one that stays = %q, want %q", got, "still here")
	}
	if _, err := e.Subscribe(ctx, "news"); !errors.Is(err, context.Canceled) {
		t.Errorf("Subscribe with an ended context: %v, want context.Canceled", err)
	}
}
