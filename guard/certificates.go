package guard

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"sync"
	"time"

	"sallyport.dev/internal/httpsig"
	"sallyport.dev/internal/svid"
)

const maxCertificates = 512 // chains that are remembered

// newSignatures returns the verifier of requests that are proved by signature.
func newSignatures(cfg Config, source *svid.Source) (*httpsig.Verifier, error) {
	replay, err := httpsig.NewReplay(httpsig.ReplayConfig{Started: cfg.Clock(), Shared: cfg.Replays})
	if err != nil {
		return nil, err
	}
	c := &certificates{source: source, clock: cfg.Clock}
	return httpsig.NewVerifier(c.judge, replay)
}

// certificates judges the chains that come beside signatures and remembers those
// that held, under the roots by which they did.
type certificates struct {
	source *svid.Source
	clock  func() time.Time

	mu    sync.Mutex
	by    *svid.Identity               // guarded by mu; its roots judged what is known
	known map[[sha256.Size]byte]holder // guarded by mu
}

// holder is whose a chain is.
type holder struct {
	key crypto.PublicKey
	id  string
	end time.Time
}

// judge is an httpsig.Certificates.
func (c *certificates) judge(chain [][]byte) (crypto.PublicKey, string, error) {
	own, err := c.source.Current()
	if err != nil {
		return nil, "", err
	}
	sum := sha256.New()
	for _, der := range chain {
		fmt.Fprintf(sum, "%d:", len(der))
		sum.Write(der)
	}
	name := [sha256.Size]byte(sum.Sum(nil))
	c.mu.Lock()
	h, ok := c.known[name]
	ok = ok && c.by == own && !c.clock().After(h.end)
	c.mu.Unlock()
	if ok {
		return h.key, h.id, nil
	}
	certs := make([]*x509.Certificate, 0, len(chain))
	for _, der := range chain {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, "", err
		}
		certs = append(certs, cert)
	}
	peer, err := c.source.Verify(certs)
	if err != nil {
		return nil, "", err
	}
	h = holder{key: peer.Leaf.PublicKey, id: peer.ID.String(), end: peer.NotAfter}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.by != own || len(c.known) >= maxCertificates {
		c.by, c.known = own, make(map[[sha256.Size]byte]holder)
	}
	c.known[name] = h
	return h.key, h.id, nil
}
