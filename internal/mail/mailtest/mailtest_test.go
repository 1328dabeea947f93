package mailtest_test

import (
	"crypto/tls"
	"net"
	"net/smtp"
	"net/url"
	"strings"
	"testing"

	"sallyport.dev/internal/mail/mailtest"
)

const letter = "From: a@example.org\r\nTo: b@example.org\r\nSubject: =?UTF-8?q?Gr=C3=BC=C3=9Fe?=\r\n" +
	"Content-Type: text/plain; charset=UTF-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" +
	"Go to https://zone.example/auth/verify?token=3Dx\r\n"

// TestServer: another client than the product's gets what the test says.
func TestServer(t *testing.T) {
	s := mailtest.Start(t)
	host := strings.TrimPrefix(s.URL(), "smtp://")
	send := func(to string) error {
		return smtp.SendMail(host, nil, "a@example.org", []string{to}, []byte(letter))
	}
	for _, to := range []string{"b@example.org", "c@example.org", "b@example.org"} {
		if err := send(to); err != nil {
			t.Fatal(err)
		}
	}
	if m := s.NextTo(t, "c@example.org", "Gr"); m.Subject != "Grüße" || m.From != "a@example.org" || m.Link(t, "/auth/verify").Query().Get("token") != "x" {
		t.Errorf("message %+v", m)
	}
	s.NextTo(t, "b@example.org", "")
	s.NextTo(t, "b@example.org", "")
	if n := s.Next(t).To[0]; n != "b@example.org" {
		t.Errorf("the first is to %s", n)
	}

	s.AnswerAt(mailtest.Rcpt, mailtest.Refuse(550, "5.1.1 nobody here"))
	if err := send("b@example.org"); err == nil || !strings.HasPrefix(err.Error(), "550 ") {
		t.Errorf("refused with %v", err)
	}
	s.AnswerAt(mailtest.Data, mailtest.HangUp())
	if err := send("b@example.org"); err == nil {
		t.Error("hung up: no error")
	}
	s.Stop()
	if err := send("b@example.org"); err == nil {
		t.Error("stopped: no error")
	}
	s.Answer(nil)
	s.Restart(t)
	if err := send("d@example.org"); err != nil {
		t.Errorf("restarted: %v", err)
	}
	if n := len(s.Wait(t, 4)); n != 4 {
		t.Errorf("%d messages", n)
	}
}

// TestTLS: the password is asked for, and the certificate is of Roots.
func TestTLS(t *testing.T) {
	s := mailtest.StartTLS(t)
	u, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	for _, password := range []string{mailtest.Password, "wrong"} {
		conn, err := tls.Dial("tcp", u.Host, &tls.Config{RootCAs: s.Roots(), ServerName: "127.0.0.1"})
		if err != nil {
			t.Fatal(err)
		}
		host, _, _ := net.SplitHostPort(u.Host)
		c, err := smtp.NewClient(conn, host)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Mail("a@example.org"); err == nil {
			t.Error("a sender without a password: no error")
		}
		if err := c.Auth(smtp.PlainAuth("", mailtest.User, password, host)); (err == nil) != (password == mailtest.Password) {
			t.Errorf("password %q: %v", password, err)
		}
		_ = c.Close()
	}
	if _, err := tls.Dial("tcp", u.Host, nil); err == nil {
		t.Error("trusted without Roots")
	}
}

// TestSTARTTLS: the password is taken over TLS only, and whoever is between hears
// what came before.
func TestSTARTTLS(t *testing.T) {
	s := mailtest.StartSTARTTLS(t)
	between := mailtest.Intercept(t, s, func(said string) string { return said })
	u, err := url.Parse(between.URL())
	if err != nil || u.Scheme != "smtp+starttls" {
		t.Fatalf("%s, %v", u, err)
	}
	c, err := smtp.Dial(u.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Mail("a@example.org"); err == nil {
		t.Error("a sender in clear: no error")
	}
	if err := c.StartTLS(&tls.Config{RootCAs: s.Roots(), ServerName: "127.0.0.1"}); err != nil {
		t.Fatal(err)
	}
	if err := c.Auth(smtp.PlainAuth("", mailtest.User, mailtest.Password, "127.0.0.1")); err != nil {
		t.Error(err)
	}
	if heard := between.Heard(); !strings.Contains(heard, "MAIL FROM:<a@example.org>") || strings.Contains(heard, "AUTH") {
		t.Errorf("between heard %q", heard)
	}
}
