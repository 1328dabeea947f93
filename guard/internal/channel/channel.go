// Package channel is the connection that a request came on, as the guard knows
// it: who is at the other end, and the check of proofs that are made with the
// keys of this connection.
//
// It is internal to guard so that a request has a channel in two ways only: the
// guard's own listener made one, or a test of package guardtest says so.
package channel

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"

	"sallyport.dev/internal/httpsig"
	"sallyport.dev/internal/svid"
)

// Channel is a connection with mutual TLS. It is made before the handshake and
// asked after it.
type Channel struct {
	conn    *tls.Conn // nil: assumed
	assumed svid.ID   // the peer of an assumed channel

	once sync.Once
	mac  *httpsig.MACVerifier // written once
	err  error                // written once
}

type key struct{}

// ConnContext is for http.Server, whose listener is that of svid.Conns. It is
// called once for each connection, so each has one verifier.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	ctx = svid.ConnContext(ctx, c)
	if t, ok := c.(*tls.Conn); ok {
		ctx = context.WithValue(ctx, key{}, &Channel{conn: t})
	}
	return ctx
}

// Assume returns a context whose requests count as those of the peer, each
// proved in whatever strength is asked for. It is for tests.
func Assume(ctx context.Context, peer svid.ID) context.Context {
	return context.WithValue(ctx, key{}, &Channel{assumed: peer})
}

// From returns the channel of a request and the verified peer at its other end.
// The error says that there is none.
func From(ctx context.Context) (*Channel, svid.ID, error) {
	ch, _ := ctx.Value(key{}).(*Channel)
	switch {
	case ch == nil:
		return nil, svid.ID{}, errors.New("the request did not come over mutual TLS")
	case ch.conn == nil:
		return ch, ch.assumed, nil
	}
	peer, ok := svid.PeerFrom(ctx)
	if !ok {
		return nil, svid.ID{}, errors.New("the connection is not one of the guard's listener")
	}
	return ch, peer.ID, nil
}

// Assumed says that the channel is a test's, whose requests carry no proof.
func (c *Channel) Assumed() bool { return c.conn == nil }

// MAC returns the one verifier of proofs under the key of this connection.
func (c *Channel) MAC() (*httpsig.MACVerifier, error) {
	if c.conn == nil {
		return nil, errors.New("an assumed channel has no key")
	}
	c.once.Do(func() {
		state := c.conn.ConnectionState()
		secret, err := httpsig.MACKey(&state)
		if err == nil {
			c.mac, err = httpsig.NewMACVerifier(secret)
		}
		if err != nil {
			c.err = fmt.Errorf("key of the connection: %w", err)
		}
	})
	return c.mac, c.err
}
