package svid

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"
)

// retireMost bounds how long before its end a connection takes no new request.
// It is longer than any client keeps a connection idle, so that the end of one
// is always told in an answer.
const retireMost = 2 * time.Minute

type connKey struct{}

// ConnContext is for http.Server: it makes PeerFrom and Retire know the
// connections of a Conns.Listener.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		if b, ok := t.NetConn().(*conn); ok {
			return context.WithValue(ctx, connKey{}, b)
		}
	}
	return ctx
}

// PeerFrom returns the workload whose request this is, verified in the handshake
// of its connection. ok is false when there is none: refuse then, except where
// ControlTLS takes requests from nobody.
func PeerFrom(ctx context.Context) (peer Peer, ok bool) {
	b, _ := ctx.Value(connKey{}).(*conn)
	if b == nil || !b.verified.Load() {
		return Peer{}, false
	}
	return *b.peer.Load(), true
}

// Retire asks clients to open a new connection when the one of the request is
// near its end, so that no request is under way when it comes: `Connection:
// close` in HTTP/1.1, GOAWAY in HTTP/2. It goes around all other handlers.
func Retire(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if b, _ := r.Context().Value(connKey{}).(*conn); b != nil {
			if from := b.retireFrom(); !from.IsZero() && !b.set.clock().Before(from) {
				w.Header().Set("Connection", "close") // net/http makes it a GOAWAY in HTTP/2
			}
		}
		next.ServeHTTP(w, r)
	})
}
