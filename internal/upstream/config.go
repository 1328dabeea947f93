package upstream

import (
	"context"
	"log/slog"
	"net"
	"time"

	"sallyport.dev/zone"
)

// Config says how instances are dialled and bounds what is spent on a service.
// Every zero value stands for the default that is written beside it.
type Config struct {
	// Dial connects to an instance of a service within the time of ctx. It may
	// return a *tls.Conn, with its handshake done and the peer verified; for an
	// https instance it must. The default speaks plainly, to http instances alone.
	Dial func(ctx context.Context, svc *zone.Service, to zone.Upstream) (net.Conn, error)

	// DialHTTP2 is Dial for requests over HTTP/2: a *tls.Conn has agreed on h2 by
	// ALPN, anything else is taken to speak it without being asked (RFC 9113 section
	// 3.3). The default is Dial.
	DialHTTP2 func(ctx context.Context, svc *zone.Service, to zone.Upstream) (net.Conn, error)

	// Prove, when set, appends field lines at the end of the head of a request, of
	// which dst is all but the empty line: the proof that binds it to its connection.
	// Over HTTP/2 dst is the lines of Fields, and the calls of one connection come one
	// at a time although its requests do not.
	// It is called for each connection on which the request is tried and keeps none of
	// its arguments. An error ends the request with its reason, internal.error when it
	// has none.
	Prove func(dst []byte, c *Conn, r *Request) ([]byte, error)

	DialTime    time.Duration // 2 s: bounds one dial
	HeadTime    time.Duration // 30 s from the sent request to the head of the answer
	PieceTime   time.Duration // 30 s between two pieces of a body, either way
	AnswerTime  time.Duration // 5 min for the whole answer; streams have no such bound
	EarlyTime   time.Duration // 1 s to read an answer that came before the body had left
	IdleTime    time.Duration // 30 s: below the 60 to 75 s after which services commonly close
	IdleConns   int           // 256 idle connections per instance
	Outstanding int           // 1024 requests under way per instance, an eighth of them of one client when more than half are
	Health      time.Duration // 5 s between two checks

	Clock func() time.Time // default time.Now
	Log   *slog.Logger     // default discards
}

func (c Config) withDefaults() Config {
	fill := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	fill(&c.DialTime, 2*time.Second)
	fill(&c.HeadTime, 30*time.Second)
	fill(&c.PieceTime, 30*time.Second)
	fill(&c.AnswerTime, 5*time.Minute)
	fill(&c.EarlyTime, time.Second)
	fill(&c.IdleTime, 30*time.Second)
	fill(&c.Health, 5*time.Second)
	if c.IdleConns == 0 {
		c.IdleConns = 256
	}
	if c.Outstanding == 0 {
		c.Outstanding = 1024
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Dial == nil {
		c.Dial = dialPlain
	}
	if c.DialHTTP2 == nil {
		c.DialHTTP2 = c.Dial
	}
	return c
}

// dialPlain is the default Dial: without TLS.
func dialPlain(ctx context.Context, _ *zone.Service, to zone.Upstream) (net.Conn, error) {
	if to.Scheme != "http" {
		return nil, errInClear
	}
	var d net.Dialer
	return d.DialContext(ctx, to.Network, to.Address)
}
