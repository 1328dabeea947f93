package kv

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// quietFor is how long a connection that listens may be silent: each beat reads
// a ping through it.
const quietFor = 5 * beatEvery

// listener is the one connection that hears all channels. A connection that is
// lost is made anew, with all channels that somebody listens to; what was said
// meanwhile is lost.
type listener struct {
	v      *Valkey
	wanted chan struct{} // closed by the first subscription: until then there is no connection
	want   func()

	mu    sync.Mutex // taken before channels.mu; held while a command is written
	conn  *redis.PubSub
	asked map[string]chan struct{} // by name on the server; closed once the server has said that it listens
}

func newListener(v *Valkey) *listener {
	wanted := make(chan struct{})
	return &listener{v: v, wanted: wanted, want: sync.OnceFunc(func() { close(wanted) }), asked: make(map[string]chan struct{})}
}

// Publish implements Broadcast.
func (v *Valkey) Publish(ctx context.Context, channel string, message []byte) error {
	if validKey(channel) != nil || len(message) > MaxMessage {
		return ErrInvalid
	}
	return v.do(ctx, "publish", reads, func(ctx context.Context) error {
		return v.client.Publish(ctx, v.channelName(channel), message).Err()
	})
}

// Subscribe implements Broadcast. When it returns the server listens; a
// connection that is lost later is made anew, and what was said meanwhile is lost.
func (v *Valkey) Subscribe(ctx context.Context, channel string) (*Subscription, error) {
	if validKey(channel) != nil {
		return nil, ErrInvalid
	}
	name := v.channelName(channel)
	s, err := v.channels.add(ctx, name)
	if err != nil {
		return nil, err
	}
	err = v.do(ctx, "subscribe", reads, func(ctx context.Context) error { return v.listener.hear(ctx, name) })
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (v *Valkey) channelName(channel string) string { return v.prefix + "b:" + hashed(channel) }

// hear waits until the server has said that a channel is heard.
func (l *listener) hear(ctx context.Context, name string) error {
	l.want()
	l.mu.Lock()
	heard := l.asked[name]
	if heard == nil {
		heard = make(chan struct{})
		l.asked[name] = heard
		if l.conn != nil {
			_ = l.conn.Subscribe(ctx, name) // a connection that cannot is found out by its reader
		}
	}
	l.mu.Unlock()
	select {
	case <-heard:
		return nil
	case <-ctx.Done():
		return errors.New("no answer in time")
	case <-l.v.ctx.Done():
		return redis.ErrClosed
	}
}

// run listens until the store is closed, on one connection after another.
func (l *listener) run() {
	select {
	case <-l.v.ctx.Done():
	case <-l.wanted:
	}
	wait := firstProbe
	for l.v.ctx.Err() == nil {
		began := time.Now()
		l.connect()
		for l.receive() == nil {
		}
		l.hangUp()
		if time.Since(began) > l.v.quiet {
			wait = firstProbe
		}
		select {
		case <-l.v.ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, lastProbe)
	}
}

// connect makes a connection that hears all that is wanted, and one name more,
// so that it is never without.
func (l *listener) connect() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.v.ctx.Err() != nil {
		return
	}
	asked := make(map[string]chan struct{})
	for _, name := range l.v.channels.names() {
		asked[name] = l.asked[name]
		if asked[name] == nil || closed(asked[name]) {
			asked[name] = make(chan struct{})
		}
	}
	l.asked = asked
	names := []string{l.v.prefix + "b"}
	for name := range asked {
		names = append(names, name)
	}
	ctx, cancel := context.WithTimeout(l.v.ctx, l.v.timeout)
	defer cancel()
	l.conn = l.v.client.Subscribe(ctx)
	_ = l.conn.Subscribe(ctx, names...) // what fails, fails again in receive
}

// receive hands on one message.
func (l *listener) receive() (err error) {
	l.mu.Lock()
	conn := l.conn
	l.mu.Unlock()
	if conn == nil {
		return redis.ErrClosed
	}
	defer func() { // the library takes the shape of a message for granted
		if r := recover(); r != nil {
			err = fmt.Errorf("kv: listen: %w", errReply)
		}
	}()
	reply, err := conn.ReceiveTimeout(l.v.ctx, l.v.quiet)
	if err != nil {
		return err
	}
	switch m := reply.(type) {
	case *redis.Message:
		if len(m.Payload) <= MaxMessage { // others are not ours
			l.v.channels.offer(m.Channel, []byte(m.Payload))
		}
	case *redis.Subscription:
		if m.Kind == "subscribe" {
			l.mu.Lock()
			if heard := l.asked[m.Channel]; heard != nil && !closed(heard) {
				close(heard)
			}
			l.mu.Unlock()
		}
	}
	return nil
}

// keep is called with each beat: it keeps the connection from being silent and
// gives up channels that nobody listens to any more.
func (l *listener) keep() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(l.v.ctx, l.v.timeout)
	defer cancel()
	for name, heard := range l.asked {
		if closed(heard) && !l.v.channels.wanted(name) {
			delete(l.asked, name)
			_ = l.conn.Unsubscribe(ctx, name)
		}
	}
	_ = l.conn.Ping(ctx)
}

func (l *listener) hangUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil {
		_ = l.conn.Close()
		l.conn = nil
	}
}

// close ends the connection; the store's context is over.
func (l *listener) close() { l.hangUp() }

func closed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
