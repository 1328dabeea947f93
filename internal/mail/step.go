package mail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync/atomic"

	"sallyport.dev/internal/obs"
)

// Step is how far a conversation with the SMTP server came before it failed.
type Step string

// The steps, in their order.
const (
	Read    Step = "read"    // the url
	Connect Step = "connect" // to its host and port
	Greet   Step = "greet"   // its greeting, and its answer to ours
	Cover   Step = "cover"   // TLS
	Prove   Step = "prove"   // our user and password
	Done    Step = "done"    // it takes letters of ours
)

// stepError is a conversation that came to a step and not past it.
type stepError struct {
	step Step
	err  error
}

func (e stepError) Error() string { return e.err.Error() }
func (e stepError) Unwrap() error { return e.err }

func stepOf(err error) Step {
	var failed stepError
	if errors.As(err, &failed) {
		return failed.step
	}
	return Connect
}

var (
	errNoSTARTTLS = errors.New("the server does not offer STARTTLS, or somebody between takes the offer away")
	errElsewhere  = errors.New("the server's name leads to another host; write smtps:// or smtp+starttls:// (TLS)")
	errNoWay      = errors.New("the server offers no way to show a password (SCRAM-SHA-256, PLAIN, LOGIN)")
	errTalkative  = errors.New("the server says more than a greeting and what it can")
)

// Server is what a try found.
type Server struct {
	At     string // host and port
	TLS    string // its version; empty: in clear, on this host
	Proved bool   // the password was taken
}

// Try connects to the SMTP server of a url, as far as to our proof, and leaves: it
// sends no letter. helo is the zone's name; nil roots are the system's. Its error
// shows no secret and no text of the server's; step says how far it came.
func Try(ctx context.Context, url obs.Secret, helo string, roots *x509.CertPool) (s Server, step Step, err error) {
	at, err := parseURL(string(url))
	if err != nil {
		return s, Read, fmt.Errorf("the url %w", err)
	}
	d := dialer{relay: at, roots: roots, helo: helo, limit: deliveryLimit}
	s.At = at.address()
	c, err := d.dial(ctx)
	if err != nil {
		return s, stepOf(err), errors.New(told(err))
	}
	defer c.close()
	if state, err := c.smtp.GetTLSConnectionState(); err == nil {
		s.TLS = tls.VersionName(state.Version)
	}
	s.Proved = at.cover != inClear
	return s, Done, nil
}

// maxFirstWords bounds what is read of a server before it is known: certificates
// and a few lines.
const maxFirstWords = 256 << 10

// firstWords is a connection of which a bounded part is read at first: until TLS
// stands, anybody between may be talking.
type firstWords struct {
	net.Conn
	left int         // owned by the one that reads
	done atomic.Bool // the bound is over
}

func (c *firstWords) Read(p []byte) (int, error) {
	if c.done.Load() {
		return c.Conn.Read(p)
	}
	if c.left <= 0 {
		return 0, errTalkative
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

func (c *firstWords) over() { c.done.Store(true) }
