package svid

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"time"

	"sallyport.dev/internal/problem"
)

// Source holds the identity that a workload uses now. Safe for concurrent use.
type Source struct {
	clock func() time.Time

	mu      sync.RWMutex
	current *Identity     // guarded by mu; nil: none
	changed chan struct{} // guarded by mu; closed at the next Set
}

// NewSource returns a source without an identity. A nil clock is time.Now.
func NewSource(clock func() time.Time) *Source {
	if clock == nil {
		clock = time.Now
	}
	return &Source{clock: clock, changed: make(chan struct{})}
}

// Set puts an identity in the place of the one in use; nil withdraws it.
func (s *Source) Set(i *Identity) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current = i
	close(s.changed)
	s.changed = make(chan struct{})
}

// withdraw is Set(nil) where that is a change.
func (s *Source) withdraw() {
	s.mu.RLock()
	none := s.current == nil
	s.mu.RUnlock()
	if !none {
		s.Set(nil)
	}
}

// Current returns the identity in use. The error, inside.unavailable, says that
// there is none in its lifetime.
func (s *Source) Current() (*Identity, error) {
	s.mu.RLock()
	i := s.current
	s.mu.RUnlock()
	if i == nil {
		return nil, problem.New(problem.InsideUnavailable, errors.New("svid: this workload has no identity yet"))
	}
	if err := i.alive(s.clock()); err != nil {
		return nil, problem.New(problem.InsideUnavailable, fmt.Errorf("svid: %w", err))
	}
	return i, nil
}

// Changed returns a channel that is closed at the next Set. Ask for it before
// Current, so that no change is missed.
func (s *Source) Changed() <-chan struct{} {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.changed
}

// Wait waits until there is an identity in its lifetime.
func (s *Source) Wait(ctx context.Context) error {
	for {
		changed := s.Changed()
		_, err := s.Current()
		if err == nil {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("svid: wait for an identity: %w: %w", ctx.Err(), err)
		}
	}
}

// Verify judges the certificates that a peer presented, leaf first, by the roots
// in use and returns who it is: what ServerTLS and ClientTLS do in a handshake.
// For a certificate that came by another way the caller asks for the proof of
// its key. A refusal is inside.peer; inside.unavailable without an identity of our own.
func (s *Source) Verify(chain []*x509.Certificate) (Peer, error) {
	own, err := s.Current()
	if err != nil {
		return Peer{}, err
	}
	peer, err := own.judge(chain, s.clock())
	if err != nil {
		return Peer{}, problem.New(problem.InsidePeer, fmt.Errorf("svid: verify peer: %w", err))
	}
	return peer, nil
}

// judge is Verify as of one identity.
func (i *Identity) judge(chain []*x509.Certificate, now time.Time) (Peer, error) {
	peer, err := peerOf(chain)
	if err != nil {
		return Peer{}, err
	}
	td := i.ID.TrustDomain()
	if peer.ID.TrustDomain() != td { // before any signature: no other domain has roots here
		return Peer{}, fmt.Errorf("%s is not of the trust domain %s", peer.ID, td)
	}
	if _, err := checkChain(chain, td, i.Roots, now); err != nil {
		return Peer{}, fmt.Errorf("%s: %w", peer.ID, err)
	}
	return peer, nil
}
