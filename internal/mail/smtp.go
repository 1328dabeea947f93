package mail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"
)

// connection is one to the SMTP server, past its greeting and our proof.
type connection struct {
	client *gomail.Client
	smtp   *smtp.Client
	net    net.Conn
}

// dialer makes connections.
type dialer struct {
	relay relay
	roots *x509.CertPool // nil: the system's
	helo  string         // name of the zone
	limit time.Duration  // of dialling, and of each letter
}

// dial connects, within the limit, as far as to our proof. It ends when ctx does.
// Its error is a stepError.
func (d *dialer) dial(ctx context.Context) (_ *connection, err error) {
	ctx, cancel := context.WithTimeout(ctx, d.limit)
	defer cancel()
	conn, err := d.connect(ctx)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // the library heeds no context
	defer stop()
	defer func() {
		if err != nil {
			_ = conn.Close() // the library leaves it open
		}
	}()
	// Against a server that reads and does not answer, in a time of its own.
	if err := conn.SetDeadline(time.Now().Add(d.limit)); err != nil {
		return nil, stepError{Greet, err}
	}
	talk := &firstWords{Conn: conn, left: maxFirstWords}
	covered, err := d.covered(ctx, talk)
	if err != nil {
		return nil, err
	}
	session, err := smtp.NewClient(covered, d.relay.host)
	if err != nil {
		return nil, stepError{Greet, err}
	}
	if err := d.greet(session); err != nil {
		return nil, err
	}
	if err := d.prove(session); err != nil {
		return nil, err
	}
	talk.over()
	client, err := gomail.NewClient(d.relay.host,
		gomail.WithTimeout(d.limit),
		gomail.WithoutRset(),
		gomail.WithoutSMTPUTF8()) // every address is ASCII
	if err != nil {
		return nil, stepError{Greet, fmt.Errorf("mail: %w", err)}
	}
	return &connection{client, session, conn}, nil
}

// connect makes the connection below TLS and SMTP.
func (d *dialer) connect(ctx context.Context) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: d.limit}).DialContext(ctx, "tcp", d.relay.address())
	if err != nil {
		return nil, stepError{Connect, err}
	}
	// What a name of this host means is for others to say.
	if at, err := netip.ParseAddrPort(conn.RemoteAddr().String()); d.relay.cover == inClear && (err != nil || !at.Addr().Unmap().IsLoopback()) {
		_ = conn.Close()
		return nil, stepError{Connect, errElsewhere}
	}
	return conn, nil
}

// covered is the connection that the server's greeting is read from.
func (d *dialer) covered(ctx context.Context, conn net.Conn) (net.Conn, error) {
	if d.relay.cover != implicit {
		return conn, nil
	}
	secure := tls.Client(conn, d.tls())
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, stepError{Cover, err}
	}
	return secure, nil
}

func (d *dialer) tls() *tls.Config {
	return &tls.Config{ServerName: d.relay.host, RootCAs: d.roots, MinVersion: tls.VersionTLS12}
}

// greet says who we are, and begins TLS where the map says STARTTLS. A server, or
// somebody between, that does not offer it hears no more of us: neither password
// nor letter is ever sent without. What came before TLS counts for nothing after
// it: the library reads on from a new buffer, and asks again what the server can.
func (d *dialer) greet(session *smtp.Client) error {
	if err := session.Hello(d.helo); err != nil { // not the name of this host
		return stepError{Greet, err}
	}
	if d.relay.cover != startTLS {
		return nil
	}
	if offered, _ := session.Extension("STARTTLS"); !offered {
		return stepError{Cover, errNoSTARTTLS}
	}
	if err := session.StartTLS(d.tls()); err != nil {
		return stepError{Cover, err}
	}
	if state, err := session.GetTLSConnectionState(); err != nil || !state.HandshakeComplete {
		return stepError{Cover, errNoSTARTTLS}
	}
	return nil
}

// prove shows who we are, where the map has a password.
func (d *dialer) prove(session *smtp.Client) error {
	if d.relay.cover == inClear {
		return nil
	}
	_, offered := session.Extension("AUTH")
	ways := strings.Fields(strings.ToUpper(offered))
	for _, way := range []struct {
		name string
		auth smtp.Auth
	}{
		{"SCRAM-SHA-256", smtp.ScramSHA256Auth(d.relay.user, d.relay.password)},
		{"PLAIN", smtp.PlainAuth("", d.relay.user, d.relay.password, d.relay.host, false)},
		{"LOGIN", smtp.LoginAuth(d.relay.user, d.relay.password, d.relay.host, false)},
	} {
		if slices.Contains(ways, way.name) {
			if err := session.Auth(way.auth); err != nil {
				return stepError{Prove, err}
			}
			return nil
		}
	}
	return stepError{Prove, errNoWay}
}

// send hands one message over. It ends when ctx does.
func (c *connection) send(ctx context.Context, m *gomail.Msg) error {
	stop := context.AfterFunc(ctx, func() { _ = c.net.Close() })
	defer stop()
	err := c.client.SendWithSMTPClient(c.smtp, m)
	if m.IsDelivered() {
		return nil // what failed later is no matter of this letter
	}
	return err
}

// close takes leave of the server if it still listens.
func (c *connection) close() {
	if c == nil {
		return
	}
	_ = c.net.SetDeadline(time.Now().Add(time.Second))
	_ = c.smtp.Quit() // it also closes
	_ = c.net.Close()
}
