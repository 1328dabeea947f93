package pki

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"time"
)

const (
	// filesEvery is how often files are looked at for a change.
	filesEvery = 5 * time.Second
	maxPEM     = 1 << 20 // bytes of a file
)

// Files returns a source that serves a PEM certificate chain with its PEM key,
// read again when either file changes. Files that do not belong together are an
// error; a leaf that does not name all hosts, has expired, or whose key others
// may read is logged as a warning.
func Files(ctx context.Context, cert, key string, hosts []string, o Options) (*Source, error) {
	o = o.withDefaults()
	return newSource(ctx, &pair{cert: cert, key: key, hosts: hosts, opt: o}, filesEvery, o)
}

// pair supplies a listener from two files.
type pair struct {
	cert, key string
	hosts     []string
	opt       Options
	read      [2]fs.FileInfo // what the files were when they were last tried; nil: not there
	begins    time.Time      // when the pair last tried becomes valid; zero: it is not waited for
}

// due says whether either file is another than the one last tried, so that a
// bad pair is reported once and tried again when it is mended, or when its time
// has come.
func (p *pair) due(now time.Time, _ *tls.Certificate) bool {
	there := p.look()
	return !same(there[0], p.read[0]) || !same(there[1], p.read[1]) || !p.begins.IsZero() && !now.Before(p.begins)
}

func (p *pair) look() (infos [2]fs.FileInfo) {
	for i, path := range []string{p.cert, p.key} {
		if info, err := os.Stat(path); err == nil { // what is wrong with it is told when it is read
			infos[i] = info
		}
	}
	return infos
}

func same(a, b fs.FileInfo) bool {
	if a == nil || b == nil {
		return a == b
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

func (p *pair) supply(ctx context.Context, now time.Time, current *tls.Certificate) (*tls.Certificate, error) {
	p.read, p.begins = p.look(), time.Time{} // before reading: a change while they are read is seen at the next look
	certPEM, err := readBounded(p.cert)
	if err != nil {
		return nil, fmt.Errorf("pki: certificate: %w", err)
	}
	keyPEM, err := readBounded(p.key)
	if err != nil {
		return nil, fmt.Errorf("pki: certificate key: %w", err)
	}
	defer clear(keyPEM)
	next, err := tls.X509KeyPair(certPEM, keyPEM) // checks that they belong together
	if err != nil {
		return nil, fmt.Errorf("pki: certificate %s with key %s: %w", p.cert, p.key, err)
	}
	inForce := current != nil && now.Before(current.Leaf.NotAfter)
	switch leaf := next.Leaf; {
	case !now.Before(leaf.NotAfter) && inForce:
		return nil, fmt.Errorf("pki: certificate %s expired on %s, the one in use has not", p.cert, leaf.NotAfter.Format(time.RFC3339))
	case !now.Before(leaf.NotAfter):
		p.opt.Log.WarnContext(ctx, "certificate has expired", "file", p.cert, "expired", leaf.NotAfter)
	case now.Before(leaf.NotBefore) && inForce:
		p.begins = leaf.NotBefore
		return nil, fmt.Errorf("pki: certificate %s is not valid before %s, the one in use is until then", p.cert, leaf.NotBefore.Format(time.RFC3339))
	case now.Before(leaf.NotBefore):
		p.opt.Log.WarnContext(ctx, "certificate is not valid before its time", "file", p.cert, "begins", leaf.NotBefore)
	}
	p.warn(ctx, &next)
	return &next, nil
}

// warn tells what is weak about a pair that is served all the same.
func (p *pair) warn(ctx context.Context, c *tls.Certificate) {
	for _, h := range p.hosts {
		if err := c.Leaf.VerifyHostname(h); err != nil && !isLoopback(h) {
			p.opt.Log.WarnContext(ctx, "certificate does not name a declared host", "file", p.cert, "host", h)
		}
	}
	if info := p.read[1]; info != nil && info.Mode().Perm()&0o004 != 0 {
		p.opt.Log.WarnContext(ctx, "certificate key may be read by every user of this host", "file", p.key, "mode", info.Mode().Perm().String())
	}
}

// isLoopback says whether a host is this machine: no public CA names it, and
// the hosts of a listener hold it by default.
func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// readBounded reads a file of at most maxPEM bytes.
func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path) // #nosec G304 -- the operator names it in the map
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read from
	b, err := io.ReadAll(io.LimitReader(f, maxPEM+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxPEM {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, maxPEM)
	}
	if len(b) == 0 {
		return nil, errors.New(path + " is empty")
	}
	return b, nil
}
