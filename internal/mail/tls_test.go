package mail

import (
	"crypto/x509"
	"net"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/mail/mailtest"
	"sallyport.dev/internal/obs"
)

// TestTLS: the server is verified, and told who we are; else it gets nothing.
func TestTLS(t *testing.T) {
	for name, start := range map[string]func(testing.TB) *mailtest.Server{"smtps": mailtest.StartTLS, "starttls": mailtest.StartSTARTTLS} {
		t.Run(name, func(t *testing.T) {
			server := start(t)
			w := newWorldWith(t, server)
			w.enqueue("ann@example.org")
			w.flush()
			server.Next(t)
			got, step, err := Try(t.Context(), obs.Secret(server.URL()), w.zone.Name, server.Roots())
			if err != nil || step != Done || !strings.HasPrefix(got.TLS, "TLS 1.") || !got.Proved || !strings.HasPrefix(got.At, "127.0.0.1:") {
				t.Errorf("Try: %+v, %s, %v", got, step, err)
			}
			address := server.URL()[strings.LastIndexByte(server.URL(), '@')+1:]
			other := map[string]string{"smtps": "smtp+starttls", "starttls": "smtps"}[name]
			for _, c := range []struct {
				name   string
				url    string
				roots  *x509.CertPool
				step   Step
				silent bool // both wait for the other's first word
			}{
				{"another CA", server.URL(), x509.NewCertPool(), Cover, false},
				{"wrong password", strings.Replace(server.URL(), "w%C3%B6rd", "hunter2", 1), server.Roots(), Prove, false},
				{"the other kind of TLS", other + server.URL()[strings.Index(server.URL(), "://"):], server.Roots(), "", name == "smtps"},
				{"in clear", "smtp://" + address, server.Roots(), "", name == "smtps"},
				{"nothing there", strings.Replace(server.URL(), address, "127.0.0.1:1", 1), server.Roots(), Connect, false},
			} {
				limit := patience
				if c.silent {
					limit = 300 * time.Millisecond
				}
				w.deny(t, c.name, c.url, c.roots, c.step, limit)
			}
			if n := len(server.Messages()); n != 1 {
				t.Errorf("%d letters, want 1", n)
			}
		})
	}
}

// deny: over this url nothing is sent, and no secret is told.
func (w *world) deny(t *testing.T, name, url string, roots *x509.CertPool, at Step, limit time.Duration) {
	t.Helper()
	box := w.outbox(w.db, func(c *Config) { c.URL, c.Roots = obs.Secret(url), roots })
	box.dialer.limit = limit
	_, err := box.dialer.dial(t.Context())
	if at != "" && (err == nil || stepOf(err) != at) {
		t.Fatalf("%s: %v at %q, want an error at %q", name, err, stepOf(err), at)
	}
	w.enqueue("bob@example.org")
	w.now.advance(time.Hour) // past pauses
	must(t, box.Flush(t.Context()))
	s, serr := box.Status(t.Context())
	must(t, serr)
	if s.Failure == "" || s.Waiting == 0 {
		t.Errorf("%s: status %+v", name, s)
	}
	all := s.Failure + w.log.String()
	if err != nil {
		all += told(err)
	}
	for _, secret := range []string{"hunter2", "rd?", "rd%3F", mailtest.User, "bob@"} {
		if strings.Contains(all, secret) {
			t.Errorf("%s: %q is shown:\n%s", name, secret, all)
		}
	}
}

// TestBetween: somebody on the way to the server takes STARTTLS away, or speaks in
// the server's name before it. No letter and no password goes out in clear.
func TestBetween(t *testing.T) {
	for _, c := range []struct {
		name    string
		change  func(said string) string
		arrives bool
		problem string
	}{
		{"only listens", func(said string) string { return said }, true, ""},
		{"takes the offer away", func(said string) string {
			return strings.Replace(said, "250-STARTTLS\r\n", "250-AUTH PLAIN LOGIN\r\n", 1)
		}, false, "STARTTLS"},
		{"says that it is not ready", func(said string) string {
			if strings.HasPrefix(said, "220 2.0.0") {
				return "454 4.7.0 not now\r\n"
			}
			return said
		}, false, "the server answered 454 to STARTTLS"},
		{"says that it is ready, and that no TLS is needed", func(said string) string {
			if strings.HasPrefix(said, "220 2.0.0") {
				return "220 2.0.0 ready\r\n250 mail.test\r\n235 2.7.0 come in\r\n"
			}
			return said
		}, true, ""}, // what was said before TLS counts for nothing after it
		{"goes on in clear", func(said string) string {
			if strings.HasPrefix(said, "220 2.0.0") {
				return "220 2.0.0 ready\r\n" + strings.Repeat("250 mail.test\r\n", 4096)
			}
			return said
		}, false, ""},
		{"never ends its greeting", func(said string) string {
			if strings.HasPrefix(said, "220 ") {
				return strings.Repeat("220-"+strings.Repeat("x", 1000)+"\r\n", 300)
			}
			return said
		}, false, errTalkative.Error()},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := mailtest.StartSTARTTLS(t)
			between := mailtest.Intercept(t, server, c.change)
			w := newWorldWith(t, server, func(c *Config) { c.URL = obs.Secret(between.URL()) })
			w.enqueue("ann@example.org")
			w.flush()
			if n := len(server.Messages()); (n == 1) != c.arrives {
				t.Errorf("%d letters came", n)
			}
			s, err := w.box.Status(t.Context())
			must(t, err)
			if (s.Failure == "") != c.arrives || !strings.Contains(s.Failure, c.problem) {
				t.Errorf("status %+v, want %q", s, c.problem)
			}
			heard := strings.ToUpper(between.Heard())
			if c.name != "never ends its greeting" && !strings.Contains(heard, "EHLO") { // positive control
				t.Errorf("nothing was heard: %q", heard)
			}
			for _, word := range []string{"AUTH", "MAIL FROM", "ANN@", "SUBJECT"} {
				if strings.Contains(heard, word) {
					t.Errorf("%s goes over the network in clear", word)
				}
			}
		})
	}
}

// TestNotAServer: what answers and is none is told without its words.
func TestNotAServer(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("hidden@example.org says hello\r\n"))
			_ = conn.Close()
		}
	}()
	_, step, err := Try(t.Context(), obs.Secret("smtp://"+listener.Addr().String()), "shop.example", nil)
	if err == nil || step != Greet || strings.Contains(err.Error(), "hidden") || !strings.Contains(err.Error(), "SMTP") {
		t.Errorf("%v at %s", err, step)
	}
	if _, step, err := Try(t.Context(), "smtps://me:hunter2@mail.example", "shop.example", nil); err == nil || step != Read || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v at %s", err, step)
	}
}
