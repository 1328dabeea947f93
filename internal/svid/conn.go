package svid

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"sallyport.dev/internal/problem"
)

// conn is the connection under TLS. It learns in the handshake who the peer is
// and until when it may live.
type conn struct {
	net.Conn
	set      *Conns
	peer     atomic.Pointer[Peer] // who the peer says it is, from its certificate on
	verified atomic.Bool          // the peer is who it says: the handshake is done

	mu     sync.Mutex
	ends   time.Time   // guarded by mu; zero: no certificate was seen yet
	retire time.Time   // guarded by mu; from then on no new request should start
	timer  *time.Timer // guarded by mu; nil before ends is known
	closed bool        // guarded by mu
}

// watch returns cfg with ears. The peer is known to the set before cfg judges
// it: a right that is taken away while it does is noticed by one of the two.
func (b *conn) watch(cfg *tls.Config) *tls.Config {
	out := cfg.Clone()
	out.GetConfigForClient = nil // it would put another configuration in the place of this
	if get := cfg.GetCertificate; get != nil {
		out.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) { return b.present(get(hello)) }
	}
	if get := cfg.GetClientCertificate; get != nil {
		out.GetClientCertificate = func(cri *tls.CertificateRequestInfo) (*tls.Certificate, error) { return b.present(get(cri)) }
	}
	out.VerifyConnection = func(cs tls.ConnectionState) error {
		if cfg.VerifyConnection == nil {
			return problem.New(problem.InsidePeer, errors.New("svid: the TLS configuration verifies nobody"))
		}
		if len(cs.PeerCertificates) > 0 {
			peer, err := peerOf(cs.PeerCertificates)
			if err != nil {
				return problem.New(problem.InsidePeer, fmt.Errorf("svid: verify peer: %w", err))
			}
			b.peer.Store(&peer)
		}
		if err := cfg.VerifyConnection(cs); err != nil {
			return err
		}
		if peer := b.peer.Load(); peer != nil {
			b.limit(peer.Leaf)
		}
		return nil
	}
	return out
}

// present notes the certificate that we show.
func (b *conn) present(own *tls.Certificate, err error) (*tls.Certificate, error) {
	if err == nil && own != nil && own.Leaf != nil {
		b.limit(own.Leaf)
	}
	return own, err
}

// limit ends the connection with the certificate at the latest. New requests
// stop before: for the last quarter of what is left of it, two minutes at most.
func (b *conn) limit(cert *x509.Certificate) {
	now := b.set.clock()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || !b.ends.IsZero() && !cert.NotAfter.Before(b.ends) {
		return
	}
	b.ends = cert.NotAfter
	b.retire = b.ends.Add(-min(b.ends.Sub(now)/4, retireMost))
	b.arm(now)
}

// arm sets the timer. The caller holds mu.
func (b *conn) arm(now time.Time) {
	wait := max(0, min(b.ends.Sub(now), recheck))
	if b.timer == nil {
		b.timer = time.AfterFunc(wait, b.expire)
		return
	}
	b.timer.Reset(wait)
}

// expire closes the connection when its time has come.
func (b *conn) expire() {
	now := b.set.clock()
	b.mu.Lock()
	over := b.closed || !now.Before(b.ends)
	if !over {
		b.arm(now)
	}
	b.mu.Unlock()
	if over {
		_ = b.Close()
	}
}

// retireFrom returns when no new request should start any more; zero: unknown.
func (b *conn) retireFrom() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.retire
}

// NetConn returns the connection below, for who has to look at the socket.
func (b *conn) NetConn() net.Conn { return b.Conn }

// Close closes the connection and lets go of it. The peer sees the end without
// TLS's farewell when it comes from the timer or the owner.
func (b *conn) Close() error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return net.ErrClosed
	}
	b.closed = true
	if b.timer != nil {
		b.timer.Stop()
	}
	b.mu.Unlock()
	b.set.remove(b)
	return b.Conn.Close()
}
