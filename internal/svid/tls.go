package svid

import (
	"crypto/tls"
	"errors"
	"fmt"

	"sallyport.dev/internal/problem"
)

// ServerTLS returns the configuration of a listener that takes workloads of the
// own trust domain whom allow lets in, and nobody else; a nil allow is nobody.
// allow is called in each handshake and must be quick. NextProtos is the
// caller's to set; nothing else is.
//
// Who uses it with net/http gives the http.Server a ReadHeaderTimeout, which
// bounds the handshake too. See Conns.Listener.
func ServerTLS(s *Source, allow func(Peer) error) *tls.Config {
	cfg := strict(s)
	cfg.ClientAuth = tls.RequireAnyClientCert // verified below: x509's own way would take a host's name
	cfg.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.certificate() }
	cfg.VerifyConnection = func(cs tls.ConnectionState) error {
		peer, err := s.meet(cs)
		if err != nil {
			return err
		}
		return admit(peer, allow)
	}
	return cfg
}

// ControlTLS is ServerTLS for the zone's control part, which also takes clients
// that have no identity yet: without a certificate a client is let through as
// nobody, with one it is judged as everywhere. It presents the root at the end of its chain, so that a joiner can find it.
func ControlTLS(s *Source, allow func(Peer) error) *tls.Config {
	cfg := strict(s)
	cfg.ClientAuth = tls.RequestClientCert
	cfg.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		own, err := s.Current()
		if err != nil {
			return nil, err
		}
		return own.withRoot(), nil
	}
	cfg.VerifyConnection = func(cs tls.ConnectionState) error {
		if err := whole(cs); err != nil || len(cs.PeerCertificates) == 0 {
			return err
		}
		peer, err := s.meet(cs)
		if err != nil {
			return err
		}
		return admit(peer, allow)
	}
	return cfg
}

// ClientTLS returns the configuration of connections to one workload of the own
// trust domain, which is presented to it. The address and the server name say
// nothing about who answers: want does. The zero ID is nobody.
func ClientTLS(s *Source, want ID) *tls.Config {
	cfg := strict(s)
	cfg.InsecureSkipVerify = true // #nosec G402 -- switches off the check of host names; VerifyConnection verifies the SVID
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return s.certificate() }
	cfg.VerifyConnection = func(cs tls.ConnectionState) error {
		peer, err := s.meet(cs)
		if err != nil {
			return err
		}
		if want.IsZero() || peer.ID != want {
			return problem.New(problem.InsidePeer, fmt.Errorf("svid: the peer is %s, want %q", peer.ID, want))
		}
		return nil
	}
	return cfg
}

// strict is what all configurations share.
func strict(s *Source) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		MaxVersion:             tls.VersionTLS13,
		SessionTicketsDisabled: true,
		Time:                   s.clock,
	}
}

func (s *Source) certificate() (*tls.Certificate, error) {
	own, err := s.Current()
	if err != nil {
		return nil, err
	}
	return &own.Certificate, nil
}

// meet judges the peer of a handshake.
func (s *Source) meet(cs tls.ConnectionState) (Peer, error) {
	if err := whole(cs); err != nil {
		return Peer{}, err
	}
	return s.Verify(cs.PeerCertificates)
}

// whole refuses what can only be a configuration that somebody changed: a
// resumed session shows no certificate, only the memory of one.
func whole(cs tls.ConnectionState) error {
	switch {
	case cs.DidResume:
		return problem.New(problem.InsidePeer, errors.New("svid: the TLS session was resumed; want a full handshake"))
	case cs.Version != tls.VersionTLS13:
		return problem.New(problem.InsidePeer, fmt.Errorf("svid: %s, want TLS 1.3", tls.VersionName(cs.Version)))
	}
	return nil
}

func admit(peer Peer, allow func(Peer) error) error {
	if allow == nil {
		return problem.New(problem.InsidePeer, errors.New("svid: nobody is allowed here"))
	}
	if err := allow(peer); err != nil {
		return problem.New(problem.InsidePeer, fmt.Errorf("svid: %s is not allowed: %w", peer.ID, err))
	}
	return nil
}
