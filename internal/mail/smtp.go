package mail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
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

// dial connects, within the limit. It ends when ctx does.
func (d *dialer) dial(ctx context.Context) (_ *connection, err error) {
	ctx, cancel := context.WithTimeout(ctx, d.limit)
	defer cancel()
	conn, err := d.connect(ctx)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // the library heeds ctx while it dials only
	defer stop()
	defer func() {
		if err != nil {
			_ = conn.Close() // the library leaves it open
		}
	}()
	options := []gomail.Option{
		gomail.WithPort(d.relay.port),
		gomail.WithTimeout(d.limit),
		gomail.WithHELO(d.helo),            // not the name of this host
		gomail.WithTLSPolicy(gomail.NoTLS), // TLS is there from the first byte, or the host is this one
		gomail.WithoutRset(),
		gomail.WithoutSMTPUTF8(), // every address is ASCII
		gomail.WithDialContextFunc(func(context.Context, string, string) (net.Conn, error) { return conn, nil }),
	}
	if d.relay.tls {
		options = append(options, gomail.WithUsername(d.relay.user), gomail.WithPassword(d.relay.password),
			gomail.WithOpportunisticSMTPAuth(gomail.SMTPAuthSCRAMSHA256, gomail.SMTPAuthPlain, gomail.SMTPAuthLogin))
	}
	client, err := gomail.NewClient(d.relay.host, options...)
	if err != nil {
		return nil, fmt.Errorf("mail: %w", err)
	}
	session, err := client.DialToSMTPClientWithContext(ctx)
	if err != nil {
		return nil, err
	}
	return &connection{client, session, conn}, nil
}

// connect makes the connection below SMTP.
func (d *dialer) connect(ctx context.Context) (net.Conn, error) {
	plain := &net.Dialer{Timeout: d.limit}
	if d.relay.tls {
		return (&tls.Dialer{NetDialer: plain, Config: &tls.Config{
			ServerName: d.relay.host,
			RootCAs:    d.roots,
			MinVersion: tls.VersionTLS12,
		}}).DialContext(ctx, "tcp", d.relay.address())
	}
	conn, err := plain.DialContext(ctx, "tcp", d.relay.address())
	if err != nil {
		return nil, err
	}
	// What a name of this host means is for others to say.
	if at, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err != nil || !at.Addr().Unmap().IsLoopback() {
		_ = conn.Close()
		return nil, errors.New("the server's name leads to another host; write smtps:// (TLS)")
	}
	return conn, nil
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
