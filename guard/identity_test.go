package guard

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/guard/internal/testca"
	"sallyport.dev/internal/svid"
)

// script is a supplier that does what the test says.
type script struct {
	sets chan *svid.Identity
	err  chan error
}

func (s script) Run(ctx context.Context, to *svid.Source) error {
	for {
		select {
		case i := <-s.sets:
			to.Set(i)
		case err := <-s.err:
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

// TestAdopt: an identity counts when it is this service's, of the zone it was
// from the start.
func TestAdopt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca, elsewhere := testca.New(t, "shop.example", time.Now()), testca.New(t, "evil.example", time.Now())
		made := func(ca *testca.CA, name string) *svid.Identity {
			return ca.Identity(t, name, time.Now().Add(-time.Minute), time.Now().Add(time.Hour))
		}
		for _, tt := range []struct {
			name string
			then *svid.Identity
			ok   bool
			want string // in what Wait says
		}{
			{"the next one", made(ca, "orders"), true, ""},
			{"withdrawn", nil, false, "no identity"},
			{"another service's", made(ca, "accounts"), false, "not that of a service orders"},
			{"the gateway's", made(ca, "gateway"), false, "not that of a service orders"},
			{"another zone's", made(elsewhere, "orders"), false, "of another zone"},
		} {
			ctx, cancel := context.WithCancel(t.Context())
			s := script{sets: make(chan *svid.Identity), err: make(chan error)}
			g := &Guard{
				cfg: Config{Service: "orders", Clock: time.Now, Log: slog.New(slog.DiscardHandler)}, source: svid.NewSource(nil),
				failed: make(chan struct{}), first: make(chan struct{}), ended: ctx.Done(),
			}
			go g.obtain(ctx, s)
			s.sets <- made(ca, "orders")
			synctest.Wait()
			if own, err := g.source.Current(); err != nil || own.ID.String() != "spiffe://shop.example/orders" {
				t.Errorf("%s: at first %v, %v", tt.name, own, err)
			}
			s.sets <- tt.then
			synctest.Wait()
			own, err := g.source.Current()
			if (err == nil) != tt.ok || tt.ok && own != tt.then {
				t.Errorf("%s: then %v, %v", tt.name, own, err)
			}
			short, stop := context.WithTimeout(ctx, time.Second)
			if err := g.Wait(short); tt.want != "" && tt.want != "no identity" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%s: Wait = %v, want %q", tt.name, err, tt.want)
			}
			stop()
			cancel()
			synctest.Wait()
		}
	})
}

// TestFailureReachesTheOperator: what the supplier gives up on is logged as an
// error and returned by Wait.
func TestFailureReachesTheOperator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		s := script{err: make(chan error)}
		g := &Guard{
			cfg:    Config{Service: "orders", Clock: time.Now, Log: slog.New(slog.NewTextHandler(&log, nil))},
			source: svid.NewSource(nil), failed: make(chan struct{}), first: make(chan struct{}),
		}
		go g.obtain(t.Context(), s)
		s.err <- errors.New("the join token is spent")
		if err := g.Wait(t.Context()); err == nil || !strings.Contains(err.Error(), "the join token is spent") {
			t.Errorf("Wait = %v", err)
		}
		synctest.Wait()
		if !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), "spent") {
			t.Errorf("log: %s", log.String())
		}
	})
}
