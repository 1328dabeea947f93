package guard

import (
	"crypto"
	"crypto/x509"
	"encoding/binary"
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
	by    *svid.Identity    // guarded by mu; its roots judged what is known
	known map[string]holder // guarded by mu; by chain, see nameChain
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
	var room [4 << 10]byte // more than two certificates of a zone have
	name := nameChain(room[:0], chain)
	c.mu.Lock()
	h, ok := c.known[string(name)]
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
		c.by, c.known = own, make(map[string]holder)
	}
	c.known[string(name)] = h
	return h.key, h.id, nil
}

// nameChain appends the certificates of a chain, each with its length before it:
// the whole of them is the name, since a digest would cost more than to compare.
func nameChain(dst []byte, chain [][]byte) []byte {
	for _, der := range chain {
		dst = append(binary.AppendUvarint(dst, uint64(len(der))), der...)
	}
	return dst
}
