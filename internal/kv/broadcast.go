package kv

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// Subscription receives what is published on one channel. A message that finds
// MaxPending others waiting is dropped and counted: the publisher never waits.
type Subscription struct {
	C <-chan []byte // closed when the subscription ends; messages are shared and must not be changed

	send    chan []byte
	dropped atomic.Uint64
	end     func()
}

// Dropped returns how many messages found no room.
func (s *Subscription) Dropped() uint64 { return s.dropped.Load() }

// Close ends the subscription. It may be called more than once.
func (s *Subscription) Close() { s.end() }

// offer hands over a message if there is room. An engine calls it, and closes
// send, under one lock.
func (s *Subscription) offer(message []byte) {
	select {
	case s.send <- message:
	default:
		s.dropped.Add(1)
	}
}

// channels are the subscriptions of a process by channel.
type channels struct {
	mu     sync.Mutex // guards both, and sending to and closing of subscriptions
	byName map[string][]*Subscription
	n      int
}

// Publish implements Broadcast.
func (m *Memory) Publish(_ context.Context, channel string, message []byte) error {
	if validKey(channel) != nil || len(message) > MaxMessage {
		return ErrInvalid
	}
	m.channels.offer(channel, message)
	return nil
}

// Subscribe implements Broadcast.
func (m *Memory) Subscribe(ctx context.Context, channel string) (*Subscription, error) {
	if validKey(channel) != nil {
		return nil, ErrInvalid
	}
	return m.channels.add(ctx, channel)
}

// offer hands a message to all subscriptions of a channel.
func (c *channels) offer(channel string, message []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.byName[channel]) == 0 {
		return
	}
	message = bytes.Clone(message) // the caller may use it again
	for _, s := range c.byName[channel] {
		s.offer(message)
	}
}

// add makes a subscription that ends with ctx.
func (c *channels) add(ctx context.Context, channel string) (*Subscription, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	send := make(chan []byte, MaxPending)
	s := &Subscription{C: send, send: send}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n >= MaxSubscriptions {
		return nil, ErrFull
	}
	if c.byName == nil {
		c.byName = make(map[string][]*Subscription)
	}
	c.byName[channel] = append(c.byName[channel], s)
	c.n++
	remove := sync.OnceFunc(func() { c.remove(channel, s) })
	stop := context.AfterFunc(ctx, remove)
	s.end = func() {
		stop()
		remove()
	}
	return s, nil
}

// names returns the channels that somebody listens to.
func (c *channels) names() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Keys(c.byName))
}

// wanted says whether somebody listens to a channel.
func (c *channels) wanted(channel string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.byName[channel]) > 0
}

func (c *channels) remove(channel string, s *Subscription) {
	c.mu.Lock()
	defer c.mu.Unlock()
	rest := slices.DeleteFunc(c.byName[channel], func(other *Subscription) bool { return other == s })
	if len(rest) == 0 {
		delete(c.byName, channel)
	} else {
		c.byName[channel] = rest
	}
	c.n--
	close(s.send)
}

// end ends all subscriptions.
func (c *channels) end() {
	for _, name := range c.names() {
		c.mu.Lock()
		all := slices.Clone(c.byName[name])
		c.mu.Unlock()
		for _, s := range all {
			s.Close()
		}
	}
}
