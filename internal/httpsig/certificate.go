package httpsig

import (
	"errors"
	"fmt"
	"strings"
	"sync"
)

// Sallyport-Certificate is the sender's chain, leaf first and without root: a
// list of byte sequences, as Client-Cert-Chain is (RFC 9440 section 2.3), here
// with one spelling only.

func appendCertificates(dst []byte, chain [][]byte) []byte {
	for i, der := range chain {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		dst = append(binary.AppendEncode(append(dst, ':'), der), ':')
	}
	return dst
}

// parseCertificates reads a chain of one to maxChain certificates. What they say
// is not looked at here.
func parseCertificates(s string) ([][]byte, error) {
	switch {
	case s == "":
		return nil, fmt.Errorf("%s is missing", CertificateHeader)
	case len(s) > maxCertificate:
		return nil, fmt.Errorf("%s of %d bytes", CertificateHeader, len(s))
	case strings.Count(s, ",") >= maxChain:
		return nil, fmt.Errorf("%s holds more than %d certificates", CertificateHeader, maxChain)
	case strings.ContainsAny(s, "\r\n"): // which Go's decoder would skip
		return nil, errors.New("line break in " + CertificateHeader)
	}
	chain := make([][]byte, 0, 2)
	for item := range strings.SplitSeq(s, ", ") {
		if len(item) < 3 || item[0] != ':' || item[len(item)-1] != ':' {
			return nil, errors.New(CertificateHeader + " is not a list of byte sequences")
		}
		der, err := binary.DecodeString(item[1 : len(item)-1])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", CertificateHeader, err)
		}
		chain = append(chain, der)
	}
	return chain, nil
}

const chainsKnown = 128 // chains that are remembered: 2 MiB when all are as long as may be

// chains remembers the text of chains beside signatures that held, and what it
// says: a sender has one for an hour. Whether a chain is to be believed is judged
// each time. Safe for concurrent use.
type chains struct {
	mu    sync.Mutex
	known map[string][][]byte // guarded by mu; what lies in it is never written
}

func (c *chains) find(text string) [][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known[text]
}

func (c *chains) note(text string, chain [][]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil || len(c.known) >= chainsKnown {
		c.known = make(map[string][][]byte)
	}
	c.known[strings.Clone(text)] = chain // not with the whole head of a request
}
