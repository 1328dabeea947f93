package svid

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"sallyport.dev/internal/problem"
)

// redeem gets the first identity. It tries until control answers: the token is
// what ends it.
func (j *joining) redeem(ctx context.Context) (*Identity, error) {
	for failures := 1; ; failures++ {
		own, err := j.redeemOnce(ctx)
		if err == nil || problem.ReasonOf(err) == problem.JoinRefused {
			return own, err
		}
		if failures == 1 {
			j.Log.WarnContext(ctx, "cannot join yet", "control", j.Control, "token", j.Token, "error", err)
		} else {
			j.Log.DebugContext(ctx, "cannot join yet", "control", j.Control, "failures", failures, "error", err)
		}
		if err := sleep(ctx, pause(failures)); err != nil {
			return nil, err
		}
	}
}

func (j *joining) redeemOnce(ctx context.Context) (*Identity, error) {
	key, csr, err := newKey()
	if err != nil {
		return nil, err
	}
	cfg, control := j.meetControl()
	issued, err := j.exchange(ctx, cfg, JoinPath, JoinRequest{ID: j.Token.ID[:], Secret: j.Token.Secret[:], CSR: csr})
	if e, ok := errors.AsType[*refusal](err); ok && e.lasting() {
		return nil, refused("control does not accept the join token: it is spent, older than ten minutes or unknown; run `sallyport join NAME` again", err)
	}
	if err != nil {
		return nil, err
	}
	// From here on the token is spent: what does not hold now will not later.
	own, err := issued.identity(key)
	if err != nil {
		return nil, refused("control's answer cannot be used", err)
	}
	switch {
	case own.ID.TrustDomain() != control.TrustDomain():
		err = fmt.Errorf("%s gave an identity of another zone, %s", control, own.ID)
	case !j.Want.IsZero() && own.ID != j.Want:
		err = fmt.Errorf("the token is for %s, want %s", own.ID, j.Want)
	case own.alive(j.Clock()) != nil:
		err = own.alive(j.Clock())
	}
	if err != nil {
		return nil, refused(err.Error()+"; run `sallyport join NAME` for the right one", nil)
	}
	j.store(ctx, own)
	return own, nil
}

// meetControl returns how to meet control when nothing is known but the digest
// of the zone's root, and who it was: set once the handshake is done. The TLS
// client sends nothing of the request before its VerifyConnection has returned.
func (j *joining) meetControl() (*tls.Config, *ID) {
	control := new(ID)
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		MaxVersion:             tls.VersionTLS13,
		SessionTicketsDisabled: true,
		NextProtos:             []string{"http/1.1"},
		InsecureSkipVerify:     true, // #nosec G402 -- switches off the check of host names; VerifyConnection verifies the SVID
		VerifyConnection: func(cs tls.ConnectionState) error {
			if err := whole(cs); err != nil {
				return err
			}
			id, err := j.checkControl(cs.PeerCertificates)
			*control = id
			return err
		},
	}, control
}

// checkControl finds the token's root among the certificates and verifies that
// they are those of the control part of its zone.
func (j *joining) checkControl(chain []*x509.Certificate) (ID, error) {
	var root *x509.Certificate
	for _, c := range chain {
		if sha256.Sum256(c.Raw) == j.Token.Root {
			root = c
		}
	}
	if root == nil {
		return ID{}, refused(fmt.Sprintf("who answers at %s does not present the root that the join token names: "+
			"the token is of another zone, or something stands between; nothing was sent", j.Control), nil)
	}
	peer, err := peerOf(chain)
	if err != nil {
		return ID{}, problem.New(problem.InsidePeer, fmt.Errorf("svid: verify control: %w", err))
	}
	td := peer.ID.TrustDomain()
	if !j.Want.IsZero() {
		td = j.Want.TrustDomain()
	}
	if want, err := ServiceID(td.Name(), ControlName); err != nil || peer.ID != want {
		return ID{}, problem.New(problem.InsidePeer, fmt.Errorf("svid: verify control: it is %s, want %s", peer.ID, want))
	}
	roots := x509.NewCertPool()
	roots.AddCert(root)
	if _, err := checkChain(chain, td, roots, j.Clock()); err != nil {
		return ID{}, problem.New(problem.InsidePeer, fmt.Errorf("svid: verify control: %w", err))
	}
	return peer.ID, nil
}

func refused(detail string, cause error) error {
	return &problem.Error{Reason: problem.JoinRefused, Detail: detail, Cause: cause}
}

// newKey makes a key and the request that proves it; each identity has its own.
func newKey() (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	return key, csr, err
}

// identity reads what was issued for the key.
func (i *Issued) identity(key *ecdsa.PrivateKey) (*Identity, error) {
	roots, err := parseAll(i.Roots)
	if err != nil {
		return nil, fmt.Errorf("roots: %w", err)
	}
	return NewIdentity(i.Certificates, key, roots)
}

func parseAll(ders [][]byte) ([]*x509.Certificate, error) {
	if len(ders) > maxRoots {
		return nil, fmt.Errorf("%d certificates, want at most %d", len(ders), maxRoots)
	}
	all := make([]*x509.Certificate, 0, len(ders))
	for _, der := range ders {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}
