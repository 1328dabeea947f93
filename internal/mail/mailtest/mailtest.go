// Package mailtest is an SMTP server for tests: a real one, on loopback, that
// keeps the letters it gets and can be told to refuse, hang, hang up or go away.
package mailtest

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
)

// User and Password are what a server with TLS asks for.
const (
	User     = "relay@shop.example"
	Password = "p@ss/wörd?" // #nosec G101 -- of a test's server
)

const (
	waitLimit    = 2 * time.Minute
	messageLimit = 1 << 20
)

// Stage is where in its conversation with a client the server is.
type Stage string

// The stages, in their order.
const (
	Hello    Stage = "EHLO"
	Auth     Stage = "AUTH"
	Mail     Stage = "MAIL"
	Rcpt     Stage = "RCPT"
	Data     Stage = "DATA"     // the letter is here, and not kept yet
	Accepted Stage = "accepted" // it is kept, and the client has not heard so
)

// Reply is what the server does at a stage. The zero value goes on.
type Reply struct {
	code   int
	text   string
	hang   bool
	hangUp bool
}

// Refuse answers with a code and a text, such as 550 and "5.1.1 nobody here".
func Refuse(code int, text string) Reply { return Reply{code: code, text: text} }

// Hang answers nothing until the client goes.
func Hang() Reply { return Reply{hang: true} }

// HangUp closes the connection.
func HangUp() Reply { return Reply{hangUp: true} }

// Server is an SMTP server.
type Server struct {
	address string
	tls     *tls.Config // nil: in clear
	later   bool        // TLS is begun by STARTTLS
	roots   *x509.CertPool

	mu       sync.Mutex
	answer   func(stage Stage, address string) Reply
	messages []Message
	taken    int // of messages, by Next
	accepted int // connections
	server   *smtp.Server
	stopped  chan struct{} // closed when server has stopped: what hangs ends
	news     chan struct{} // closed and replaced when a message came
}

// Start starts a server that speaks in clear.
func Start(t testing.TB) *Server {
	t.Helper()
	return start(t, &Server{})
}

// StartTLS starts a server that speaks TLS from the first byte, with a
// certificate of Roots, and asks for User and Password.
func StartTLS(t testing.TB) *Server {
	t.Helper()
	roots, config := certificate(t)
	return start(t, &Server{tls: config, roots: roots})
}

// StartSTARTTLS starts a server like that of StartTLS, with which TLS is begun by
// STARTTLS. It takes no password before.
func StartSTARTTLS(t testing.TB) *Server {
	t.Helper()
	roots, config := certificate(t)
	return start(t, &Server{tls: config, roots: roots, later: true})
}

func start(t testing.TB, s *Server) *Server {
	t.Helper()
	s.address = "127.0.0.1:0"
	s.news = make(chan struct{})
	s.Restart(t)
	t.Cleanup(func() { s.halt() })
	return s
}

// URL is what the zone's smtp.url holds.
func (s *Server) URL() string { return s.at(s.address) }

func (s *Server) at(address string) string {
	u := url.URL{Scheme: "smtp", Host: address}
	if s.tls != nil {
		u.Scheme, u.User = "smtps", url.UserPassword(User, Password)
	}
	if s.later {
		u.Scheme = "smtp+starttls"
	}
	return u.String()
}

// Roots is whom a client has to trust; nil in clear.
func (s *Server) Roots() *x509.CertPool { return s.roots }

// Stop has the server go away: nobody listens at its address any more.
func (s *Server) Stop() { s.halt() }

// Restart starts the server again, at the same address.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	listener, err := net.Listen("tcp", s.address)
	if err != nil {
		t.Fatalf("mailtest: %v", err)
	}
	s.address = listener.Addr().String()
	listener = counted{listener, s}
	if s.tls != nil && !s.later {
		listener = tls.NewListener(listener, s.tls)
	}
	stopped := make(chan struct{})
	server := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		sn := &session{server: s, conn: c, stopped: stopped}
		return sn, sn.at(Hello, "")
	}))
	server.Domain = "mail.test"
	if s.later {
		server.TLSConfig = s.tls
	}
	server.MaxMessageBytes = messageLimit
	server.ReadTimeout, server.WriteTimeout = waitLimit, waitLimit
	server.ErrorLog = log.New(io.Discard, "", 0)
	s.mu.Lock()
	s.server, s.stopped = server, stopped
	s.mu.Unlock()
	go func() { _ = server.Serve(listener) }()
}

// counted counts the connections of a listener.
type counted struct {
	net.Listener
	server *Server
}

func (c counted) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err == nil {
		c.server.mu.Lock()
		c.server.accepted++
		c.server.mu.Unlock()
	}
	return conn, err
}

func (s *Server) halt() {
	s.mu.Lock()
	server := s.server
	if server != nil {
		close(s.stopped)
		s.server = nil
	}
	s.mu.Unlock()
	if server != nil {
		_ = server.Close()
	}
}

// Answer has fn decide what the server does at each stage; nil: it takes all.
// address is the sender at Mail and the recipient from Rcpt on.
func (s *Server) Answer(fn func(stage Stage, address string) Reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = fn
}

// AnswerAt gives one answer at one stage.
func (s *Server) AnswerAt(stage Stage, r Reply) {
	s.Answer(func(at Stage, _ string) Reply {
		if at == stage {
			return r
		}
		return Reply{}
	})
}

// Connections is how many there were so far.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted
}

// Messages are all that came so far.
func (s *Server) Messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.messages)
}

// Wait waits until n messages came, or too long, and returns all.
func (s *Server) Wait(t testing.TB, n int) []Message {
	t.Helper()
	return s.until(t, func() ([]Message, bool) { return slices.Clone(s.messages), len(s.messages) >= n })
}

// Next waits for the next message that Next has not returned yet.
func (s *Server) Next(t testing.TB) Message {
	t.Helper()
	return s.until(t, func() ([]Message, bool) {
		if s.taken == len(s.messages) {
			return nil, false
		}
		s.taken++
		return s.messages[s.taken-1 : s.taken], true
	})[0]
}

// NextTo waits for a message to an address, with these words in its subject, that was
// not there at the call or that no call returned yet. Letters of one moment come in
// any order.
func (s *Server) NextTo(t testing.TB, address, words string) Message {
	t.Helper()
	return s.until(t, func() ([]Message, bool) {
		for i := range s.messages {
			if m := &s.messages[i]; !m.seen && slices.Contains(m.To, address) && strings.Contains(m.Subject, words) {
				m.seen = true
				return []Message{*m}, true
			}
		}
		return nil, false
	})[0]
}

// until calls done, with the lock held, at each message until it says so.
func (s *Server) until(t testing.TB, done func() ([]Message, bool)) []Message {
	t.Helper()
	late := time.After(waitLimit)
	for {
		s.mu.Lock()
		list, ok := done()
		news, came := s.news, subjects(s.messages)
		s.mu.Unlock()
		if ok {
			return list
		}
		select {
		case <-news:
		case <-late:
			t.Fatalf("mailtest: no such letter after a long wait; these came: %q", came)
		}
	}
}

func subjects(list []Message) (all []string) {
	for _, m := range list {
		all = append(all, m.Subject)
	}
	return all
}

func (s *Server) keep(m Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = append(s.messages, m)
	close(s.news)
	s.news = make(chan struct{})
}
