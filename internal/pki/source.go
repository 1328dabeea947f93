package pki

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// supplier is where the certificates of a source come from. A source calls it
// under its lock.
type supplier interface {
	// due says whether a new certificate should be had now, given the one in use.
	due(now time.Time, current *tls.Certificate) bool
	// supply gets one that is fit to be served.
	supply(ctx context.Context, now time.Time, current *tls.Certificate) (*tls.Certificate, error)
}

// Source hands out the certificate of one listener and keeps it fresh. Safe
// for concurrent use.
type Source struct {
	from  supplier
	every time.Duration // how often Run looks
	opt   Options

	mu      sync.Mutex // one reload at a time
	current atomic.Pointer[tls.Certificate]
}

// newSource returns a source that has its first certificate.
func newSource(ctx context.Context, from supplier, every time.Duration, o Options) (*Source, error) {
	s := &Source{from: from, every: every, opt: o}
	if err := s.Reload(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// GetCertificate is for tls.Config. It never blocks and does not look at the
// server name: which hosts a listener serves is the listener's to decide.
func (s *Source) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c := s.current.Load(); c != nil {
		return c, nil
	}
	return nil, errors.New("pki: source without a certificate") // only the zero Source
}

// Leaf returns the certificate in use, for status and warnings.
func (s *Source) Leaf() *x509.Certificate {
	if c := s.current.Load(); c != nil {
		return c.Leaf
	}
	return nil
}

// Reload gets a new certificate now. When that fails the one in use stays.
func (s *Source) Reload(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.replace(ctx, s.opt.Clock())
}

// replace swaps the certificate in use for a new one. The caller holds mu.
func (s *Source) replace(ctx context.Context, now time.Time) error {
	next, err := s.from.supply(ctx, now, s.current.Load())
	if err != nil {
		return err
	}
	s.current.Store(next)
	return nil
}

// Run keeps the certificate fresh until ctx ends. What fails is logged, the
// certificate in use stays, and it is tried again.
func (s *Source) Run(ctx context.Context) error {
	tick := time.NewTicker(s.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			s.refresh(ctx)
		}
	}
}

// refresh replaces the certificate when it is due. It looks at wall time at
// each tick rather than wait on one long timer: a host that slept wakes up late.
func (s *Source) refresh(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.opt.Clock()
	if !s.from.due(now, s.current.Load()) {
		return
	}
	if err := s.replace(ctx, now); err != nil {
		if ctx.Err() == nil {
			s.opt.Log.ErrorContext(ctx, "certificate not renewed, the one in use stays", "expires", s.Leaf().NotAfter, "error", err)
		}
		return
	}
	s.opt.Log.InfoContext(ctx, "certificate renewed", "serial", s.Leaf().SerialNumber.Text(16), "expires", s.Leaf().NotAfter)
}
