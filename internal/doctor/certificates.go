package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"sallyport.dev/zone"
)

const (
	day = 24 * time.Hour

	rootSoon = 365 * day // an intermediate lives as long
	fileSoon = 14 * day  // for a person to get the next one
)

// certificates checks root, files and what the running zone holds.
func (e *examination) certificates(context.Context) {
	e.rootCertificate()
	if e.Zone != nil {
		for _, l := range e.Zone.Listeners {
			if l.Certificate.Kind == zone.CertificateFiles {
				e.pair(l)
			}
			if l.ClientCA != "" {
				e.clientCA(l)
			}
		}
	}
	if e.Running != nil {
		e.lifetimes()
	}
}

// root is the root of the zone's own CA; nil without an error: there is none yet.
func (e *examination) root() (*x509.Certificate, error) {
	b, err := readBounded(filepath.Join(e.Data, rootCertName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // there is none yet
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, errors.New("it holds no certificate")
	}
	return x509.ParseCertificate(block.Bytes)
}

func (e *examination) rootCertificate() {
	const name = "root"
	path := filepath.Join(e.Data, rootCertName)
	root, err := e.root()
	if errors.Is(err, fs.ErrPermission) {
		e.unknown(name, "run this as the user of the zone", "%v", err)
		return
	}
	if err != nil {
		e.fail(name, "start the zone again: it writes it from its database", "%s: %v", path, err)
		return
	}
	if root == nil {
		if db, err := os.Stat(filepath.Join(e.Data, databaseName)); err == nil && db.Size() > 0 {
			e.warn(name, "start the zone again: it writes it from its database", "%s is not there: clients cannot get the root", path)
			return
		}
		e.ok(name, "there is no zone here yet: `serve` makes %s", path)
		return
	}
	left := root.NotAfter.Sub(e.Host.Now())
	switch mend := "make a new zone beside this one, give its ca.pem to the clients, then move"; {
	case left <= 0:
		e.fail(name, mend, "it ended %s ago: nothing that it signed is believed", days(-left))
	case left < rootSoon:
		e.warn(name, mend, "it ends in %s, and nothing that it signs outlives it", days(left))
	default:
		e.ok(name, "until %s", root.NotAfter.UTC().Format(time.DateOnly))
	}
}

// pair checks a listener's certificate of two files.
func (e *examination) pair(l *zone.Listener) {
	name := "certificate of " + l.Name
	key, err := statBy(os.Stat, l.Certificate.Key)
	if err != nil {
		e.fail(name, "let the user of the zone read it", "%v", err)
		return
	}
	certPEM, err := readBounded(l.Certificate.Cert)
	if err != nil {
		e.fail(name, "let the user of the zone read it", "%v", err)
		return
	}
	keyPEM, err := readBounded(l.Certificate.Key)
	if err != nil {
		e.fail(name, "let the user of the zone read it", "%v", err)
		return
	}
	both, err := tls.X509KeyPair(certPEM, keyPEM)
	clear(keyPEM)
	if err != nil {
		e.fail(name, "put the chain, leaf first, and its own key there", "%s: %v", l.Certificate.Cert, err)
		return
	}
	for _, host := range l.Hosts {
		if err := both.Leaf.VerifyHostname(host); err != nil && !local(host) {
			e.fail(name, "get one for all `hosts` of the listener", "%s does not name the host %s", l.Certificate.Cert, host)
			return
		}
	}
	left, mend := both.Leaf.NotAfter.Sub(e.Host.Now()), "renew it; the running zone reads the files again by itself"
	switch {
	case left <= 0:
		e.fail(name, mend, "%s ended %s ago", l.Certificate.Cert, days(-left))
	case e.Host.Now().Before(both.Leaf.NotBefore):
		e.fail(name, "look at the clock, or wait", "%s begins at %s", l.Certificate.Cert, both.Leaf.NotBefore.UTC().Format(time.RFC3339))
	case left < fileSoon:
		e.warn(name, mend, "%s ends in %s", l.Certificate.Cert, days(left))
	case key.Mode().Perm()&0o007 != 0:
		e.fail(name, "chmod o-rwx "+l.Certificate.Key+", and get a new key if somebody read it", "the key %s has mode %04o: every user can read it", l.Certificate.Key, key.Mode().Perm())
	default:
		e.ok(name, "names the listener's hosts, until %s", both.Leaf.NotAfter.UTC().Format(time.DateOnly))
	}
}

// local says whether a name is of this host only: public authorities certify none.
func local(host string) bool { return host == "localhost" || host == "127.0.0.1" || host == "::1" }

// clientCA checks the authorities of a listener's clients.
func (e *examination) clientCA(l *zone.Listener) {
	name := "client CA of " + l.Name
	b, err := readBounded(l.ClientCA)
	if err != nil {
		e.fail(name, "let the user of the zone read it", "%v", err)
		return
	}
	n, now := 0, e.Host.Now()
	var ended []string
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		n++
		cert, err := x509.ParseCertificate(block.Bytes)
		if block.Type != "CERTIFICATE" || err != nil || !cert.IsCA { // the gateway takes it for a mistake
			e.fail(name, "leave certificates of authorities in it, and nothing else", "block %d of %s is no authority's certificate", n, l.ClientCA)
			return
		}
		if now.After(cert.NotAfter) {
			ended = append(ended, cert.Subject.String())
		}
	}
	switch {
	case n == 0:
		e.fail(name, "put the authority's certificate there, as PEM", "%s holds no certificate", l.ClientCA)
	case len(ended) == n:
		e.fail(name, "get the authority's next certificate", "all of %s have ended", l.ClientCA)
	case len(ended) > 0:
		e.warn(name, "take them out", "in %s have ended: %q", l.ClientCA, ended)
	default:
		e.ok(name, "%d certificates", n)
	}
}

// lifetimes judges what the running zone holds: it renews by itself, so that
// what nears its end was not renewed.
func (e *examination) lifetimes() {
	const name = "in use"
	var first *Lifetime
	n := 0
	for i, c := range e.Running.Ends {
		if c.Name == "root" {
			continue // judged above: it is never renewed
		}
		if n++; first == nil || c.End.Before(first.End) {
			first = &e.Running.Ends[i]
		}
	}
	if first == nil {
		e.unknown(name, "", "the running zone does not say")
		return
	}
	const mend = "see the zone's log for why it is not renewed"
	switch left := first.End.Sub(e.Host.Now()); {
	case left <= 0:
		e.fail(name, mend, "%s ended %s ago", first.Name, days(-left))
	case left < 10*time.Minute: // the shortest lives an hour and is renewed at half of it
		e.warn(name, mend, "%s ends in %s", first.Name, days(left))
	default:
		e.ok(name, "%d, the first to end is %s, in %s", n, first.Name, days(left))
	}
}

// days prints a length of time as people say it.
func days(d time.Duration) string {
	switch {
	case d >= 2*day:
		return strconv.Itoa(int(d/day)) + " d"
	case d >= 2*time.Hour:
		return strconv.Itoa(int(d/time.Hour)) + " h"
	case d >= 2*time.Minute:
		return strconv.Itoa(int(d/time.Minute)) + " min"
	}
	return strconv.Itoa(int(d/time.Second)) + " s"
}
