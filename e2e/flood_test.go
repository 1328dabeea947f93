package e2e

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// TestHTTP2Floods: clients that abuse HTTP/2 cost themselves their connection;
// others are served all the while.
func TestHTTP2Floods(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, nil)
	z := startZone(t, trapsMap, map[string]string{"plain": up.address})
	for _, s := range []struct {
		name  string
		ends  bool // the flood is ended by the server within its bound
		flood func(c *h2) error
	}{
		{"rapid reset", true, func(c *h2) error {
			for range 50_000 {
				id := c.next
				c.next += 2
				if err := c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.block(usual("GET", "/open", newID())), EndHeaders: true, EndStream: true}); err != nil {
					return err
				}
				if err := c.framer.WriteRSTStream(id, http2.ErrCodeCancel); err != nil {
					return err
				}
			}
			return nil
		}},
		{"CONTINUATION", true, func(c *h2) error {
			block := c.block(usual("GET", "/open", newID()))
			if err := c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block}); err != nil {
				return err
			}
			for i := range 20_000 {
				if err := c.framer.WriteContinuation(1, false, c.block([]field{{fmt.Sprint("x-", i), strings.Repeat("a", 500)}})); err != nil {
					return err
				}
			}
			return nil
		}},
		{"PING without reading", false, func(c *h2) error {
			for range 50_000 {
				if err := c.framer.WritePing(false, [8]byte{1}); err != nil {
					return err
				}
			}
			return nil
		}},
		{"SETTINGS without reading", false, func(c *h2) error {
			for range 50_000 {
				if err := c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 16}); err != nil {
					return err
				}
			}
			return nil
		}},
		{"more streams than allowed", false, func(c *h2) error {
			for range 2000 { // none of them ends: no END_STREAM
				id := c.next
				c.next += 2
				if err := c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.block(usual("POST", "/open", newID())), EndHeaders: true}); err != nil {
					return err
				}
			}
			return nil
		}},
		{"window of nothing", false, func(c *h2) error { // asks, and never takes an answer
			if err := c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}); err != nil {
				return err
			}
			for range 90 {
				id := c.next
				c.next += 2
				if err := c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.block(usual("GET", "/open", newID())), EndHeaders: true, EndStream: true}); err != nil {
					return err
				}
			}
			return nil
		}},
	} {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			stop := make(chan struct{})
			var beside, floods sync.WaitGroup
			served, slowest := 0, time.Duration(0)
			beside.Go(func() { // a good client, for as long as the flood takes and twenty requests at least
				good := z.in(t).client()
				for over := false; !over || served < 20; served++ {
					began := time.Now()
					got := z.try(call{path: "/open", client: good})
					if took := time.Since(began); (got.Err != nil || got.Status != 200) && !outOfTime(got, took) {
						t.Errorf("a good client beside: %d %s %v after %v", got.Status, got.reason(), got.Err, took)
					}
					slowest = max(slowest, time.Since(began))
					select {
					case <-stop:
						over = true
					case <-time.After(2 * time.Millisecond):
					}
				}
			})
			for range 3 {
				floods.Go(func() {
					if err := z.floods(t, s.ends, s.flood); s.ends && (err == nil || isTimeout(err)) {
						t.Errorf("the server did not end the flood: %v", err)
					}
				})
			}
			floods.Wait()
			close(stop)
			beside.Wait()
			t.Logf("%d good requests, the slowest took %v", served, slowest)
		})
	}
	t.Cleanup(func() {
		if got := z.try(call{path: "/open"}); got.Status != 200 {
			t.Errorf("after the floods: %d %v\n%s", got.Status, got.Err, z.stderr)
		}
	})
}

// floods makes one flood and returns how its connection ended; nil when it did not.
func (z *zoned) floods(t *testing.T, toTheEnd bool, flood func(*h2) error) error {
	c := z.dialH2(t)
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if !toTheEnd {
		return flood(c)
	}
	ended := make(chan error, 1)
	go func() { // what the server says has to be read, or its end may not be seen
		for {
			if _, err := c.framer.ReadFrame(); err != nil && !errors.As(err, new(http2.StreamError)) {
				ended <- err
				return
			}
		}
	}()
	if err := flood(c); err != nil {
		return err
	}
	return <-ended
}
